"""What an engine tells: that packets wait for an association, and that associations are gone."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from .. import engine
from ..engine import Control, Event, MessageError, Type
from .acquire import Acquire
from .associations import Address

__all__ = ["EngineAcquires", "EngineChanges", "EngineEvents"]

_log = logging.getLogger(__name__)

_AGAIN_MS: Final = 20


class EngineEvents:
    """A thread that hears the engine at a path, and the next one when that has ended."""

    def __init__(
        self,
        path: Path,
        types: Iterable[Type],
        heard: Callable[[Event], None],
        missed: Callable[[], None],
        name: str,
    ) -> None:
        """Describe it; `start` begins.

        Args:
            path: where engines listen, one after the other.
            types: what is to be told.
            heard: called from the thread for each event; it must not block.
            missed: called when it listens, also again: something may have happened before.
            name: of the thread.
        """
        self._path = path
        self._types = tuple(types)
        self._heard = heard
        self._missed = missed
        self._ended = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin. An engine that is not there yet is waited for."""
        self._thread.start()

    def close(self) -> None:
        """End the thread. Twice is fine; not from a callback."""
        if self._ended:
            return
        self._ended = True
        os.eventfd_write(self._wake, 1)
        if self._thread.ident is not None:
            self._thread.join()
        os.close(self._wake)

    def _run(self) -> None:
        said = ""
        while not self._ended:
            try:
                with Control(self._path) as control:
                    control.subscribe(self._types)
                    said = ""
                    self._missed()
                    self._listen(control)
            except (OSError, MessageError) as error:
                # Where there is none for a while, each look would say the same.
                if str(error) != said and not self._ended:
                    _log.info("the engine is not heard: %s", error)
                said = str(error)
            self._pause()

    def _listen(self, control: Control) -> None:
        poll = select.poll()
        poll.register(control.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._ended:
            while (event := control.event(0)) is not None:
                if isinstance(event, engine.Lost):
                    self._missed()
                else:
                    self._heard(event)
            poll.poll()

    def _pause(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.poll(_AGAIN_MS)


class EngineAcquires:
    """As `acquire.AcquireListener`: an engine asks again itself, for as long as packets come."""

    def __init__(self, path: Path, callback: Callable[[Acquire], None]) -> None:
        """Listen after start(); the callback is called from a thread and must not block."""
        self._callback = callback
        self._events = EngineEvents(
            path, [Type.EVENT_ACQUIRE], self._heard, lambda: None, name="wsasec-acquire"
        )

    def start(self) -> None:
        """Begin."""
        self._events.start()

    def look_again(self) -> None:
        """Nothing is to be done: what is left undone is asked for again with the next packet."""

    def close(self) -> None:
        """End the thread. Twice is fine."""
        self._events.close()

    def _heard(self, event: Event) -> None:
        # Where a link-local address is, the engine does not say.
        if isinstance(event, engine.Acquire) and not event.destination.is_link_local:
            self._callback(Acquire(event.reqid, event.source, event.destination))


class EngineChanges:
    """As `changes.Changes`: associations that have expired; what charon does, it tells itself."""

    def __init__(self, path: Path) -> None:
        """Listen."""
        self._lock = threading.Lock()
        self._ends: set[Address] = set()
        self._any = False
        self._told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._events = EngineEvents(
            path, [Type.EVENT_EXPIRE], self._heard, self._missed, name="wsasec-expired"
        )
        self._events.start()

    def fileno(self) -> int:
        """Return the descriptor: it is readable when there is something to read()."""
        return self._told

    def read(self) -> set[Address] | None:
        """Return the addresses between which associations have changed; None: it may be any."""
        with self._lock:
            found, self._ends = self._ends, set()
            whole, self._any = self._any, False
            try:
                os.eventfd_read(self._told)
            except BlockingIOError:
                return set()
        return None if whole else found

    def close(self) -> None:
        """Close it. Twice is fine."""
        self._events.close()
        told, self._told = self._told, -1
        if told >= 0:
            os.close(told)

    def _heard(self, event: Event) -> None:
        if isinstance(event, engine.Expire):
            with self._lock:
                self._ends |= {event.name.source, event.name.destination}
                os.eventfd_write(self._told, 1)

    def _missed(self) -> None:
        with self._lock:
            self._any = True
            os.eventfd_write(self._told, 1)
