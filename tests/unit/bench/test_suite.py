import argparse
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from wsasec.bench import suite
from wsasec.bench.machine import describe_machine, describe_versions
from wsasec.bench.methods import METHODS
from wsasec.bench.progress import Monitor
from wsasec.bench.report import render
from wsasec.bench.summary import summarize_setup, summarize_traffic
from wsasec.bench.traffic import MODES
from wsasec.bench.worker import BenchError

from wsasec.cli.bench import add

COSTS = {method.key: 1000 * (number + 2) for number, method in enumerate(METHODS)}
RATES = {"plain": 8_000, "secured": 80, "tls": 800}


def setup_data(noise: tuple[float, ...] = (1.0, 1.01, 0.99)) -> dict[str, Any]:
    def samples(cost: int) -> list[dict[str, int]]:
        return [{"ns": int(100 * cost * part), "cpu_ns": 100 * cost} for part in noise]

    size = {"wanted": 100, "sockets": 100, "samples": {key: samples(cost) for key, cost in COSTS.items()}}
    return {"descriptor_limit": 1024, "notes": [], "sizes": [size]}


def traffic_data() -> dict[str, Any]:
    proof = {"esp": 5, "clear": 0, "neighbour": 1, "dropped": 0, "clear_by_state": {}}
    proof |= {"sa_bytes": 2_000_000, "sa_bytes_back": 50, "payload_bytes": 1_900_000}
    samples = [
        {
            "mode": mode,
            "streams": streams,
            "repeat": repeat,
            "bytes": RATES[mode] * 125_000 * (repeat + 1),
            "seconds": 1.0 * (repeat + 1),
            "total": 1_900_000,
            "connect_seconds": 0.25,
            "secure_seconds": 0.0,
            "cipher": "TLSv1.3 X" if mode == "tls" else None,
            **({"proof": proof} if mode == "secured" else {}),
        }
        for repeat in range(2)
        for streams in (1, 64)
        for mode in MODES
    ]
    return {
        "kernel": "6.1.0",
        "mtu": 1500,
        "machine": {"guest": True},
        "sa_algorithm": "rfc4106(gcm(aes))",
        "aes_driver": "generic",
        "samples": samples,
    }


@pytest.fixture
def results() -> dict[str, Any]:
    setup, traffic = setup_data(), traffic_data()
    return {
        "machine": {**describe_machine(), "aes_instructions": True},
        "versions": describe_versions(),
        "setup": {**setup, "summary": summarize_setup(setup)},
        "traffic": {**traffic, "summary": summarize_traffic(traffic)},
    }


def rendered(results: dict[str, Any], width: int = 120) -> str:
    out = io.StringIO()
    render(results, Console(file=out, width=width))
    return out.getvalue()


def test_figures_of_the_setup() -> None:
    rows = {row["method"]: row for row in summarize_setup(setup_data())}
    assert list(rows) == [method.key for method in METHODS]
    floor, many, checked = rows["floor"], rows["secure_many"], rows["ctypes_checked"]
    assert floor["us"]["median"] == pytest.approx(2.0)
    assert floor["sockets_per_second"] == pytest.approx(500_000)
    assert many["ratio"] == {"ctypes_checked": pytest.approx(3 / 5), "floor": pytest.approx(3 / 2)}
    assert checked["ratio"]["ctypes_checked"] == 1
    assert not floor["us"]["unstable"]


def test_what_slows_whole_repeats_leaves_the_ratios_alone() -> None:
    rows = {row["method"]: row for row in summarize_setup(setup_data((1.0, 3.0, 1.0, 5.0)))}
    assert rows["secure_many"]["us"]["unstable"]
    assert rows["secure_many"]["ratio"]["floor"] == pytest.approx(3 / 2)


def test_figures_of_the_traffic() -> None:
    rows = {(row["streams"], row["mode"]): row for row in summarize_traffic(traffic_data())}
    assert set(rows) == {(streams, mode) for streams in (1, 64) for mode in MODES}
    secured = rows[64, "secured"]
    assert secured["gbit_per_second"]["median"] == pytest.approx(0.08)
    assert secured["gbit_per_second"]["count"] == 2
    assert secured["ratio_to_plain"] == pytest.approx(0.01)
    assert secured["proof"] == {
        "esp": 10,
        "clear": 0,
        "neighbour": 2,
        "dropped": 0,
        "sa_bytes": 4_000_000,
        "sa_bytes_back": 100,
        "payload_bytes": 3_800_000,
    }
    assert rows[1, "tls"]["cipher"] == "TLSv1.3 X"


