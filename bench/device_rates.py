"""Streams, requests and datagrams through secure devices, and by what they are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .clock import quiet
from .cpu import Meter
from .datagrams import datagram_rate
from .device_ways import Way, Ways
from .kinds import SECURED_KINDS
from .plans import DevicePlan, Throughput
from .proof import watched
from .request_latency import request_latency
from .throughput import by_engine, described, rate_of, turns
from .unsent import little_unsent

__all__ = ["measure_streams", "run_datagrams", "run_requests", "run_streams"]

Sample = dict[str, Any]


def measure_streams(way: Way, kind: str, case: Throughput, plan: DevicePlan) -> Sample:
    """Measure streams once, and what the processors did for them.

    Raises:
        EndedError: a process of TLS failed.
        LeakError: a packet of secured sockets was in clear, or nothing was proved.
    """
    with quiet(), little_unsent(way.hosts.a, case.streams):
        if way.tls is None:
            meter = Meter(way.all_pids)
            sample = by_engine(way.hosts, kind, case, plan, account=way.account, during=meter)
        else:
            meters: list[Meter] = []

            def during(pids: tuple[int, ...]) -> Meter:
                meters.append(Meter(pids))
                return meters[-1]

            size, seconds = way.tls.stream(
                case.streams,
                message_bytes=case.message_bytes,
                warm=plan.warm,
                seconds=plan.seconds,
                during=during,
            )
            sample, (meter,) = rate_of(size, seconds), meters
    return {**sample, **meter.per_gigabyte(sample["bytes"], sample["seconds"])}


def run_streams(found: Ways, plan: DevicePlan) -> Iterator[Sample]:
    """Measure everything in turn, what is compared close together."""
    for case, kind, repeat in turns(plan.throughput):
        if kind in found.found:
            yield {
                **described(kind, case, repeat),
                **measure_streams(found.found[kind], kind, case, plan),
            }


@contextmanager
def _proven(way: Way, kind: str) -> Iterator[None]:
    """Watch the wire if the sockets are secured. LeakError: something was in clear."""
    if kind not in SECURED_KINDS:
        yield
        return
    with watched(way.hosts, all_secured=True, account=way.account):
        yield


def run_requests(found: Ways, plan: DevicePlan) -> Iterator[Sample]:
    """Measure everything in turn."""
    for repeat in range(max(case.repeats for case in plan.requests)):
        for case in plan.requests:
            kinds = found.present(case.kinds) if repeat < case.repeats else ()
            for turn in range(len(kinds)):
                kind = kinds[(turn + repeat) % len(kinds)]
                way = found.found[kind]
                with _proven(way, kind):
                    sample = request_latency(
                        way.hosts,
                        kind,
                        case.connections,
                        request_bytes=plan.request_bytes,
                        warm=plan.warm,
                        seconds=plan.seconds,
                    )
                yield {**sample, "repeat": repeat}


def run_datagrams(found: Ways, plan: DevicePlan) -> Iterator[Sample]:
    """Measure everything in turn."""
    kinds = found.present(plan.datagram_kinds)
    for repeat in range(plan.datagram_repeats):
        for turn in range(len(kinds)):
            kind = kinds[(turn + repeat) % len(kinds)]
            way = found.found[kind]
            with _proven(way, kind):
                sample = datagram_rate(
                    way.hosts,
                    kind,
                    datagram_bytes=plan.datagram_bytes,
                    warm=plan.warm,
                    seconds=plan.seconds,
                )
            yield {**sample, "repeat": repeat}
