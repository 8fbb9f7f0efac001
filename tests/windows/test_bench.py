"""The measurement of calls: as small as can be; how long they take is not tested."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import pytest
from double import Double, Function
from wsasec.bench import windows_suite
from wsasec.bench.call_cost import METHODS, CallPlan

from wsasec.cli import main
from wsasec.cli.bench import add

TINY = CallPlan("tiny", ((3, 2), (20, 3)))


@pytest.mark.usefixtures("double")
def test_all_methods(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.json"
    assert windows_suite.run(("setup",), TINY, file) == 0
    results = json.loads(file.read_text())
    calls = results["calls"]
    assert calls["double"] is True
    assert [(row["sockets"], row["method"]) for row in calls["summary"]] == [
        (count, method) for count, _ in TINY.sizes for method in METHODS
    ]
    for cell, (count, repeats) in zip(calls["cells"], TINY.sizes, strict=True):
        assert cell["sockets"] == count
        assert {len(samples) for samples in cell["samples"].values()} == {repeats}
    for row in calls["summary"]:
        assert math.isfinite(row["ns"]["median"])
        assert 0 <= row["ns"]["minimum"] <= row["ns"]["median"] <= row["ns"]["maximum"] < 1e9
    assert {target["sockets"] for target in calls["targets"]} == {3, 20}
    assert results["machine"]["cpu"]
    assert results["machine"]["cores"] >= 1
    text = capsys.readouterr().out
    for words in ("only counts, and copies bytes", *METHODS.values(), str(file)):
        assert words in text.replace("\n", "") or words in text


def test_the_double_is_as_before(double: Double, tmp_path: Path) -> None:
    windows_suite.run(("setup",), CallPlan("tiny", ((2, 1),)), tmp_path / "results.json")
    double.library.WSASetSocketSecurity(0, None, 0, None, None)
    assert [call.function for call in double.calls][-1] is Function.WSASetSocketSecurity


def test_only_copying(double: Double) -> None:
    double.only_copy()
    for number in range(3):
        assert double.library.WSASetSocketSecurity(number, b"12345678", 8, None, None) == 0
    assert double.count == 3
    assert bytes(double.shared.last[:8]) == b"12345678"
    double.reset()
    assert not double.shared.bare


def test_what_is_for_linux(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "connect", "--json", str(tmp_path / "a.json")]) == 1
    assert "on Linux only" in capsys.readouterr().err
    assert main(["bench", "setup", "--html", str(tmp_path / "a.html")]) == 2
    assert not list(tmp_path.iterdir())


def test_the_verb() -> None:
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    assert parser.parse_args(["bench", "setup", "--quick"]).part == "setup"