def test_the_tables(results: dict[str, Any]) -> None:
    text = rendered(results)
    assert "Securing 100 TCP sockets, 3 repeats" in text
    assert re.search(
        r"^ *secure_many +3\.00 +2\.\d\d-3\.\d\d +\S+ +333,333 +0\.60 +1\.50 *$", text, re.MULTILINE
    )
    assert "secure_many takes 1.50 of the C loop's time" in " ".join(text.split())
    assert re.search(r"^ *64 +secured +0\.080 .* 0\.010 +250 +2 *$", text, re.MULTILINE)
    assert re.search(r"^ *64 +10 +0 +0 +3\.80 +4\.00 *$", text, re.MULTILINE)
    assert "do not compare secured with TLS here" in " ".join(text.split())
    assert "unstable" not in text


def test_the_tables_fit_a_narrow_terminal(results: dict[str, Any]) -> None:
    text = rendered(results, 80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_no_warning_about_a_guest_where_there_is_none(results: dict[str, Any]) -> None:
    results["traffic"]["machine"]["guest"] = False
    assert "do not compare" not in rendered(results)


def test_unstable_figures_are_marked(results: dict[str, Any]) -> None:
    setup = setup_data((1.0, 2.0, 1.0, 5.0))
    results["setup"] = {**setup, "summary": summarize_setup(setup)}
    text = rendered(results)
    assert " *" in text
    assert "* unstable" in text


def test_machine_and_versions_are_plain_data() -> None:
    machine, versions = describe_machine(), describe_versions()
    assert json.loads(json.dumps([machine, versions])) == [machine, versions]
    assert machine["cores"] >= 1
    assert machine["memory_kib"] > 0
    assert machine["guest"] is False
    assert re.fullmatch(r"\d+\.\d+\.\d+", str(versions["cython"]))
    assert versions["python"]
    assert "OpenSSL" in str(versions["openssl"])


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    return parser.parse_args(["bench", *words])


def test_arguments() -> None:
    assert (parse().part, parse().full, parse().json) == ("all", False, None)
    assert parse("traffic", "--full", "--json", "x").part == "traffic"
    assert parse("--full").full
    for words in (["nothing"], ["--quick", "--full"], ["--json"]):
        with pytest.raises(SystemExit) as error:
            parse(*words)
        assert error.value.code == 2


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, results: dict[str, Any]) -> dict[str, Any]:
    parts = {part: lambda _effort, _monitor, part=part: results[part] for part in suite.PARTS}
    monkeypatch.setattr(suite, "_MEASURE", parts)
    return parts


def test_results_are_written(
    measured: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "r.json"
    assert suite.run(suite.PARTS, suite.QUICK, file) == 0
    written = json.loads(file.read_text())
    assert written["format"] == suite.FORMAT
    assert written["effort"] == "quick"
    assert written["errors"] == {}
    assert {"machine", "versions", "started", "finished", "notes", "setup", "traffic"} <= written.keys()
    assert len(written["setup"]["sizes"][0]["samples"]["floor"]) == 3
    assert len(written["traffic"]["samples"]) == 12
    assert str(file) in capfd.readouterr().out


def test_the_default_file(measured: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert suite.run(("setup",), suite.QUICK, None) == 0
    [file] = (tmp_path / "results").iterdir()
    assert re.fullmatch(r"bench-\d{8}-\d{6}\.json", file.name)
    assert "traffic" not in json.loads(file.read_text())


def test_a_part_that_fails(
    measured: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_effort: suite.Effort, _monitor: Monitor) -> dict[str, Any]:
        raise BenchError("packets were in clear")

    measured["traffic"] = fail
    assert suite.run(suite.PARTS, suite.QUICK, tmp_path / "r.json") == 1
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["errors"] == {"traffic": "packets were in clear"}
    assert "setup" in written
    assert "wsasec bench traffic: packets were in clear" in capfd.readouterr().err


def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="folder"):
        suite.run(suite.PARTS, suite.QUICK, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        suite.run(suite.PARTS, suite.QUICK, tmp_path / "file" / "r.json")


def test_efforts_measure_what_is_promised() -> None:
    for effort in (suite.QUICK, suite.FULL):
        assert [count for count, _ in effort.setup] == [1_000, 5_000, 15_000]
        assert min(repeats for _, repeats in effort.setup) >= 7
        assert [streams for streams, _ in effort.traffic.streams] == [1, 64, 1_000]


def test_progress_without_a_terminal_is_plain_lines() -> None:
    out = io.StringIO()
    with Monitor(Console(file=out, width=100)) as monitor:
        monitor.phase("setup", "begins")
        for done in range(1, 101):
            monitor({"event": "step", "done": done, "total": 100, "text": "x"})
        monitor({"event": "note", "text": "[not] markup"})
    lines = out.getvalue().splitlines()
    assert lines[0] == "setup: begins"
    assert lines[1:11] == [f"setup: {n}/100, x" for n in range(10, 101, 10)]
    assert lines[11:] == ["[not] markup"]
    assert monitor.notes == ["[not] markup"]
