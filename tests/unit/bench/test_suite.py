"""The suite as a whole: what it prints and writes, and how it ends."""

import argparse
import hashlib
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bench_samples import PARTS, results, samples
from rich.console import Console
from wsasec.bench import suite
from wsasec.bench.machine import describe_machine, describe_versions
from wsasec.bench.plans import (
    FULL,
    QUICK,
    ConnectPlan,
    Effort,
    Throughput,
    connect_plan,
    device_plan,
    traffic_plan,
)
from wsasec.bench.progress import Monitor
from wsasec.bench.report import render
from wsasec.bench.results_page import make
from wsasec.bench.summary import summarized
from wsasec.bench.worker import BenchError

from wsasec import _wsasec
from wsasec.cli.bench import add

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def rendered(found: dict[str, Any], width: int = 140) -> str:
    out = io.StringIO()
    render(found, Console(file=out, width=width))
    return out.getvalue()


def test_the_tables() -> None:
    text = rendered(results())
    for words in (
        "100 sockets, TCP, IPv4",
        "100 sockets, UDP, IPv6",
        "SocketBatch, io_uring",
        "Memory",
        "Plain traffic on this kernel's loopback device",
        "Microseconds a socket are by the clock.",
        "Connecting",
        "Accepting",
        "Throughput",
        "What passed the wire",
        "Requests and their answers",
        "Datagrams",
        "Connections whose keys are negotiated",
        "Device: Throughput",
        "Device: What passed the wire",
        "Device: Requests and their answers",
        "Device: Datagrams",
        "Device: set-up",
        "Device: memory of the engine",
        "strongSwan's kernel-libipsec  kernel-libipsec is missing",
        "Note: [not] markup",
    ):
        assert words in text, words
    assert re.search(r"secure_many, plain loop +3\.00 .* 333,333 +1\.50", text)
    assert re.search(r"^ *user-space bytes a secured socket +24\.0 +≤ 32 +✓ met +– *$", text, re.MULTILINE)  # noqa: RUF001
    worst = r"✗ met in 0 of 2 cases.* +1\.50: 100 TCP, IPv4"
    assert re.search(rf"secure_many, plain loop / C loop +1\.50 +≤ 1\.05 +{worst}", text)
    # What is wanted is the last of the tables.
    assert text.index("measure, same run") > text.index("Datagrams")


def test_one_part_alone() -> None:
    found = results()
    for part in ("setup", "loopback", "traffic", "keys", "device"):
        del found[part]
    text = rendered(found)
    assert "Connecting" in text
    assert "Throughput" not in text


def test_unstable_figures_are_marked() -> None:
    text = rendered(results((1.0, 2.0, 1.0, 5.0)))
    assert " *" in text
    assert "* unstable" in text


def test_machine_and_versions_are_plain_data() -> None:
    machine, versions = describe_machine(), describe_versions()
    assert json.loads(json.dumps([machine, versions])) == [machine, versions]
    assert machine["cores"] >= 1
    assert machine["memory_kib"] > 0
    assert machine["guest"] is False
    assert re.fullmatch(r"\d+\.\d+\.\d+", str(versions["cython"]))
    assert re.fullmatch("[0-9a-f]{12}", str(versions["build"]))
    assert _wsasec.__file__
    assert hashlib.sha256(Path(_wsasec.__file__).read_bytes()).hexdigest().startswith(str(versions["build"]))
    assert versions["python"]
    assert "OpenSSL" in str(versions["openssl"])


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    return parser.parse_args(["bench", *words])


