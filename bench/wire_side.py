"""Connections and traffic between two hosts on one wire; a process of its own, where the kernel has ESP."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import wsasec
from wsasec.lab import Lab, LabError, enter_private_namespaces, missing_privileges

from .baselines.control import EndedError
from .baselines.tls_pair import TlsPair, tls_pairs
from .connect_rate import run_connect
from .datagrams import run_datagrams
from .descriptor_limit import RESERVED, raise_descriptor_limit
from .events import emit
from .machine import describe_machine, describe_versions
from .plans import RESULT_NAME, ConnectPlan, TrafficPlan, connect_plan, traffic_plan
from .proof import LeakError
from .request_latency import run_requests
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


class _Steps:
    """Tells the parent how far it is."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0

    def follow(self, samples: Iterable[Sample]) -> list[Sample]:
        """Take the samples as they come; leave out those of a warm-up."""
        taken: list[Sample] = []
        for sample in samples:
            self._done += 1
            count = sample.get("streams") or sample.get("connections") or "datagrams"
            text = f"{count} x {sample['kind']}"
            emit("step", done=min(self._done, self._total), total=self._total, text=text)
            if not sample.pop("warm_up", False):
                taken.append(sample)
        return taken


def _connect(lab: Lab, pairs: dict[str, TlsPair], plan: ConnectPlan) -> Sample:
    steps = _Steps((plan.repeats + 1) * (4 * len(plan.connections) + len(pairs)))
    return {
        "machine": describe_machine(),
        "versions": describe_versions(),
        "samples": steps.follow(run_connect(lab, pairs, plan)),
    }


def _traffic(lab: Lab, pairs: dict[str, TlsPair], plan: TrafficPlan) -> Sample:
    total = sum(case.repeats * len(case.kinds) for case in plan.throughput)
    steps = _Steps(total + 3 * plan.repeats * (len(plan.connections) + 1))
    return {
        "machine": describe_machine(),
        "versions": describe_versions(),
        "kernel": os.uname().release,
        "mtu": lab.mtu,
        "sa_algorithm": next(sa.algorithm for sa in lab.b.sas()),
        "throughput_samples": steps.follow(run_throughput(lab, pairs, plan)),
        "latency_samples": steps.follow(run_requests(lab, plan)),
        "datagram_samples": steps.follow(run_datagrams(lab, plan)),
        "aes_driver": _aes_driver(),
    }


def run(connect: ConnectPlan | None, traffic: TrafficPlan | None) -> dict[str, Any]:
    """Make a lab and measure the parts in it; "errors" has what went wrong, by part.

    Raises:
        LabError, OSError: the lab cannot be made.
    """
    found: dict[str, Any] = {"errors": {}}

    def attempt(part: str, work: Callable[[], Sample]) -> None:
        emit("phase", title=part, text=_TEXTS[part])
        try:
            found[part] = work()
        except (EndedError, LeakError, LabError, OSError) as error:
            found["errors"][part] = str(error)

    with Lab() as lab, tls_pairs(lab) as pairs:
        if connect is not None:
            attempt("connect", lambda: _connect(lab, pairs, connect))
        if traffic is not None:
            attempt("traffic", lambda: _traffic(lab, pairs, traffic))
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
    try:
        if missing_privileges():
            enter_private_namespaces()
        data = run(connect, traffic)
    except (EndedError, LabError, OSError) as error:
        sys.stderr.write(f"wsasec bench: {error}\n")
        return 1
    folder = os.environ.get("WSASEC_LAB_RESULTS")
    if folder:
        Path(folder, RESULT_NAME).write_text(json.dumps(data))
    else:
        emit("result", data=data)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
