"""Negotiations that nobody waits for: the kernel asked for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from .acquire import Acquire

__all__ = ["Background"]

_AT_ONCE: Final = 8
_WAITING: Final = 4096


class Background:
    """Works on ACQUIREs, a few at a time, each once however often it is told. Thread-safe."""

    def __init__(self, work: Callable[[Acquire], None], lost: Callable[[], None]) -> None:
        """Begin.

        Args:
            work: negotiates; it may take its time, and must not raise.
            lost: is called when there is room again after there was none: whatever waits is to be told again.
        """
        self._work = work
        self._lost = lost
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Acquire, None] = OrderedDict()
        self._running: set[Acquire] = set()
        self._overflowed = False
        self._closed = False
        self._pool = ThreadPoolExecutor(_AT_ONCE, "wsasec-acquired")

    def add(self, acquire: Acquire) -> None:
        """Have it worked on."""
        with self._lock:
            if self._closed or acquire in self._running or acquire in self._waiting:
                return
            if len(self._waiting) >= _WAITING:
                self._overflowed = True
                return
            self._waiting[acquire] = None
            if len(self._running) < _AT_ONCE:
                self._next()

    def _next(self) -> None:
        acquire, _ = self._waiting.popitem(last=False)
        self._running.add(acquire)
        self._pool.submit(self._run, acquire)

    def _run(self, acquire: Acquire) -> None:
        try:
            self._work(acquire)
        finally:
            with self._lock:
                self._running.discard(acquire)
                if self._waiting and not self._closed:
                    self._next()
                room = self._overflowed and not self._waiting and not self._closed
                if room:
                    self._overflowed = False
            if room:
                self._lost()

    def close(self) -> None:
        """Leave what waits, and wait for what is worked on. Twice is fine."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
        self._pool.shutdown(cancel_futures=True)
