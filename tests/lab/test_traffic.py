"""wsasec.traffic on the wire: all of it in ESP, also where associations go and come, or the peer dies."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from wire import TIMEOUT, Wire, wait_for

import wsasec
from wsasec import traffic

pytestmark = pytest.mark.lab

STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


@contextmanager
def served(
    wire: Wire, n: int, mode: str, kind: int = STREAM, **options: Any
) -> Iterator[tuple[wsasec.Listener, wsasec.SocketBatch]]:
    """Secured sockets at a that are connected to a secured listener at b."""
    if kind == DGRAM:  # what a sender that was kept waiting sends at once, fits
        options = {"receive_buffer": 1 << 20, **options}
    with wire.b.entered():
        listener = wsasec.Listener((wire.host(wire.b), 0), mode=mode, type=kind, **options)
    with listener:
        with wire.a.entered():
            batch = wsasec.SocketBatch(n, family=wire.family, type=kind)
        with batch:
            batch.connect([listener.address], timeout=TIMEOUT)
            yield listener, batch


def protected(wire: Wire, source: Any) -> int:
    """Bytes that the associations out of a host have carried, those removed not among them."""
    return sum(sa.bytes for sa in wire.sas(source) if sa.src == wire.host(source))


def test_stream(make_wire):
    with make_wire() as wire, served(wire, 20, "sink") as (listener, batch):
        result = traffic.stream(batch, seconds=3, threads=2)
        assert (result.failed, result.stalled) == (0, 0)
        batch.close()
        wait_for(lambda: listener.counts.open == 0, "all has arrived", 60)
        assert listener.counts.received_bytes == result.total.sent_bytes
        assert 0 < result.bytes < result.total.sent_bytes
        assert protected(wire, wire.a) > result.total.sent_bytes


@pytest.mark.parametrize("rate", [None, 200])
def test_requests(make_wire, rate):
    with make_wire() as wire, served(wire, 20, "echo") as (_, batch):
        result = traffic.requests(batch, seconds=1, rate=rate, request_bytes=200, drain=TIMEOUT)
        assert (result.failed, result.unclean, result.unanswered) == (0, (), 0)
        assert result.total.sent_bytes == result.total.received_bytes > 0
        assert protected(wire, wire.a) > result.total.sent_bytes
        assert protected(wire, wire.b) > result.total.received_bytes
        if rate:
            assert abs(result.latency.count + result.unsent - rate) <= 1


@pytest.mark.parametrize("mode", ["sink", "echo"])
def test_datagrams(make_wire, mode, monkeypatch):
    monkeypatch.setattr(traffic, "_RECEIVER_QUIET", 5.0)  # and a thread that is kept waiting lost nothing
    with make_wire() as wire, served(wire, 5, mode, DGRAM) as (listener, batch):
        result = traffic.datagrams(batch, seconds=1, rate=300, receiver=listener, drain=TIMEOUT)
        assert (result.failed, result.lost, result.total.without_sa) == (0, 0, 0)
        assert result.echoed == (result.sent if mode == "echo" else 0)
        assert protected(wire, wire.a) > result.sent * 1024
        if mode == "sink":
            # The ESP of the other direction is for the check that both hosts used their associations.
            assert wire.connection()


class Interruption:
    """Takes the associations away in the middle of a run, and puts them back."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.seen: list[traffic.TrafficCounts] = []
        self.gone: int | None = None
        self.back: int | None = None

    def __call__(self, counts: traffic.TrafficCounts) -> None:
        self.seen.append(counts)
        if self.gone is None and counts.received_messages + counts.sent_bytes > 0 and len(self.seen) >= 3:
            self.wire.lab.remove_sas()
            self.gone = len(self.seen)
        elif self.gone is not None and self.back is None and len(self.seen) >= self.gone + 5:
            self.wire.lab.add_sas()
            self.back = len(self.seen)


def test_datagrams_while_associations_are_away(make_wire):
    with make_wire(esp=None) as wire, served(wire, 3, "sink", DGRAM) as (listener, batch):
        watch = Interruption(wire)
        result = traffic.datagrams(
            batch, seconds=8, warm_up=0, rate=300, receiver=listener, progress=watch, drain=TIMEOUT
        )
        assert result.failed == 0
        assert watch.gone is not None
        assert watch.back is not None
        between = watch.seen[watch.gone : watch.back]
        # What was in the middle of the call when they went is over.
        assert between[1].sent_messages == between[-1].sent_messages < watch.seen[-1].sent_messages
        # Three sockets, each at 1, 2, 4, ... 32 ms and then every 50.
        assert 3 <= result.total.without_sa <= 3 * (6 + 8000 / 50)
        assert result.received <= result.sent
        assert protected(wire, wire.a) > 0


@pytest.mark.parametrize("run", [traffic.stream, traffic.requests])
def test_connections_while_associations_are_away(make_wire, run):
    mode = "sink" if run is traffic.stream else "echo"
    with make_wire(esp=None) as wire, served(wire, 4, mode) as (_, batch):
        watch = Interruption(wire)
        options = {"drain": TIMEOUT} if run is traffic.requests else {}
        result = run(batch, seconds=5, warm_up=0, progress=watch, **options)
        assert (result.failed, result.total.without_sa) == (0, 0)
        assert watch.back is not None
        assert protected(wire, wire.a) > 0
        if run is traffic.requests:
            assert (result.unclean, result.unanswered) == ((), 0)
            # Each connection had a request on its way, or none, and none was lost.
            assert result.total.sent_messages == result.total.received_messages
            assert result.latency.maximum >= 100_000


def test_associations_stay_away(make_wire):
    """The run ends in time all the same, and tells what still waits."""
    with make_wire(esp=None, settle=False) as wire, served(wire, 4, "echo") as (_, batch):
        wire.lab.remove_sas()
        result = traffic.requests(batch, seconds=0.3, warm_up=0, drain=0.1)
        assert (result.unclean, result.requests, result.failed) == ((0, 1, 2, 3), 0, 0)
        assert result.unanswered == 4
        wire.lab.add_sas()


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["tcp", "udp"])
def test_the_peer_dies(make_wire, kind):
    """Its resets and its ICMP come in ESP, and are believed."""
    with make_wire() as wire, served(wire, 6, "sink", kind) as (listener, batch):
        run = traffic.stream if kind == STREAM else traffic.datagrams
        result = run(
            batch, seconds=60, rate=200_000 if kind == STREAM else 100, progress=lambda _: listener.close()
        )
        known = {errno.ECONNRESET, errno.EPIPE} if kind == STREAM else {errno.ECONNREFUSED}
        assert set(result.errors) <= known
        assert result.seconds < 30
