"""charon's events, handed to whoever asked for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .associations import Event
from .messages import MessageError
from .parsing import event
from .reason import CharonError
from .session import Session, connect

__all__ = ["Watcher"]

_KINDS: Final = ("ike-updown", "child-updown", "ike-rekey", "ike-update", "child-rekey")


class Watcher:
    """A thread that waits for events on a session of its own.

    Attributes:
        alive: whether charon is still there, as far as this session knows.
    """

    def __init__(self, path: Path, call: Callable[[Event], None]) -> None:
        """Describe it.

        Args:
            path: of the VICI socket.
            call: gets each event; the last is "gone", unless stop() was called.
        """
        self._path = path
        self._call = call
        self._session: Session | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="wsasec-charon-events", daemon=True)
        self.alive = False

    def start(self, deadline: float) -> None:
        """Begin. Raises CharonError if charon does not answer."""
        self._session = connect(self._path, deadline)
        try:
            for kind in _KINDS:
                self._session.register(kind, deadline)
        except BaseException:
            self._session.close()
            raise
        self.alive = True
        self._thread.start()

    def _run(self) -> None:
        session = self._session
        assert session is not None  # noqa: S101 - start() made it
        try:
            while True:
                kind, message = session.next_event(None)
                happened = event(kind, message)
                if happened is not None:
                    self._call(happened)
        except (CharonError, MessageError):
            pass
        finally:
            # What is missed after this, whatever it was, is not known: as good as charon's end.
            self.alive = False
            session.close()
            if not self._stopping:
                self._call(Event("gone"))

    def stop(self) -> None:
        """End it, without a last event. Twice is fine; from a callback too."""
        self._stopping = True
        self.alive = False
        if self._session is not None:
            self._session.shut()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
