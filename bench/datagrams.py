"""Datagrams in a second, and how many of them are lost, when a sender sends as fast as it can."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, Final

from wsasec import traffic

from .clock import SENDER, pinned, quiet
from .ends import ENGINE_KINDS, Hosts, connected, protected
from .plans import TrafficPlan

__all__ = ["datagram_rate", "run_datagrams"]

_SOCKETS: Final = 16

Sample = dict[str, Any]


def datagram_rate(lab: Hosts, kind: str, *, datagram_bytes: int, warm: float, seconds: float) -> Sample:
    """Send from a few sockets to one; return what arrived in a second, and the part that was lost."""
    with (
        quiet(),
        protected(lab, kind),
        connected(lab.b, lab.a, kind, _SOCKETS, "sink", socket.SOCK_DGRAM) as ends,
        pinned(SENDER),
    ):
        result = traffic.datagrams(
            ends.batch,
            seconds=seconds,
            warm_up=warm,
            datagram_bytes=datagram_bytes,
            threads=1,
            receiver=ends.listener,
        )
    loss = result.loss
    assert loss is not None  # the listener counts
    return {
        "kind": kind,
        "message_bytes": datagram_bytes,
        "sent_per_second": result.datagrams_per_second,
        "per_second": result.datagrams_per_second * (1 - loss),
        "loss": loss,
    }


def run_datagrams(lab: Hosts, plan: TrafficPlan) -> Iterator[Sample]:
    """Measure everything in turn."""
    for repeat in range(plan.repeats):
        for turn in range(len(ENGINE_KINDS)):
            kind = ENGINE_KINDS[(turn + repeat) % len(ENGINE_KINDS)]
            sample = datagram_rate(
                lab, kind, datagram_bytes=plan.datagram_bytes, warm=plan.warm, seconds=plan.seconds
            )
            yield {**sample, "repeat": repeat}
