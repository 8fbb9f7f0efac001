"""Plain traffic by iperf3: what it is asked for, and how it fails."""

import json
import subprocess
from typing import Any

import pytest
from wsasec.bench import loopback
from wsasec.bench.baselines import iperf3
from wsasec.bench.plans import LoopbackPlan


class Host:
    """Stands in for a namespace; its server listens, its client answers as told."""

    def __init__(self, answer: str | Exception, server: str = "echo Server listening; exec sleep 60") -> None:
        self.answer = answer
        self.server = server
        self.asked: list[str] = []

    def popen(self, _argv: list[str], **arguments: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sh", "-c", self.server], **arguments)

    def run(self, argv: list[str], *, check: bool, timeout: float) -> subprocess.CompletedProcess[str]:
        assert not check
        assert timeout > 30
        self.asked = argv
        if isinstance(self.answer, Exception):
            raise self.answer
        return subprocess.CompletedProcess(argv, 0, self.answer, "")


def rate(host: Any, *, warm: float = 0.2, seconds: float = 0.6) -> float:
    return iperf3.run(host, host, "192.0.2.1", streams=3, message_bytes=9, warm=warm, seconds=seconds)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iperf3, "available", lambda: True)


@pytest.mark.parametrize(
    ("warm", "seconds", "omitted", "measured"),
    [(0.0, 1.0, "0", "1"), (0.2, 0.6, "1", "1"), (0.3, 1.0, "1", "1"), (1.0, 2.6, "1", "3")],
)
def test_its_warm_up_is_never_shorter(warm: float, seconds: float, omitted: str, measured: str) -> None:
    host = Host(json.dumps({"end": {"sum_received": {"bits_per_second": 2e9}}}))
    assert rate(host, warm=warm, seconds=seconds) == 2
    assert host.asked[host.asked.index("-O") + 1] == omitted
    assert host.asked[host.asked.index("-t") + 1] == measured


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (Host(subprocess.TimeoutExpired("iperf3", 32)), "timed out after 32"),
        (Host(OSError("no process")), "no process"),
        (Host('{"error": "refused"}'), "refused"),
        (Host("{}"), "cannot be understood"),
        (Host("", "echo boo"), "server ended: boo"),
    ],
)
def test_all_its_failures_are_of_one_sort(host: Host, words: str) -> None:
    with pytest.raises(iperf3.Iperf3Error, match=words):
        rate(host)


class Nowhere:
    def __init__(self, _name: str) -> None:
        pass

    def __enter__(self) -> "Nowhere":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_on_loopback_a_failure_costs_no_other_sample(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(_namespace: object, kind: str, _streams: int, _plan: LoopbackPlan) -> float:
        if kind == "iperf3":
            raise iperf3.Iperf3Error("timed out")
        return 5.0

    monkeypatch.setattr(loopback, "Namespace", Nowhere)
    monkeypatch.setattr(loopback, "_measure", measure)
    found = loopback.run(LoopbackPlan((1, 16), 9, 0.0, 1.0, 2))
    assert [(s["kind"], s["gbit_per_second"]) for s in found["samples"]] == [("plain", 5.0)] * 4
    assert found["notes"] == ["timed out"] * 6
    assert '"timed out"' in capsys.readouterr().out
