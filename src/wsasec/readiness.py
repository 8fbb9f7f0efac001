"""Waiting until something can be read from or written to."""

from __future__ import annotations

import select
import sys
import time
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from _typeshed import HasFileno

__all__ = ["LONGEST_WAIT", "wait_for"]

LONGEST_WAIT: Final = 24 * 86400.0
"""Seconds that poll() and the time-out of a socket can say: their milliseconds end at 2**31."""


def _ready(sock: HasFileno, event: Literal["read", "write"], seconds: float) -> bool:
    if sys.platform == "win32":
        reading = [sock] if event == "read" else []
        writing = [sock] if event == "write" else []
        # There a connection that failed is an exceptional condition, and makes no socket writable.
        return any(select.select(reading, writing, writing, seconds))
    poll = select.poll()  # of any number; select() ends at 1,023
    poll.register(sock, select.POLLIN if event == "read" else select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


def wait_for(sock: HasFileno, event: Literal["read", "write"], deadline: float) -> bool:
    """Wait until it can be read from or written to, or the deadline (of time.monotonic(), or math.inf).

    Returns:
        Whether it can be. True also for what is not open, as the next call tells.

    """
    if sock.fileno() < 0:
        return True
    while True:
        left = max(0.0, deadline - time.monotonic())
        if _ready(sock, event, min(left, LONGEST_WAIT)):
            return True
        if not left:
            return False
