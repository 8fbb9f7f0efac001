"""The cases for pytest-benchmark run, a few of them, as small as can be: their figures mean nothing here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import wsasec.bench

from wsasec.lab import esp_missing, missing_privileges

CASES = Path(wsasec.bench.__file__).parent
TINY = {
    "WSASEC_BENCH_SOCKETS": "5",
    "WSASEC_BENCH_CONNECTIONS": "3",
    "WSASEC_BENCH_STREAMS": "2",
    "WSASEC_BENCH_SECONDS": "0.5",
    "WSASEC_BENCH_ROUNDS": "2",
}


def run(folder: Path, *words: str) -> tuple[str, dict[str, dict[str, object]]]:
    """Run cases; return what pytest says at the end, and the cases by name."""
    report = folder / "benchmark.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    command += ["-c", os.devnull, "--rootdir", str(CASES), "--benchmark-only", f"--benchmark-json={report}"]
    done = subprocess.run(
        [*command, "-rs", *words],
        cwd=folder,
        env={**os.environ, **TINY},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # No case, no report.
    cases = json.loads(report.read_text())["benchmarks"] if report.exists() else []
    return done.stdout, {case["name"]: case for case in cases}


@pytest.mark.linux
def test_setup(tmp_path: Path) -> None:
    if missing := missing_privileges():
        pytest.skip(f"needs {', '.join(missing)}")
    said, cases = run(tmp_path, str(CASES / "test_setup.py"), "-k", "secure or close_batch or query or batch")
    assert "inet6-dgram-secure_many" in "".join(cases)
    assert {case["extra_info"]["sockets"] for case in cases.values()} == {5}
    assert all(case["stats"]["rounds"] == 2 for case in cases.values())
    assert " failed" not in said


@pytest.mark.linux
def test_memory(tmp_path: Path) -> None:
    if missing := missing_privileges():
        pytest.skip(f"needs {', '.join(missing)}")
    _, cases = run(tmp_path, str(CASES / "test_memory.py"))
    [case] = cases.values()
    assert case["extra_info"]["user space, SocketBatch"] > 0
    assert {len(taken) for taken in case["extra_info"]["samples"].values()} == {2}


@pytest.mark.lab
def test_the_wire(tmp_path: Path) -> None:
    words = ("test_connect", "test_accept", "test_tls", "test_requests", "test_datagrams")
    wanted = " or ".join([*words, "(test_throughput and not 1024)"])
    said, cases = run(tmp_path, str(CASES / "test_connect.py"), str(CASES / "test_traffic.py"), "-k", wanted)
    assert len(cases) == 2 + 2 + 2 + 6 + 3 + 3, said
    for case in cases.values():
        assert {len(taken) for taken in case["extra_info"]["samples"].values()} == {2}
        assert case["extra_info"]["samples"].keys() < case["extra_info"].keys()


@pytest.mark.linux
def test_without_esp_the_wire_is_skipped_with_a_reason(tmp_path: Path) -> None:
    said, cases = run(tmp_path, str(CASES / "test_connect.py"))
    assert bool(cases) == (not esp_missing())
    assert cases or "wsasec lab run" in said
