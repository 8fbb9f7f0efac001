"""What it costs to secure sockets, by every method, interleaved; a process of its own.

It has no threads, so that it can enter namespaces, and nothing else to do while it measures.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import socket
import sys
import time
import warnings
from array import array
from collections.abc import Sequence
from typing import Any, Final

import wsasec
from wsasec.lab import LabError, enter_private_namespaces, missing_privileges, private

from .calls import open_watch, prepare
from .descriptor_limit import raise_descriptor_limit, room_for
from .events import emit
from .methods import METHODS, Method, Runner

__all__ = ["main", "measure", "order_of", "run"]

WARM_UPS: Final = 1
"""Repeats thrown away: the first pass over new memory costs up to three times as much."""


def measure(run: Runner, count: int) -> tuple[int, int]:
    """Time a method on fresh sockets; making and closing them is not timed.

    Returns:
        Nanoseconds by the clock, and nanoseconds this thread was running.
    """
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))  # noqa: PERF401 - closed on errors
        numbers = array("i", (sock.fileno() for sock in sockets))
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            cpu, start = time.thread_time_ns(), time.perf_counter_ns()
            run(sockets, numbers)
            end, cpu_end = time.perf_counter_ns(), time.thread_time_ns()
        finally:
            gc.enable()
            gc.unfreeze()
    finally:
        for sock in sockets:
            sock.close()
    return end - start, cpu_end - cpu


def order_of(methods: Sequence[Method], repeat: int) -> list[Method]:
    """Return the order for one repeat: another one each time, the same in every run.

    Shuffled, not rotated: no method always follows the same other one, whose closed sockets the kernel is
    perhaps still cleaning up.
    """
    order = list(methods)
    random.Random(repeat).shuffle(order)  # noqa: S311 - not for secrets
    return order


def _fit(plan: Sequence[tuple[int, int]], limit: int) -> tuple[list[tuple[int, int, int]], list[str]]:
    """Return what was wanted, what fits under the descriptor limit, and repeats; and what is to be said."""
    fitting: dict[int, tuple[int, int, int]] = {}
    notes: list[str] = []
    for wanted, repeats in plan:
        count = room_for(wanted, limit)
        if count < wanted:
            notes.append(
                f"{wanted:,} sockets wanted, {count:,} measured: descriptors are limited to {limit:,}"
            )
            emit("note", text=notes[-1])
        fitting.setdefault(count, (wanted, count, repeats))
    return list(fitting.values()), notes


def run(plan: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Measure all methods in this network namespace; return the samples.

    Args:
        plan: numbers of sockets, and how often each is measured.

    Raises:
        wsasec.SecurityError: sockets cannot be secured here.
        OSError: not a single socket fits under the descriptor limit, or a method failed.
    """
    limit = raise_descriptor_limit()
    calls = prepare()
    sizes: list[dict[str, Any]] = []
    with open_watch() as watch:
        fitting, notes = _fit(plan, limit)
        total = sum(repeats + WARM_UPS for _, _, repeats in fitting)
        done = 0
        for wanted, count, repeats in fitting:
            runners = {method.key: method.make(calls, watch.fileno()) for method in METHODS}
            samples: dict[str, list[dict[str, int]]] = {method.key: [] for method in METHODS}
            for repeat in range(repeats + WARM_UPS):
                for method in order_of(METHODS, repeat):
                    wall, cpu = measure(runners[method.key], count)
                    if repeat >= WARM_UPS:
                        samples[method.key].append({"ns": wall, "cpu_ns": cpu})
                done += 1
                emit("step", done=done, total=total, text=f"{count:,} sockets")
            sizes.append({"wanted": wanted, "sockets": count, "samples": samples})
    return {"descriptor_limit": limit, "notes": notes, "sizes": sizes}


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m wsasec.bench.setup_cost")
    parser.add_argument("plan", help="JSON: pairs of a number of sockets and of repeats")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Measure in a network namespace of this process's own: the guard's policies do not stay behind."""
    options = _options(argv)
    warnings.simplefilter("ignore", wsasec.SecurityWarning)  # that nothing would flow does not matter here
    try:
        if missing_privileges():
            enter_private_namespaces()
        with private("bench"):
            emit("result", data=run([(count, repeats) for count, repeats in json.loads(options.plan)]))
    except (LabError, OSError, RuntimeError) as error:
        sys.stderr.write(f"wsasec bench: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
