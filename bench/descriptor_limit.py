"""The limit on open descriptors."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["RESERVED", "raise_descriptor_limit", "room_for"]

RESERVED: Final = 64
"""Descriptors kept free for everything that is not measured."""


def raise_descriptor_limit(wanted: int = 0) -> int:
    """Raise the soft limit to the hard one, and that first to what is wanted, where this is allowed.

    Args:
        wanted: descriptors; a guest kernel starts with few, but its root may take more.

    Returns:
        The limit then.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        # The kernel allows no process more than this, whatever the limit says.
        hard = int(Path("/proc/sys/fs/nr_open").read_text())
    if hard < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
    if soft == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return hard


def room_for(count: int, limit: int) -> int:
    """Return how many of `count` sockets fit under a limit beside what is open already.

    Raises:
        OSError: there is no room for a single one.
    """
    room = limit - len(os.listdir("/proc/self/fd")) - RESERVED  # noqa: PTH208 - names are enough
    if room < 1:
        raise OSError(f"the descriptor limit of {limit} has no room for sockets; raise it with `ulimit -n`")
    return min(count, room)
