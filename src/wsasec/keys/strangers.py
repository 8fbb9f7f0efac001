"""Whoever turns up at an address where another is pinned, although charon takes nobody else there.

Two come so: one whose IKE SA was renewed while charon listed those to be ended, and so was in no list; and
one that came from elsewhere, and whose address is translated to this one since.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from .associations import Address, Event

__all__ = ["Strangers"]

_AGAIN_SECONDS: Final = 1.0


class Strangers:
    """Looks after addresses at which charon tells of others than are pinned. Thread-safe."""

    def __init__(
        self, pinned: Callable[[str, Address], str | None], end: Callable[[str, Address], bool]
    ) -> None:
        """Describe it.

        Args:
            pinned: returns the identity that is pinned for a group at an address.
            end: ends all others there, and returns whether it could; if not it is called again. It may take
                its time, and must not raise.

        Raises:
            RuntimeError: there can be no more threads.
        """
        self._pinned = pinned
        self._end = end
        self._lock = threading.Lock()
        self._waiting: set[tuple[str, Address]] = set()
        self._closed = threading.Event()
        self._pool = ThreadPoolExecutor(1, "wsasec-strangers")
        # Its thread is there from now on: where none is left this fails, and not, later, the thread that
        # hears charon's events.
        self._pool.submit(int)

    def happened(self, event: Event) -> None:
        """Take note of an event of charon's."""
        ike = event.ike
        if ike is None or not event.up:
            return
        key = ike.group, ike.remote
        if self._pinned(*key) in (None, ike.remote_id):
            return
        with self._lock:
            if not self._closed.is_set() and key not in self._waiting:
                self._waiting.add(key)
                self._pool.submit(self._work, key)

    def _work(self, key: tuple[str, Address]) -> None:
        with self._lock:
            # Before the look: who comes during it is looked for again.
            self._waiting.discard(key)
        while not self._end(*key):
            if self._closed.wait(_AGAIN_SECONDS):
                return

    def close(self) -> None:
        """End the thread. Twice is fine."""
        with self._lock:
            self._closed.set()
        self._pool.shutdown(cancel_futures=True)
