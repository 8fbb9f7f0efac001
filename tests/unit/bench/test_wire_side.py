"""What is kept of the traffic when something fails, and in which order it is measured."""

import gc
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from wsasec.bench import connect_rate, datagrams, loopback, request_latency, throughput, wire_side
from wsasec.bench.baselines.control import EndedError
from wsasec.bench.baselines.one_policy import one_policy_for_all
from wsasec.bench.plans import QUICK, ConnectPlan, LoopbackPlan
from wsasec.bench.proof import LeakError

from wsasec.lab import LabError

Sample = dict[str, Any]
HOSTS = SimpleNamespace(mtu=1500, b=SimpleNamespace(sas=lambda: [SimpleNamespace(algorithm="gcm")]))


def failing(error: Exception | None) -> Any:
    """A measurement whose first sample is one of a warm-up, and that fails after two more."""

    def measure(*_: object) -> Iterator[Sample]:
        yield {"kind": "plain", "warm_up": True}
        yield {"kind": "plain", "repeat": 0}
        yield {"kind": "plain", "repeat": 1}
        if error is not None:
            raise error

    return measure


@pytest.fixture
def pairs_made(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A lab that is none; what it returns gets an entry for each time that TLS is set up."""
    made: list[object] = []

    @contextmanager
    def tls_pairs(lab: object) -> Iterator[dict[str, None]]:
        made.append(lab)
        yield {"tls128": None}

    monkeypatch.setattr(wire_side, "Lab", lambda: nullcontext(HOSTS))
    monkeypatch.setattr(wire_side, "tls_pairs", tls_pairs)
    for name in ("run_connect", "run_throughput", "run_requests", "run_datagrams"):
        monkeypatch.setattr(wire_side, name, failing(None))
    return made


TAKEN = [{"kind": "plain", "repeat": 0}, {"kind": "plain", "repeat": 1}]
PARTS = ("throughput_samples", "latency_samples", "datagram_samples")


def test_samples_before_a_failure_are_kept(pairs_made: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_side, "run_connect", failing(EndedError("TLS is gone")))
    monkeypatch.setattr(wire_side, "run_throughput", failing(LeakError("3 packets in clear")))
    monkeypatch.setattr(wire_side, "run_requests", failing(subprocess.TimeoutExpired("ip", 30)))
    found = wire_side.run(QUICK.connect, QUICK.traffic)
    assert found["errors"] == {
        "connect": "TLS is gone",
        "requests": "Command 'ip' timed out after 30 seconds",
    }
    assert found["leaks"] == ["throughput: 3 packets in clear"]
    assert found["connect"]["samples"] == TAKEN
    assert [found["traffic"][name] for name in PARTS] == [TAKEN] * 3
    # What was left of the first pair is not asked again.
    assert len(pairs_made) == 2


def test_nothing_fails(pairs_made: list[object]) -> None:
    found = wire_side.run(None, QUICK.traffic)
    assert (found["errors"], found["leaks"]) == ({}, [])
    assert "connect" not in found
    assert [found["traffic"][name] for name in PARTS] == [TAKEN] * 3


def test_what_fails_before_a_sample_is_an_error_of_its_part(
    pairs_made: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_lab: object) -> None:
        raise OSError("no pair")

    monkeypatch.setattr(wire_side, "tls_pairs", fail)
    assert wire_side.run(QUICK.connect, None) == {"errors": {"connect": "no pair"}, "leaks": []}


def test_a_mistake_of_the_benchmark_is_no_failure(
    pairs_made: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_side, "run_requests", failing(KeyError("x")))
    with pytest.raises(KeyError):
        wire_side.run(None, QUICK.traffic)


class Host:
    v4 = "192.0.2.1"

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.checked: list[bool] = []

    def run(self, _argv: list[str], *, input: str, check: bool) -> None:  # noqa: A002
        assert "xfrm policy" in input
        self.checked.append(check)
        if check:
            raise self.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (subprocess.CalledProcessError(2, "ip", "", "RTNETLINK answers: no\n"), "RTNETLINK answers: no$"),
        (subprocess.TimeoutExpired("ip", 30), "timed out"),
        (FileNotFoundError("no ip"), "no ip"),
    ],
)
def test_a_policy_that_cannot_be_set_is_an_error_of_the_lab(error: Exception, words: str) -> None:
    host = Host(error)
    lab: Any = SimpleNamespace(a=host, b=host, profile=SimpleNamespace(reqid=1))
    with pytest.raises(LabError, match=words), one_policy_for_all(lab):
        raise AssertionError("not reached")
    assert host.checked == [True, False, False]  # nothing stays behind


def test_tls_takes_turns_with_what_it_is_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_rate, "connect_rate", lambda _lab, kind, n: {"kind": kind, "n": n})
    monkeypatch.setattr(connect_rate, "accept_rate", lambda _lab, kind, n: {"kind": f"accept {kind}", "n": n})
    monkeypatch.setattr(connect_rate, "tls_rate", lambda _pair, kind, n: {"kind": kind, "n": n})
    lab: Any = None
    pairs: Any = {"tls128": None, "tls256": None}
    samples = list(connect_rate.run_connect(lab, pairs, ConnectPlan((500, 900), 500, 3)))
    firsts = []
    for repeat in range(-1, 3):
        own = [(s["kind"], s["n"]) for s in samples if s["repeat"] == repeat]
        small, large = [[kind for kind, n in own if n == size] for size in (500, 900)]
        assert sorted(small[:4]) == ["plain", "secured", "tls128", "tls256"]
        assert sorted(small[4:]) == ["accept plain", "accept secured"]
        assert sorted(large) == ["accept plain", "accept secured", "plain", "secured"]
        firsts.append(small[0])
    assert sorted(firsts) == ["plain", "secured", "tls128", "tls256"]
    assert [s["warm_up"] for s in samples].count(True) == len(samples) / 4


def test_nothing_is_collected_while_traffic_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    collecting: list[bool] = []

    def look(*_: object, **__: object) -> Any:
        collecting.append(gc.isenabled())
        raise LabError("seen")

    anything: Any = SimpleNamespace(a=None, b=None)
    for module, name in (
        (throughput, "by_engine"),
        (request_latency, "connected"),
        (datagrams, "connected"),
        (loopback, "_measure"),
    ):
        monkeypatch.setattr(module, name, look)
    monkeypatch.setattr(loopback, "Namespace", lambda _name: nullcontext())
    more = {"warm": 0.0, "seconds": 0.0}
    for measure in (
        lambda: throughput.measure_throughput(anything, {}, "plain", anything, anything),
        lambda: request_latency.request_latency(anything, "plain", 1, request_bytes=1, **more),
        lambda: datagrams.datagram_rate(anything, "plain", datagram_bytes=1, **more),
        lambda: loopback.run(LoopbackPlan((1,), 1, 0.0, 0.0, 1)),
    ):
        with pytest.raises(LabError, match="seen"):
            measure()
    assert collecting == [False] * 4
    assert gc.isenabled()
