"""Requests and their answers: how long each takes, and how many there are in a second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wsasec import traffic

from .clock import SENDER, pinned, quiet
from .ends import ENGINE_KINDS, Hosts, connected, protected
from .plans import TrafficPlan

__all__ = ["request_latency", "run_requests"]

Sample = dict[str, Any]


def request_latency(
    lab: Hosts, kind: str, connections: int, *, request_bytes: int, warm: float, seconds: float
) -> Sample:
    """Let each connection send a request when the last one is answered."""
    with (
        quiet(),
        protected(lab, kind),
        connected(lab.b, lab.a, kind, connections, "echo", nodelay=True) as ends,
        pinned(SENDER),
    ):
        result = traffic.requests(
            ends.batch, seconds=seconds, warm_up=warm, request_bytes=request_bytes, threads=1
        )
    return {
        "kind": kind,
        "connections": connections,
        "message_bytes": request_bytes,
        "per_second": result.requests_per_second,
        "latency_us": result.latency.to_dict(),
    }


def run_requests(lab: Hosts, plan: TrafficPlan) -> Iterator[Sample]:
    """Measure everything in turn."""
    for repeat in range(plan.repeats):
        for connections in plan.connections:
            for turn in range(len(ENGINE_KINDS)):
                kind = ENGINE_KINDS[(turn + repeat) % len(ENGINE_KINDS)]
                sample = request_latency(
                    lab,
                    kind,
                    connections,
                    request_bytes=plan.request_bytes,
                    warm=plan.warm,
                    seconds=plan.seconds,
                )
                yield {**sample, "repeat": repeat}
