"""What goes through, by kind of traffic, number of streams and size of messages."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

import wsasec
from wsasec import traffic
from wsasec.lab import Lab, Namespace

from .baselines import iperf3
from .baselines.tls_pair import TlsPair
from .clock import SENDER, pinned, quiet
from .ends import ENGINE_KINDS, Hosts, connected, protected
from .events import emit
from .kinds import SECURED_KINDS
from .plans import Throughput, TrafficPlan
from .proof import Account, watched

__all__ = [
    "Streaming",
    "by_engine",
    "described",
    "engine_rate",
    "measure_throughput",
    "rate_of",
    "run_throughput",
    "turns",
]

_MORE: Final = 0.1
"""Seconds that the sender goes on when the receiver has measured, at least."""

Sample = dict[str, Any]


def engine_rate(
    server: Namespace,
    client: Namespace,
    kind: str,
    *,
    streams: int,
    message_bytes: int,
    warm: float,
    seconds: float,
    during: AbstractContextManager[object] | None = None,
) -> tuple[int, float, int]:
    """Send as much as goes through, by the engine.

    Args:
        server: where the receiver is.
        client: where the sender is.
        kind: of traffic.
        streams: how many.
        message_bytes: what is handed to the kernel at a time.
        warm: seconds before the clock starts.
        seconds: that are measured.
        during: is entered while is measured.

    Returns:
        The bytes that the receiver got while it was measured, the seconds of that, and all that it got.
    """

    def send(batch: wsasec.SocketBatch) -> None:
        with pinned(SENDER):
            traffic.stream(
                batch,
                seconds=warm + seconds + _MORE,
                warm_up=0.0,
                message_bytes=message_bytes,
                threads=1,
            )

    with (
        connected(server, client, kind, streams, "sink") as ends,
        ThreadPoolExecutor(1, thread_name_prefix="wsasec-bench") as pool,
    ):
        sending = pool.submit(send, ends.batch)
        time.sleep(warm)
        with during or nullcontext():
            first, start = ends.listener.counts.received_bytes, time.perf_counter()
            time.sleep(seconds)
            last, end = ends.listener.counts.received_bytes, time.perf_counter()
        sending.result()
        total = ends.listener.counts.received_bytes
    return last - first, end - start, total


class Streaming(Protocol):
    """How long streams are measured: a plan of traffic."""

    @property
    def warm(self) -> float:
        """Seconds of traffic before the clock starts."""

    @property
    def seconds(self) -> float:
        """Seconds that are measured."""


def rate_of(size: int, seconds: float) -> dict[str, Any]:
    """Return the figures of a sample: so many bytes in so many seconds."""
    return {"bytes": size, "seconds": seconds, "gbit_per_second": size * 8 / seconds / 1e9}


def by_engine(
    hosts: Hosts,
    kind: str,
    case: Throughput,
    plan: Streaming,
    *,
    account: Account | None = None,
    during: AbstractContextManager[object] | None = None,
) -> Sample:
    """Measure streams by the engine once; those that ESP carries are watched.

    Raises:
        LeakError: a packet of secured sockets was in clear, or nothing was proved.
    """

    def measure() -> tuple[int, float, int]:
        return engine_rate(
            hosts.b,
            hosts.a,
            kind,
            streams=case.streams,
            message_bytes=case.message_bytes,
            warm=plan.warm,
            seconds=plan.seconds,
            during=during,
        )

    with protected(hosts, kind):
        if kind not in SECURED_KINDS and kind != "system_policy":
            size, seconds, _ = measure()
            return rate_of(size, seconds)
        with watched(hosts, all_secured=kind in SECURED_KINDS, account=account) as proof:
            size, seconds, proof["payload_bytes"] = measure()
    return {**rate_of(size, seconds), "proof": proof}


def _by_tls(pair: TlsPair, case: Throughput, plan: TrafficPlan) -> Sample:
    size, seconds = pair.stream(
        case.streams, message_bytes=case.message_bytes, warm=plan.warm, seconds=plan.seconds
    )
    return rate_of(size, seconds)


def _by_iperf3(lab: Lab, case: Throughput, plan: TrafficPlan) -> Sample:
    rate = iperf3.run(
        lab.b,
        lab.a,
        lab.b.v4,
        streams=case.streams,
        message_bytes=case.message_bytes,
        warm=plan.warm,
        seconds=plan.seconds,
    )
    return {"gbit_per_second": rate}


def measure_throughput(
    lab: Lab, pairs: dict[str, TlsPair], kind: str, case: Throughput, plan: TrafficPlan
) -> Sample:
    """Measure one kind of traffic once.

    Raises:
        EndedError: a process of TLS failed.
        Iperf3Error: iperf3 failed.
        LeakError: a packet of secured sockets was in clear, or nothing was proved.
    """
    with quiet():
        if kind in ENGINE_KINDS:
            return by_engine(lab, kind, case, plan)
        if kind == "iperf3":
            return _by_iperf3(lab, case, plan)
        return _by_tls(pairs[kind], case, plan)


def turns(cases: Sequence[Throughput]) -> Iterator[tuple[Throughput, str, int]]:
    """Return cases, kinds and repeats as they are measured: each kind first in turn, alike ones together."""
    for repeat in range(max(case.repeats for case in cases)):
        for case in cases:
            for turn in range(len(case.kinds) if repeat < case.repeats else 0):
                yield case, case.kinds[(turn + repeat) % len(case.kinds)], repeat


def described(kind: str, case: Throughput, repeat: int) -> Sample:
    """Say what a sample is one of; it is without a proof, unless it has one."""
    return {
        "kind": kind,
        "streams": case.streams,
        "message_bytes": case.message_bytes,
        "repeat": repeat,
        "proof": None,
    }


def run_throughput(lab: Lab, pairs: dict[str, TlsPair], plan: TrafficPlan) -> Iterator[Sample]:
    """Measure everything in turn, what is compared close together."""
    for case, kind, repeat in turns(plan.throughput):
        try:
            sample = measure_throughput(lab, pairs, kind, case, plan)
        except iperf3.Iperf3Error as error:
            # A comparison less; what is compared is not the worse for it.
            emit("note", text=str(error))
            continue
        yield {**described(kind, case, repeat), **sample}
