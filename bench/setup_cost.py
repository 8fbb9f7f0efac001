"""What it costs to set sockets up, by every method, interleaved; a process of its own.

It has no threads, so that it can enter namespaces, and nothing else to do while it measures.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

import wsasec
from wsasec.lab import LabError, enter_private_namespaces, missing_privileges, private

from .calls import Calls, open_watch, prepare
from .clock import pinned, timed
from .descriptor_limit import raise_descriptor_limit, room_for
from .events import emit
from .methods import GROUPS, METHODS, Method, Runner, missing

__all__ = ["Cell", "main", "measure", "order_of", "run"]

WARM_UPS: Final = 1
"""Repeats thrown away: the first pass over new memory costs up to three times as much."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of the matrix.

    Attributes:
        family: "inet" or "inet6".
        type: "stream" or "dgram".
        sockets: how many.
        repeats: how often each method is measured.
        main: whether only the main methods are.
    """

    family: str
    type: str
    sockets: int
    repeats: int
    main: bool

    @property
    def title(self) -> str:
        """For the progress display."""
        kind = "TCP" if self.type == "stream" else "UDP"
        return f"{self.sockets:,} {kind}/{'IPv6' if self.family == 'inet6' else 'IPv4'}"


def measure(method: Method, runner: Runner, calls: Calls, count: int) -> tuple[int, int]:
    """Time a method; making and closing what it starts from is not timed.

    Returns:
        Nanoseconds by the clock, and nanoseconds this thread was running.
    """
    with method.stage(calls, count) as work, pinned(single=not method.parallel):
        return timed(lambda: runner(work))


def order_of(methods: Sequence[Method], repeat: int) -> list[Method]:
    """Return the order for one repeat: another one each time, the same in every run.

    Groups stay together, so that what is compared is measured close to each other. Shuffled, not rotated: no
    method always follows the same other one, whose closed sockets the kernel is perhaps still cleaning up.
    """
    chance = random.Random(repeat)  # noqa: S311 - not for secrets
    groups = [[method for method in methods if method.group == group] for group in GROUPS]
    chance.shuffle(groups)
    for group in groups:
        chance.shuffle(group)
    return [method for group in groups for method in group]


def _fit(plan: Iterable[Cell], limit: int) -> tuple[list[tuple[Cell, int]], list[str]]:
    """Return the cells with the number of sockets that fits under the limit; and what is to be said."""
    fitting: dict[tuple[str, str, int], tuple[Cell, int]] = {}
    notes: list[str] = []
    for cell in plan:
        count = room_for(cell.sockets, limit)
        if count < cell.sockets:
            note = (
                f"{cell.sockets:,} sockets wanted, {count:,} measured: descriptors are limited to {limit:,}"
            )
            if note not in notes:
                notes.append(note)
                emit("note", text=note)
        fitting.setdefault((cell.family, cell.type, count), (cell, count))
    return list(fitting.values()), notes


def _measurable(notes: list[str]) -> list[Method]:
    """Return the methods that this machine has, and note the others."""
    found: list[Method] = []
    for method in METHODS:
        reason = missing(method)
        if reason is None:
            found.append(method)
        else:
            notes.append(reason)
            emit("note", text=reason)
    return found


def run(plan: Sequence[Cell]) -> dict[str, Any]:
    """Measure all methods in this network namespace; return the samples.

    Raises:
        wsasec.SecurityError: sockets cannot be secured here.
        OSError: not a single socket fits under the descriptor limit, or a method failed.
    """
    limit = raise_descriptor_limit()
    fitting, notes = _fit(plan, limit)
    methods = _measurable(notes)
    total = sum(count * (cell.repeats + WARM_UPS) for cell, count in fitting)
    done = 0
    cells: list[dict[str, Any]] = []
    for cell, count in fitting:
        calls = prepare(cell.family, cell.type)
        own = [method for method in methods if method.main or not cell.main]
        samples: dict[str, list[dict[str, int]]] = {method.key: [] for method in own}
        with open_watch() as watch:
            for repeat in range(cell.repeats + WARM_UPS):
                for method in order_of(own, repeat):
                    # Made anew each time: what a method remembers of sockets is part of its first use.
                    runner = method.make(calls, watch.fileno())
                    wall, cpu = measure(method, runner, calls, count)
                    if repeat >= WARM_UPS:
                        samples[method.key].append({"ns": wall, "cpu_ns": cpu})
                done += count
                emit("step", done=done, total=total, text=cell.title)
        cells.append(
            {
                "family": cell.family,
                "type": cell.type,
                "wanted": cell.sockets,
                "sockets": count,
                "samples": samples,
            }
        )
    return {"descriptor_limit": limit, "notes": notes, "cells": cells}


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m wsasec.bench.setup_cost")
    parser.add_argument("plan", help="JSON: a row of cells")
    return parser.parse_args(argv)


def command_words(plan: Iterable[Cell]) -> list[str]:
    """Return the arguments of this module for a plan."""
    return [json.dumps([astuple(cell) for cell in plan])]


def main(argv: Sequence[str]) -> int:
    """Measure in a network namespace of this process's own: the guard's policies do not stay behind."""
    options = _options(argv)
    warnings.simplefilter("ignore", wsasec.SecurityWarning)  # that nothing would flow does not matter here
    try:
        if missing_privileges():
            enter_private_namespaces()
        with private("bench"):
            emit("result", data=run([Cell(*fields) for fields in json.loads(options.plan)]))
    except (LabError, OSError, RuntimeError) as error:
        sys.stderr.write(f"wsasec bench: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
