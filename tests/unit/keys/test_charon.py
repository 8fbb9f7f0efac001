"""charon's log, which is in a folder where charon may put what it likes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wsasec.keys import charon
from wsasec.keys.charon import Charon

# A port is missing; the plugin's thread says something else meanwhile.
_CHARONS = """\
2026-01-02T03:04:05 00[DMN] Starting IKE charon daemon
2026-01-02T03:04:05 00[KNL] a port is taken
2026-01-02T03:04:05 01[KNL] the engine is there
2026-01-02T03:04:05 00[LIB] feature X in critical plugin 'Y' failed to load
2026-01-02T03:04:05 00[LIB] failed to load 1 critical plugin feature
2026-01-02T03:04:05 00[DMN] initialization failed - aborting charon
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Charon:
    monkeypatch.setattr(charon, "_LOG_BYTES", 10)
    (tmp_path / "own").mkdir()
    return Charon(tmp_path)


def test_log_that_has_grown_is_put_aside(made: Charon, tmp_path: Path) -> None:
    for text in ("the first of them", "another of them"):
        made.log.write_text(text)
        made._trim_log()
        assert made.log.read_text() == ""
        assert (tmp_path / "log.1").read_text() == text
        assert (tmp_path / "log.1").stat().st_mode & 0o777 == 0o600


def test_short_log_stays(made: Charon, tmp_path: Path) -> None:
    made.log.write_text("short")
    made._trim_log()
    assert made.log.read_text() == "short"
    assert not (tmp_path / "log.1").exists()


def test_what_charon_leads_to_is_left_alone(made: Charon, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("what is none of charon's")
    made.log.symlink_to(other)
    made._trim_log()
    assert other.read_text() == "what is none of charon's"
    made.log.unlink()
    os.mkfifo(made.log)
    made._trim_log()
    assert not (tmp_path / "log.1").exists()


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", ""),
        ("setpriv: no such user\n", "setpriv: no such user"),
        (
            _CHARONS,
            "a port is taken / feature X in critical plugin 'Y' failed to load",
        ),
        ("x" * 100_000 + "\nafter a long line\nthe last one", "after a long line / the last one"),
    ],
    ids=["empty", "before charon", "charon", "long"],
)
def test_last_words_are_why_charon_ended(made: Charon, log: str, said: str) -> None:
    made.log.write_text(log)
    assert charon._last_words(made.log) == said


def test_what_charon_leads_to_is_not_read(made: Charon, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("what is none of charon's")
    made.log.symlink_to(other)
    assert charon._last_words(made.log) == ""
    made.log.unlink()
    os.mkfifo(made.log)
    assert charon._last_words(made.log) == ""
