"""Threads for what takes its time: so many in all, and no user has them all."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeAlias

__all__ = ["Workers"]

_THREADS: Final = 32
_SHARE: Final = 24

_Work: TypeAlias = Callable[[], None]


class Workers:
    """Runs work in threads; what is over a user's share waits its turn, and nobody else's."""

    def __init__(self, threads: int = _THREADS, share: int = _SHARE) -> None:
        """Describe it.

        Args:
            threads: how many in all.
            share: how many one user may have at a time.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="wsasec-daemon")
        self._share = share
        self._lock = threading.Lock()
        self._running: dict[int, int] = {}
        self._waiting: dict[int, deque[_Work]] = {}

    def submit(self, uid: int, work: _Work) -> None:
        """Have it run, as soon as the user's share allows; it must not raise."""
        with self._lock:
            if self._running.get(uid, 0) >= self._share:
                self._waiting.setdefault(uid, deque()).append(work)
                return
            self._running[uid] = self._running.get(uid, 0) + 1
        self._pool.submit(self._run, uid, work)

    def _run(self, uid: int, work: _Work) -> None:
        while True:
            work()
            with self._lock:
                queue = self._waiting.get(uid)
                if not queue:
                    self._waiting.pop(uid, None)
                    self._running[uid] -= 1
                    if not self._running[uid]:
                        del self._running[uid]
                    return
                work = queue.popleft()

    def close(self) -> None:
        """Wait for what runs; what waits still is run too, and should find out that it is late."""
        self._pool.shutdown(wait=True)
