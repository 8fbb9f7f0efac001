"""Whether the engine is the bottleneck: plain streams on a loopback device, by it and by iperf3.

A process of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import wsasec
from wsasec.lab import LabError, Namespace, enter_private_namespaces, missing_privileges

from .baselines import iperf3
from .baselines.iperf3 import Iperf3Error
from .clock import quiet
from .descriptor_limit import raise_descriptor_limit
from .events import emit
from .plans import LoopbackPlan
from .throughput import engine_rate

__all__ = ["main", "run"]


def _measure(namespace: Namespace, kind: str, streams: int, plan: LoopbackPlan) -> float:
    message, warm, length = plan.message_bytes, plan.warm, plan.seconds
    if kind == "iperf3":
        return iperf3.run(
            namespace,
            namespace,
            namespace.v4,
            streams=streams,
            message_bytes=message,
            warm=warm,
            seconds=length,
        )
    size, seconds, _ = engine_rate(
        namespace, namespace, kind, streams=streams, message_bytes=message, warm=warm, seconds=length
    )
    return size * 8 / seconds / 1e9


def run(plan: LoopbackPlan) -> dict[str, Any]:
    """Measure in a namespace of its own, both in turn; the first round is thrown away.

    Raises:
        LabError, OSError: there is no namespace.
    """
    kinds = ("plain", "iperf3") if iperf3.available() else ("plain",)
    notes = [] if iperf3.available() else ["iperf3 is missing: apt-get install iperf3"]
    for note in notes:
        emit("note", text=note)
    samples: list[dict[str, Any]] = []
    rounds = plan.repeats + 1
    with Namespace("loopback") as namespace:
        for repeat in range(rounds):
            for streams in plan.streams:
                for turn in range(len(kinds)):
                    kind = kinds[(turn + repeat) % len(kinds)]
                    try:
                        with quiet():
                            rate = _measure(namespace, kind, streams, plan)
                    except Iperf3Error as error:
                        # A comparison less; what is compared is not the worse for it.
                        notes.append(str(error))
                        emit("note", text=notes[-1])
                        continue
                    if repeat:
                        samples.append(
                            {
                                "kind": kind,
                                "streams": streams,
                                "message_bytes": plan.message_bytes,
                                "repeat": repeat - 1,
                                "gbit_per_second": rate,
                            }
                        )
            emit("step", done=repeat + 1, total=rounds, text="loopback")
    return {"notes": notes, "samples": samples}


def main(argv: Sequence[str]) -> int:
    """Measure; send the samples to the parent."""
    parser = argparse.ArgumentParser(prog="python -m wsasec.bench.loopback")
    parser.add_argument("plan", help="JSON of a plan")
    fields = json.loads(parser.parse_args(argv).plan)
    warnings.simplefilter("ignore", wsasec.SecurityWarning)
    raise_descriptor_limit()
    try:
        if missing_privileges():
            enter_private_namespaces()
        emit("result", data=run(LoopbackPlan(**{**fields, "streams": tuple(fields["streams"])})))
    except (LabError, OSError) as error:
        sys.stderr.write(f"wsasec bench: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
