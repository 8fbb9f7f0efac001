"""The clock around what is measured, with nothing else going on in the process."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["RECEIVER", "SENDER", "pinned", "processor", "quiet", "timed"]

SENDER: Final = 0
"""The place of what sends."""
RECEIVER: Final = 1
"""The place of what receives."""
_ENOUGH: Final = 4
"""Processors from which on one is set apart for what runs on one."""


@contextmanager
def quiet() -> Iterator[None]:
    """No garbage collection, and what there is now is not looked at by the next one."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def timed(act: Callable[[], object]) -> tuple[int, int]:
    """Return the nanoseconds that a function takes by the clock, and those this thread was running."""
    with quiet():
        cpu, start = time.thread_time_ns(), time.perf_counter_ns()
        act()
        end, cpu_end = time.perf_counter_ns(), time.thread_time_ns()
    return end - start, cpu_end - cpu


def processor(place: int) -> int | None:
    """Return the number of a processor to be alone on; None where there are not enough of them.

    Args:
        place: 0 for the last one, 1 for the one before.
    """
    home = sorted(os.sched_getaffinity(0))
    return home[-1 - place] if len(home) >= _ENOUGH else None


@contextmanager
def pinned(place: int = 0, *, single: bool = True) -> Iterator[bool]:
    """Keep this thread, and those it starts, on one processor where there are enough; yields whether it is.

    Args:
        place: as for processor().
        single: False for what may use several: then nothing happens.
    """
    home = os.sched_getaffinity(0)
    alone = processor(place) if single else None
    apart = alone is not None
    if alone is not None:
        os.sched_setaffinity(0, {alone})
    try:
        yield apart
    finally:
        if apart:
            os.sched_setaffinity(0, home)