def test_arguments() -> None:
    plain = parse()
    assert (plain.part, plain.full, plain.json, plain.html, plain.compare) == ("all", False, None, None, None)
    assert parse("connect", "--full", "--json", "x").part == "connect"
    assert parse("--full").full
    assert parse("--html", "y", "--compare", "z").compare == Path("z")
    for words in (["nothing"], ["--quick", "--full"], ["--json"], ["--compare"]):
        with pytest.raises(SystemExit) as error:
            parse(*words)
        assert error.value.code == 2


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Samples of all parts as if they had been measured; a BenchError in place of one is raised."""
    found = samples()
    found["memory"] = found["setup"].pop("memory_samples")

    def give(name: str) -> dict[str, Any]:
        if isinstance(found[name], BenchError):
            raise found[name]
        return found[name]

    def wire(_effort: Effort, wanted: list[str], monitor: Monitor) -> dict[str, Any]:
        monitor({"event": "note", "text": "noted"})
        errors = {name: str(found[name]) for name in wanted if isinstance(found[name], BenchError)}
        others = {name: found[name] for name in wanted if name not in errors}
        return {"errors": errors, "leaks": found["leaks"]} | others

    monkeypatch.setattr(suite, "_measure_setup", lambda _effort, _monitor: give("setup"))
    monkeypatch.setattr(suite, "_measure_memory", lambda _effort, _monitor: give("memory"))
    monkeypatch.setattr(suite, "_measure_loopback", lambda _effort, _monitor: give("loopback"))
    monkeypatch.setattr(suite, "_measure_wire", wire)
    monkeypatch.setattr(suite, "_measure_keys", lambda _effort, _monitor: give("keys"))
    monkeypatch.setattr(suite, "_measure_device", lambda _effort, _monitor: give("device"))
    return found


def files(folder: Path, *, html: bool = False, old: Path | None = None) -> suite.Files:
    return suite.Files(folder / "new" / "r.json", folder / "new" / "r.html" if html else None, old, NOW)


def test_results_are_written(
    measured: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert suite.run(suite.PARTS, QUICK, files(tmp_path, html=True)) == 0
    written = json.loads((tmp_path / "new" / "r.json").read_text())
    assert written["format"] == suite.FORMAT == "wsasec-bench/2"
    assert written["effort"] == "quick"
    assert written["errors"] == {}
    assert written["notes"] == ["noted"]
    assert {"machine", "versions", "started", "finished"} <= written.keys()
    setup = {**measured["setup"], "memory_samples": measured["memory"]}
    found = json.loads(json.dumps(summarized({**measured, "setup": setup})))
    for part in (*PARTS, "targets"):
        assert written[part] == found[part]
    assert len(written["targets"]) == 15
    out = capfd.readouterr().out
    assert str(tmp_path / "new" / "r.json") in out
    assert str(tmp_path / "new" / "r.html") in out
    assert "<svg" in (tmp_path / "new" / "r.html").read_text()


def test_samples_are_written_before_anything_is_made_of_them(
    measured: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(_results: object) -> dict[str, Any]:
        raise ZeroDivisionError

    monkeypatch.setattr(suite, "summarized", fail)
    with pytest.raises(ZeroDivisionError):
        suite.run(suite.PARTS, QUICK, files(tmp_path))
    written = json.loads((tmp_path / "new" / "r.json").read_text())
    assert written["setup"]["cells"] == json.loads(json.dumps(measured["setup"]["cells"]))
    assert written["setup"]["memory_samples"] == measured["memory"]
    assert written["traffic"]["throughput_samples"]
    assert str(tmp_path / "new" / "r.json") in capfd.readouterr().err
    # What can read results can read these.
    assert "Connecting" not in rendered(written)


def test_the_default_file(measured: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert suite.run(("setup",), QUICK, suite.Files(None, None, None, NOW)) == 0
    [file] = (tmp_path / "results").iterdir()
    assert file.name == "bench-20260102-030405.json"
    written = json.loads(file.read_text())
    assert "setup" in written
    assert not {"connect", "traffic", "loopback"} & written.keys()


def test_connections_alone(measured: dict[str, Any], tmp_path: Path) -> None:
    assert suite.run(("connect",), QUICK, files(tmp_path)) == 0
    written = json.loads((tmp_path / "new" / "r.json").read_text())
    assert "connect" in written
    assert not {"setup", "traffic", "loopback"} & written.keys()


def test_a_part_that_fails(
    measured: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    measured["traffic"] = BenchError("packets were in clear")
    assert suite.run(suite.PARTS, QUICK, files(tmp_path)) == 1
    written = json.loads((tmp_path / "new" / "r.json").read_text())
    assert written["errors"] == {"traffic": "packets were in clear"}
    assert {"setup", "loopback", "connect"} <= written.keys()
    assert "traffic" not in written
    assert "wsasec bench traffic: packets were in clear" in capfd.readouterr().err


def test_memory_that_fails_leaves_set_up_alone(measured: dict[str, Any], tmp_path: Path) -> None:
    measured["memory"] = BenchError("no room")
    assert suite.run(("setup",), QUICK, files(tmp_path)) == 1
    written = json.loads((tmp_path / "new" / "r.json").read_text())
    assert written["errors"] == {"memory": "no room"}
    assert written["setup"]["summary"]
    assert "memory" not in written["setup"]


def test_set_up_that_fails_leaves_memory_alone(measured: dict[str, Any], tmp_path: Path) -> None:
    measured["setup"] = BenchError("no namespace")
    assert suite.run(("setup",), QUICK, files(tmp_path)) == 1
    written = json.loads((tmp_path / "new" / "r.json").read_text())
    assert written["errors"] == {"setup": "no namespace"}
    assert len(written["setup"]["memory"]) == 5


def test_what_was_not_protected_is_said_in_all_reports(
    measured: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    measured["leaks"] = ["throughput: 3 packets of secured sockets were in clear"]
    assert suite.run(suite.PARTS, QUICK, files(tmp_path, html=True)) == 1
    out, err = capfd.readouterr()
    words = "NOT PROTECTED, or not proven to be: throughput: 3 packets"
    assert words in out
    assert words in err
    page = (tmp_path / "new" / "r.html").read_text()
    assert page.index(words) < page.index("<main>")
    written = json.loads((tmp_path / "new" / "r.json").read_text())
    assert words in make(written)["results.md"].replace("**", "")
    # What was measured is there all the same.
    assert written["traffic"]["throughput"]


def test_a_lab_that_cannot_be_made(
    measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> dict[str, Any]:
        raise BenchError("no guest")

    monkeypatch.setattr(suite, "_measure_wire", fail)
    assert suite.run(suite.PARTS, QUICK, files(tmp_path)) == 1
    written = json.loads((tmp_path / "new" / "r.json").read_text())
    assert written["errors"] == {"connect and traffic": "no guest"}
    assert {"setup", "loopback"} <= written.keys()


def old_results(folder: Path, *, faster: float) -> Path:
    """A run in which securing took that much less time by every method but the bases."""
    found = results()
    for row in found["setup"]["summary"]:
        if not row["method"].startswith(("floor", "ctypes", "query", "close")):
            for name in ("median", "low", "high", "minimum", "maximum"):
                row["us"][name] /= faster
            row["ratio"] = {base: ratio / faster for base, ratio in row["ratio"].items()}
            row["ratios"] = {base: [r / faster for r in taken] for base, taken in row["ratios"].items()}
    file = folder / "old.json"
    file.write_text(json.dumps(found))
    return file


@pytest.mark.parametrize(("faster", "code"), [(1.0, 0), (2.0, 1)])
def test_a_comparison(
    faster: float, code: int, measured: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    old = old_results(tmp_path, faster=faster)
    assert suite.run(suite.PARTS, QUICK, files(tmp_path, old=old)) == code
    assert ("Worse: " in capfd.readouterr().out) == bool(code)


def test_a_comparison_with_what_is_no_result_is_refused_at_once(tmp_path: Path) -> None:
    wrong = tmp_path / "old.json"
    wrong.write_text('{"format": "wsasec-bench/1"}')
    with pytest.raises(suite.CompareError, match="wsasec-bench/1"):
        files(tmp_path, old=wrong)
    with pytest.raises(suite.CompareError, match="none"):
        files(tmp_path, old=tmp_path / "none")


def test_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = parse("--compare", "none.json")
    assert arguments.run(arguments) == 2
    assert "none.json" in capfd.readouterr().err
    arguments = parse("--json", str(tmp_path))
    assert arguments.run(arguments) == 1
    assert "is a folder" in capfd.readouterr().err


def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="folder"):
        suite.Files(tmp_path, None, None, NOW)
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        suite.Files(tmp_path / "r.json", tmp_path / "file" / "r.html", None, NOW)


def test_efforts_measure_what_is_promised() -> None:
    kinds = {("inet", "stream"), ("inet", "dgram"), ("inet6", "stream"), ("inet6", "dgram")}
    for effort in (QUICK, FULL):
        assert {(cell.family, cell.type) for cell in effort.setup} == kinds
        first = [cell.sockets for cell in effort.setup if (cell.family, cell.type) == ("inet", "stream")]
        assert first == [1_000, 5_000, 15_000]
        assert all(not cell.main for cell in effort.setup if (cell.family, cell.type) == ("inet", "stream"))
        assert effort.connect.tls_connections in effort.connect.connections
        assert any(
            case.streams == 1_000 and "system_policy" in case.kinds for case in effort.traffic.throughput
        )
    assert {(c.family, c.type, c.sockets) for c in FULL.setup} == {
        (*kind, size) for kind in kinds for size in (1_000, 5_000, 15_000)
    }
    assert not any(cell.main for cell in FULL.setup)
    assert {1, 16, 256, 4_096} <= {case.streams for case in FULL.traffic.throughput}
    assert len({case.message_bytes for case in FULL.traffic.throughput}) > 1


def test_plans_go_through_json() -> None:
    from dataclasses import asdict

    for effort in (QUICK, FULL):
        assert device_plan(json.loads(json.dumps(asdict(effort.device)))) == effort.device
        assert connect_plan(json.loads(json.dumps(asdict(effort.connect)))) == effort.connect
        assert traffic_plan(json.loads(json.dumps(asdict(effort.traffic)))) == effort.traffic


def test_what_does_not_fit_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    fit = ConnectPlan((100, 1_000), 100, 1).within(500)
    assert fit == ConnectPlan((100,), 100, 1)
    traffic = FULL.traffic.within(500)
    assert all(isinstance(case, Throughput) and case.streams <= 500 for case in traffic.throughput)
    assert max(traffic.connections) <= 500
    notes = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    assert notes[0] == "1,000 connections are left out: there is room for 500"


def test_progress_without_a_terminal_is_plain_lines() -> None:
    out = io.StringIO()
    with Monitor(Console(file=out, width=100)) as monitor:
        monitor.phase("setup", "begins")
        for done in range(1, 101):
            monitor({"event": "step", "done": done, "total": 100, "text": "x"})
        monitor({"event": "note", "text": "[not] markup"})
        monitor({"event": "phase", "title": "connect", "text": "goes on"})
        monitor({"event": "step", "done": 1, "total": 2, "text": "y"})
    lines = out.getvalue().splitlines()
    assert lines[0] == "setup: begins"
    assert lines[1:11] == [f"setup: {n}/100, x" for n in range(10, 101, 10)]
    assert lines[11:] == ["[not] markup", "connect: goes on", "connect: 1/2, y"]
    assert monitor.notes == ["[not] markup"]
