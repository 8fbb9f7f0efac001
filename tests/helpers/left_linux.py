"""What this process has open, as /proc tells it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def descriptors() -> dict[str, str]:
    """All descriptors, and what they are of."""
    found: dict[str, str] = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:  # the descriptor by which the folder is read
            continue
    return found


def children() -> set[str]:
    """The processes that this one has started, or that were left to it."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found.update((task / "children").read_text().split())
    return found


def tasks() -> set[str]:
    """The threads, also those that Python does not know of."""
    return {task.name for task in Path("/proc/self/task").iterdir()}
