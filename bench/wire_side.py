"""Connections and traffic between two hosts on one wire; a process of its own, where the kernel has ESP."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import wsasec
from wsasec.lab import Lab

from .baselines.tls_pair import TlsPair, tls_pairs
from .connect_rate import run_connect
from .datagrams import run_datagrams
from .descriptor_limit import RESERVED, raise_descriptor_limit
from .events import emit
from .machine import describe_machine, describe_versions
from .plans import ConnectPlan, TrafficPlan, connect_plan, traffic_plan
from .request_latency import run_requests
from .side import FAILURES, Progress, measured
from .throughput import run_throughput

__all__ = ["main", "run"]

_DESCRIPTORS: Final = 20_000
_TEXTS: Final = {
    "connect": "connections between two hosts",
    "traffic": "streams, requests and datagrams between two hosts",
}

Sample = dict[str, Any]


def _aes_driver() -> str | None:
    """Name the implementation that the kernel uses for AES-GCM in ESP; None if it does not say."""
    text = Path("/proc/crypto").read_text()
    found: Counter[str] = Counter()
    for block in text.split("\n\n"):
        fields = dict(re.findall(r"^(\w+)\s*:\s*(.*)$", block, re.MULTILINE))
        if fields.get("name") == "rfc4106(gcm(aes))":
            found[fields["driver"]] = int(fields.get("priority", "0"))
    return found.most_common(1)[0][0] if found else None


def _connect(lab: Lab, pairs: dict[str, TlsPair], plan: ConnectPlan, found: dict[str, Any]) -> Sample:
    progress = Progress((plan.repeats + 1) * (4 * len(plan.connections) + len(pairs)), found)
    return {
        "machine": describe_machine(),
        "versions": describe_versions(),
        "samples": progress.take("connect", run_connect(lab, pairs, plan)),
    }


def _traffic(lab: Lab, pairs: dict[str, TlsPair], plan: TrafficPlan, found: dict[str, Any]) -> Sample:
    total = sum(case.repeats * len(case.kinds) for case in plan.throughput)
    progress = Progress(total + 3 * plan.repeats * (len(plan.connections) + 1), found)
    return {
        "machine": describe_machine(),
        "versions": describe_versions(),
        "kernel": os.uname().release,
        "mtu": lab.mtu,
        "sa_algorithm": next(sa.algorithm for sa in lab.b.sas()),
        "throughput_samples": progress.take("throughput", run_throughput(lab, pairs, plan)),
        "latency_samples": progress.take("requests", run_requests(lab, plan)),
        "datagram_samples": progress.take("datagrams", run_datagrams(lab, plan)),
        "aes_driver": _aes_driver(),
    }


def run(connect: ConnectPlan | None, traffic: TrafficPlan | None) -> dict[str, Any]:
    """Make a lab and measure the parts in it.

    Returns:
        The samples by part; "errors", what could not be measured; "leaks", what was not protected, or not
        proven to be.

    Raises:
        LabError, OSError: the lab cannot be made.
    """
    found: dict[str, Any] = {"errors": {}, "leaks": []}

    def attempt(part: str, work: Callable[[dict[str, TlsPair]], Sample]) -> None:
        emit("phase", title=part, text=_TEXTS[part])
        try:
            # New ones for each part: one that has failed answers no more.
            with tls_pairs(lab) as pairs:
                found[part] = work(pairs)
        except FAILURES as error:
            found["errors"][part] = str(error)

    with Lab() as lab:
        if connect is not None:
            attempt("connect", lambda pairs: _connect(lab, pairs, connect, found))
        if traffic is not None:
            attempt("traffic", lambda pairs: _traffic(lab, pairs, traffic, found))
    return found


def _room() -> int:
    """Return how many connections fit, both ends of each being here."""
    return (raise_descriptor_limit(_DESCRIPTORS) - 2 * RESERVED) // 2


def main(argv: Sequence[str]) -> int:
    """Measure; leave the results in the folder WSASEC_LAB_RESULTS, or on standard output."""
    parser = argparse.ArgumentParser(prog="python -m wsasec.bench.wire_side")
    parser.add_argument("plans", help="JSON of the plans by part")
    plans = json.loads(parser.parse_args(argv).plans)
    warnings.simplefilter("ignore", wsasec.SecurityWarning)
    room = _room()
    connect = connect_plan(plans["connect"]).within(room) if "connect" in plans else None
    traffic = traffic_plan(plans["traffic"]).within(room) if "traffic" in plans else None
    return measured(lambda: run(connect, traffic))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
