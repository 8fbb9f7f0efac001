"""What it costs that keys are negotiated: the first connection to a peer, later ones, names and questions.

Each first connection goes to an address of its own of the second host, for which nothing was negotiated
before.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import wsasec
from wsasec.lab import Lab
from wsasec.profiles import Profiles

from .broker_cost import run_broker
from .ends import connected, reset_on_close
from .key_hosts import NAME, RENEWED
from .plans import KeyPlan

__all__ = ["run_keys", "steps"]

_DEADLINE: Final = 30.0
_BACKLOG: Final = 4096
_CALLS: Final = 100
_A_ROUND: Final = 22
"""Samples: 6 of plain connections, 10 of secured ones, 2 of streams, 4 of securing."""
_KINDS: Final = ("secured", "plain")

Sample = dict[str, Any]
Address = tuple[str, int]


def steps(plan: KeyPlan) -> int:
    """Return how many samples there will be."""
    return (plan.repeats + 1) * _A_ROUND


class _Peers:
    """Addresses of the second host that nobody has talked to."""

    def __init__(self, lab: Lab, count: int) -> None:
        self._names = [f"10.9.{1 + number // 250}.{1 + number % 250}" for number in range(count)]
        self._next = 0
        lab.a.run(["ip", "route", "add", "10.9.0.0/16", "dev", lab.a.device])
        # All at once: a process each would take minutes in a guest.
        lines = "".join(f"addr add {name}/32 dev {lab.b.device}\n" for name in self._names)
        lab.b.run(["ip", "-batch", "-"], input=lines)

    def take(self, count: int) -> list[str]:
        """Return so many of them; none is returned twice."""
        self._next += count
        return self._names[self._next - count : self._next]


@contextmanager
def _listener(lab: Lab, kind: str) -> Iterator[wsasec.Listener]:
    with lab.b.entered():
        listener = wsasec.Listener(("0.0.0.0", 0), secure=kind == "secured", backlog=_BACKLOG)  # noqa: S104 - in a lab
    with listener:
        yield listener


def _one(lab: Lab, kind: str, address: Address, name: str | None) -> float:
    """Return the microseconds in which one socket is connected, its name set and verified if it has one."""
    with lab.a.entered(), socket.socket() as sock:
        if kind == "secured":
            wsasec.secure(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        start = time.perf_counter()
        if name is not None:
            wsasec.set_peer_target_name(sock, name)
        wsasec.connect(sock, address, timeout=_DEADLINE)
        return (time.perf_counter() - start) * 1e6


def _sample(what: str, kind: str, value: float, unit: str = "µs") -> Sample:
    return {"what": what, "kind": kind, "value": value, "unit": unit, "connections": 1}


def _single(lab: Lab, peers: _Peers, listener: wsasec.Listener, kind: str) -> Iterator[Sample]:
    port = listener.address[1]
    (peer,) = peers.take(1)
    yield _sample("first connection", kind, _one(lab, kind, (peer, port), None))
    yield _sample("later connection", kind, _one(lab, kind, (peer, port), None))
    if kind == "secured":
        (other,) = peers.take(1)
        yield _sample("first connection, with a name", kind, _one(lab, kind, (other, port), NAME))
        yield _sample("later connection, with a name", kind, _one(lab, kind, (other, port), NAME))


def _batch(lab: Lab, kind: str, what: str, addresses: list[Address], plan: KeyPlan) -> Sample:
    # Also for connecting: the key daemon that is asked is that of the thread's network namespace.
    with (
        lab.a.entered(),
        wsasec.SocketBatch(plan.connections, secure=kind == "secured", raise_limit=True) as batch,
    ):
        report = batch.connect(addresses, timeout=_DEADLINE)
        reset_on_close(batch)
    return _sample(what, kind, report.seconds * 1e3, "ms") | {"connections": plan.connections}


def _batches(
    lab: Lab, peers: _Peers, listener: wsasec.Listener, kind: str, plan: KeyPlan
) -> Iterator[Sample]:
    port = listener.address[1]
    for count in (1, plan.peers):
        addresses = [(peer, port) for peer in peers.take(count)]
        to = f"{plan.connections:,} connections to {count} peer{'s' * (count > 1)}"
        yield _batch(lab, kind, f"{to}, the first", addresses, plan)
        yield _batch(lab, kind, f"{to}, later", addresses, plan)


def _calls(lab: Lab, listener: wsasec.Listener) -> Iterator[Sample]:
    """Time what asks the key daemon."""
    with lab.a.entered(), socket.socket() as sock:
        wsasec.secure(sock)
        wsasec.connect(sock, (lab.b.v4, listener.address[1]), timeout=_DEADLINE)
        start = time.perf_counter()
        for _ in range(_CALLS):
            wsasec.query(sock)
        yield _sample("query", "secured", (time.perf_counter() - start) / _CALLS * 1e6)
    with lab.a.entered(), socket.socket() as sock:
        wsasec.secure(sock)
        start = time.perf_counter()
        for _ in range(_CALLS):
            wsasec.set_peer_target_name(sock, NAME)
        yield _sample("setting a name", "secured", (time.perf_counter() - start) / _CALLS * 1e6)


def _streams(lab: Lab, profiles: Profiles, plan: KeyPlan) -> Iterator[Sample]:
    """Compare streams whose keys are renewed all the time with such whose keys stay."""
    renewed = wsasec.IpsecSettings(qm_policy=profiles[RENEWED].guid)
    for what, settings in (("streams, keys renewed every 2 s", renewed), ("streams", None)):
        with connected(lab.b, lab.a, "secured", plan.streams, "sink", settings=settings) as ends:
            result = wsasec.traffic.stream(ends.batch, seconds=plan.seconds)
        yield _sample(what, "secured", result.gbit_per_second * 1e3, "Mbit/s")


def _round(lab: Lab, peers: _Peers, profiles: Profiles, plan: KeyPlan, repeat: int) -> Iterator[Sample]:
    for kind in _KINDS if repeat % 2 else _KINDS[::-1]:
        with _listener(lab, kind) as listener:
            yield from _single(lab, peers, listener, kind)
            yield from _batches(lab, peers, listener, kind, plan)
            if kind == "secured":
                yield from _calls(lab, listener)
    yield from _streams(lab, profiles, plan)
    yield from run_broker(lab.a, plan.connections)


def run_keys(lab: Lab, profiles: Profiles, plan: KeyPlan) -> Iterator[Sample]:
    """Measure everything in turn; the first round is thrown away."""
    rounds = plan.repeats + 1
    peers = _Peers(lab, rounds * 2 * (plan.peers + 3))
    for repeat in range(rounds):
        for sample in _round(lab, peers, profiles, plan, repeat):
            yield {**sample, "repeat": repeat - 1, "warm_up": repeat == 0}
