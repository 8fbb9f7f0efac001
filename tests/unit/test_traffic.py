"""wsasec.traffic: wrong arguments, and what results say; nothing is sent."""

from __future__ import annotations

import array
import json
import math
import pickle
import sys

import pytest

from wsasec import Histogram, SecurityError, Winsock, _wsasec, traffic

NONE = array.array("i", [-1])
KINDS = pytest.mark.parametrize("run", [traffic.stream, traffic.requests, traffic.datagrams])


@KINDS
@pytest.mark.parametrize(
    "arguments",
    [
        {"seconds": 0},
        {"seconds": -1},
        {"seconds": math.inf},
        {"seconds": math.nan},
        {"seconds": 1e-12},
        {"seconds": 1e9},
        {"seconds": 1, "warm_up": -1},
        {"seconds": 1, "warm_up": math.nan},
        {"seconds": 1, "threads": 0},
        {"seconds": 1, "threads": 1025},
        {"seconds": 1, "rate": 0},
        {"seconds": 1, "rate": -5},
        {"seconds": 1, "rate": 0.0009},
        {"seconds": 1, "rate": 1.1e12},
        {"seconds": 1, "rate": math.inf},
        {"seconds": 1, "rate": math.nan},
    ],
    ids=str,
)
def test_wrong_numbers(run, arguments):
    with pytest.raises(ValueError, match=" is "):
        run(NONE, **arguments)


@KINDS
@pytest.mark.parametrize("rate", [0.001, 1e12])
def test_the_ends_of_the_rates(run, rate):
    assert run(NONE, seconds=1, rate=rate).rate == rate
    with pytest.raises(ValueError, match=r"not from 0\.001 to 1e12"):
        run(NONE, seconds=1, rate=rate * 2 if rate > 1 else rate / 2)


@pytest.mark.parametrize("size", [0, -1, 1 << 40])
def test_wrong_sizes(size):
    with pytest.raises(ValueError, match="message_bytes is"):
        traffic.stream(NONE, seconds=1, message_bytes=size)
    with pytest.raises(ValueError, match="request_bytes is"):
        traffic.requests(NONE, seconds=1, request_bytes=size)
    with pytest.raises(ValueError, match="datagram_bytes is"):
        traffic.datagrams(NONE, seconds=1, datagram_bytes=size)
    with pytest.raises(ValueError, match="datagram_bytes is"):
        traffic.datagrams(NONE, seconds=1, datagram_bytes=65508)


@KINDS
@pytest.mark.parametrize("drain", [-1, math.inf])
def test_wrong_drain(run, drain):
    if run is not traffic.stream:
        with pytest.raises(ValueError, match="drain is"):
            run(NONE, seconds=1, drain=drain)


@KINDS
def test_no_sockets(run):
    with pytest.raises(ValueError, match="no sockets"):
        run([], seconds=1)
    for wrong in ("abc", 5, None, array.array("l", [1]), [None]):
        with pytest.raises(TypeError):
            run(wrong, seconds=1)


@KINDS
def test_nothing_that_can_send(run):
    """A run without a socket is over at once, and says why."""
    result = run(array.array("i", [-1, 1 << 20]), seconds=3600, threads=2)
    error = "WSAENOTSOCK" if sys.platform == "win32" else "EBADF"
    assert result.to_dict()["errors"] == {"0": error, "1": error}
    assert (result.failed, result.total.open, result.seconds, result.total.phase) == (2, 0, 0, "done")
    json.dumps(result.to_dict())
    assert pickle.loads(pickle.dumps(result)).to_dict() == result.to_dict()


def test_the_core_checks_too():
    with pytest.raises(SecurityError) as caught:
        _wsasec.run_traffic(
            NONE, 9, threads=1, message_bytes=1, warm_up=0, run=1, drain=0, rate=0.0, progress=None
        )
    assert caught.value.winsock == Winsock.WSAEINVAL


def result_of(kind, errors, **more):
    total = traffic.TrafficCounts("done", 2.0, 0, 0, 0, 0, 0, 0, 0, 0)
    return kind(
        seconds=2.0,
        message_bytes=1,
        threads=1,
        rate=None,
        total=total,
        errors=array.array("i", errors),
        **more,
    )


def test_stream_figures():
    moved = array.array("Q", [50, 100, 1, 0])
    result = result_of(traffic.StreamResult, [0, 0, 32, 0], bytes=10**9, bytes_by_stream=moved)
    assert (result.gbit_per_second, result.fairness, result.stalled, result.failed) == (4.0, 0.0, 1, 1)
    result = result_of(traffic.StreamResult, [0, 0, 32, 32], bytes=151, bytes_by_stream=moved)
    assert (result.fairness, result.stalled) == (0.5, 0)
    result = result_of(traffic.StreamResult, [32] * 4, bytes=151, bytes_by_stream=moved)
    assert (result.fairness, result.stalled) == (0.0, 0)


@pytest.mark.parametrize(
    ("received", "echoed", "lost", "loss"),
    [
        (None, 0, None, None),
        (90, 0, 10, 0.1),
        (None, 75, 25, 0.25),
        (100, 75, 0, 0.0),
        (101, 0, 0, 0.0),
        (0, 0, 100, 1.0),
    ],
)
def test_loss(received, echoed, lost, loss):
    result = result_of(
        traffic.DatagramResult,
        [0],
        datagrams=80,
        datagrams_by_socket=array.array("Q", [80]),
        sent=100,
        echoed=echoed,
        received=received,
        latency=Histogram(),
    )
    assert (result.lost, result.loss, result.datagrams_per_second) == (lost, loss, 40.0)
