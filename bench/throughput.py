"""What goes through, by kind of traffic, number of streams and size of messages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import wsasec
from wsasec import traffic
from wsasec.lab import Lab, Namespace

from .baselines import iperf3
from .baselines.tls_pair import TlsPair
from .clock import SENDER, pinned, quiet
from .ends import ENGINE_KINDS, connected, protected
from .events import emit
from .plans import Throughput, TrafficPlan
from .proof import watched

__all__ = ["engine_rate", "measure_throughput", "run_throughput"]

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
) -> tuple[int, float, int]:
    """Send as much as goes through, by the engine.

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
        first, start = ends.listener.counts.received_bytes, time.perf_counter()
        time.sleep(seconds)
        last, end = ends.listener.counts.received_bytes, time.perf_counter()
        sending.result()
        total = ends.listener.counts.received_bytes
    return last - first, end - start, total


def _rate(size: int, seconds: float) -> float:
    return size * 8 / seconds / 1e9


def _by_engine(lab: Lab, kind: str, case: Throughput, plan: TrafficPlan) -> Sample:
    def measure() -> tuple[int, float, int]:
        return engine_rate(
            lab.b,
            lab.a,
            kind,
            streams=case.streams,
            message_bytes=case.message_bytes,
            warm=plan.warm,
            seconds=plan.seconds,
        )

    with protected(lab, kind):
        if kind == "plain":
            size, seconds, _ = measure()
            return {"bytes": size, "seconds": seconds, "gbit_per_second": _rate(size, seconds)}
        with watched(lab, all_secured=kind == "secured") as proof:
            size, seconds, proof["payload_bytes"] = measure()
    return {"bytes": size, "seconds": seconds, "gbit_per_second": _rate(size, seconds), "proof": proof}


def _by_tls(pair: TlsPair, case: Throughput, plan: TrafficPlan) -> Sample:
    size, seconds = pair.stream(
        case.streams, message_bytes=case.message_bytes, warm=plan.warm, seconds=plan.seconds
    )
    return {"bytes": size, "seconds": seconds, "gbit_per_second": _rate(size, seconds)}


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
            return _by_engine(lab, kind, case, plan)
        if kind == "iperf3":
            return _by_iperf3(lab, case, plan)
        return _by_tls(pairs[kind], case, plan)


def run_throughput(lab: Lab, pairs: dict[str, TlsPair], plan: TrafficPlan) -> Iterator[Sample]:
    """Measure everything in turn, each kind first in turn, what is compared close together."""
    for repeat in range(max(case.repeats for case in plan.throughput)):
        for case in plan.throughput:
            for turn in range(len(case.kinds) if repeat < case.repeats else 0):
                kind = case.kinds[(turn + repeat) % len(case.kinds)]
                try:
                    sample = measure_throughput(lab, pairs, kind, case, plan)
                except iperf3.Iperf3Error as error:
                    # A comparison less; what is compared is not the worse for it.
                    emit("note", text=str(error))
                    continue
                yield {
                    "kind": kind,
                    "streams": case.streams,
                    "message_bytes": case.message_bytes,
                    "repeat": repeat,
                    "proof": None,
                    **sample,
                }
