"""Sessions with one charon, as many as are used at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .session import Session, connect

__all__ = ["Pool"]

_KEPT: Final = 8


class Pool:
    """Sessions with the charon that listens at one path. All methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Describe it; connections are made when they are needed."""
        self.path = path
        self._lock = threading.Lock()
        self._idle: list[Session] = []

    @contextmanager
    def session(self, deadline: float) -> Iterator[Session]:
        """Lend a session. Raises CharonError if there is none to be had before the deadline."""
        with self._lock:
            session = self._idle.pop() if self._idle else None
        if session is not None and not session.quiet:
            session.close()  # of a charon that is gone
            session = None
        if session is None:
            session = connect(self.path, deadline)
        try:
            yield session
        except BaseException:
            # RefusedError included: cheaper than to know where in an exchange somebody else's error came.
            session.close()
            raise
        with self._lock:
            if not session.broken and len(self._idle) < _KEPT:
                self._idle.append(session)
                return
        session.close()

    def close(self) -> None:
        """Close those that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()
