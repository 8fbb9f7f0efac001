"""The verb `wsasec lab`."""

from __future__ import annotations

import argparse

import pytest

from wsasec.cli import lab as verb
from wsasec.lab import LabError, runner


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser(prog="wsasec")
    verb.add(parser.add_subparsers(required=True))
    return parser


def test_the_command_keeps_its_own_options(parser):
    arguments = parser.parse_args(
        ["lab", "run", "--timeout", "5", "--uml", "--", "pytest", "--timeout", "9", "-x"]
    )
    assert arguments.command == ["pytest", "--timeout", "9", "-x"]
    assert arguments.timeout == 5.0
    assert arguments.kernel == "uml"


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["run", "--"],
        ["run", "--timeout", "0", "--", "x"],
        ["run", "--timeout", "nan", "--", "x"],
        ["run", "--timeout", "inf", "--", "x"],
        ["run", "--memory", "lots", "--", "x"],
        ["run", "--uml", "--native", "--", "x"],
    ],
)
def test_wrong_words_are_refused(parser, words, capsys):
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["lab", *words])
    assert caught.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [(LabError("no wire", "buy one"), 125, "wsasec lab: no wire; buy one\n"), (KeyboardInterrupt(), 130, "")],
)
def test_failures_have_their_codes(parser, monkeypatch, capsys, raised, code, said):
    def fail(*_args, **_kwargs):
        raise raised

    monkeypatch.setattr(runner, "run", fail)
    arguments = parser.parse_args(["lab", "run", "--", "x"])
    assert arguments.run(arguments) == code
    assert capsys.readouterr().err == said
