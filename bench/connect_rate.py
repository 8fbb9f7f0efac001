"""How many connections are made, and how many accepted, in a second."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import wsasec
from wsasec.lab import Lab

from .baselines.tls_pair import TlsPair
from .clock import RECEIVER, pinned, quiet
from .ends import DEADLINE, connected, dial
from .plans import ConnectPlan

__all__ = ["accept_rate", "connect_rate", "run_connect", "tls_rate"]

_KINDS: Final = ("secured", "plain")
_TLS: Final = ("tls128", "tls256")

Sample = dict[str, Any]


def _sample(kind: str, side: str, connections: int, seconds: float) -> Sample:
    return {
        "kind": kind,
        "side": side,
        "connections": connections,
        "seconds": seconds,
        "per_second": connections / seconds,
        "latency_us": None,
    }


def connect_rate(lab: Lab, kind: str, connections: int) -> Sample:
    """Connect a batch to a listener that accepts at the same time; sockets are made and secured before."""
    with quiet(), connected(lab.b, lab.a, kind, connections, "sink") as ends:
        sample = _sample(kind, "connect", connections, ends.report.seconds)
        sample["latency_us"] = ends.report.latency.to_dict()
    return sample


def accept_rate(lab: Lab, kind: str, connections: int) -> Sample:
    """Accept connections that stand already: what accept() costs, and the policies of what it returns."""
    with lab.b.entered():
        door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with quiet(), door, dial(lab.a, kind, connections) as batch:
        if kind == "secured":
            wsasec.secure(door)
        door.bind((lab.b.v4, 0))
        door.listen(connections)
        batch.connect(door.getsockname(), timeout=DEADLINE)
        start = time.perf_counter()
        with (
            pinned(RECEIVER),
            wsasec.Listener(sock=door, secure=kind == "secured", mode="sink", threads=1) as listener,
        ):
            listener.wait_accepted(connections, DEADLINE)
            seconds = time.perf_counter() - start
    return _sample(kind, "accept", connections, seconds)


def tls_rate(pair: TlsPair, kind: str, connections: int) -> Sample:
    """Connect and shake hands."""
    return _sample(kind, "connect", connections, pair.connect(connections))


def _round(lab: Lab, pairs: dict[str, TlsPair], plan: ConnectPlan, repeat: int) -> Iterator[Sample]:
    for connections in plan.connections:
        # TLS among those that it is compared with, not after thousands of other connections.
        tls = _TLS if connections == plan.tls_connections else ()
        for kind in _rotated((*_KINDS, *tls), repeat):
            if kind in _TLS:
                yield tls_rate(pairs[kind], kind, connections)
            else:
                yield connect_rate(lab, kind, connections)
        for kind in _rotated(_KINDS, repeat):
            yield accept_rate(lab, kind, min(connections, _somaxconn()))


def _rotated(kinds: tuple[str, ...], repeat: int) -> tuple[str, ...]:
    """Return the kinds in the order of a repeat: each is the first in turn."""
    turn = repeat % len(kinds)
    return (*kinds[turn:], *kinds[:turn])


def _somaxconn() -> int:
    """Return how many connections may wait to be accepted."""
    return int(Path("/proc/sys/net/core/somaxconn").read_text())


def run_connect(lab: Lab, pairs: dict[str, TlsPair], plan: ConnectPlan) -> Iterator[Sample]:
    """Measure everything in turn; the first round is thrown away."""
    for repeat in range(plan.repeats + 1):
        for sample in _round(lab, pairs, plan, repeat):
            yield {**sample, "repeat": repeat - 1, "warm_up": repeat == 0}
