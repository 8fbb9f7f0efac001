"""Pins: who alone may be at an address, as long as there are programs that asked for a name of theirs."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeAlias

from .associations import Address
from .layer import IkeLayer
from .names import Name
from .pins_file import PinsFile
from .programs import Program
from .reason import CharonError, Reason

__all__ = ["Pin", "PinKey", "Pins"]

_log = logging.getLogger(__name__)

PinKey: TypeAlias = tuple[str, Address]
"""Group and address."""

_UNPIN_SECONDS: Final = 10.0


class Pin:
    """Who may be at an address. To be looked at and changed by whoever has it from Pins.at() only.

    Attributes:
        principal: the identity, an IKE SA's remote_id; None as long as nobody is pinned.
        owners: how many names of each program it serves.
        names: which are known to be the principal's.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.principal: str | None = None
        self.owners: Counter[Program] = Counter()
        self.names: set[Name] = set()
        self.gone = False


class Pins:
    """All of them. Thread-safe."""

    def __init__(self, ike: IkeLayer, file: PinsFile | None = None) -> None:
        """Describe them.

        Args:
            ike: charon's layer, which keeps the file's pins already.
            file: where they are written down for the next daemon, and those that this one found there. The
                caller closes it, after this.
        """
        self._ike = ike
        self._file = file
        self._lock = threading.Lock()
        self._pins: dict[PinKey, Pin] = {}
        self._closed = False
        self._pool = ThreadPoolExecutor(1, "wsasec-unpin")
        for key, (principal, programs) in (file.left if file is not None else {}).items():
            pin = self._pins[key] = Pin()
            pin.principal = principal
            pin.owners.update(programs)

    def close(self) -> None:
        """End the thread; what is pinned stays so. Twice is fine."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(cancel_futures=True)

    @contextmanager
    def at(self, key: PinKey, deadline: float) -> Iterator[Pin]:
        """Have a pin for oneself; a new one if there was none. Raises CharonError (TIMED_OUT)."""
        while True:
            with self._lock:
                pin = self._pins.setdefault(key, Pin())
            if not pin.lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise CharonError(Reason.TIMED_OUT, f"others negotiate about who is at {key[1]}")
            if not pin.gone:
                break
            pin.lock.release()
        try:
            yield pin
        finally:
            if not pin.owners and pin.principal is None:
                self._drop(key, pin)
            pin.lock.release()

    def _drop(self, key: PinKey, pin: Pin) -> None:
        pin.gone = True
        with self._lock:
            if self._pins.get(key) is pin:
                del self._pins[key]

    def own(self, key: PinKey, pin: Pin, program: Program) -> None:
        """Have a pin serve one name more of a program; written down before it is reported to anybody.

        Raises:
            OSError: it cannot be written down; the name counts all the same, until it is released.
        """
        pin.owners[program] += 1
        if self._file is not None and pin.principal is not None:
            self._file.add(key, pin.principal, program)

    def release(self, key: PinKey, program: Program) -> None:
        """One name less of a program; the last that goes takes the pin with it, some time after."""
        self._later(key, program, entirely=False)

    def program_ended(self, program: Program) -> None:
        """None of a program's names counts any more."""
        with self._lock:
            keys = [key for key, pin in self._pins.items() if program in pin.owners]
        for key in keys:
            self._later(key, program, entirely=True)

    def check(self) -> None:
        """Forget who is pinned where charon forgot it: the profile's group is another one now."""
        with self._lock:
            pins = list(self._pins.items())
        for key, pin in pins:
            with pin.lock:
                if pin.principal is not None and self._ike.pinned(*key) != pin.principal:
                    pin.principal = None
                    pin.names.clear()

    def try_again(self) -> None:
        """Take out the pins that nobody needs and that charon has not taken out."""
        with self._lock:
            keys = [key for key, pin in self._pins.items() if not pin.owners]
        for key in keys:
            self._later(key, None, entirely=True)

    def _later(self, key: PinKey, program: Program | None, *, entirely: bool) -> None:
        with self._lock:
            if not self._closed:
                self._pool.submit(self._give_up, key, program, entirely)

    def _give_up(self, key: PinKey, program: Program | None, entirely: bool) -> None:
        with self._lock:
            pin = self._pins.get(key)
        if pin is None:
            return
        with pin.lock:
            if pin.gone:
                return
            if program is not None:
                pin.owners[program] -= 1
                if entirely or pin.owners[program] <= 0:
                    del pin.owners[program]
                    self._strike_out(key, program)
            if not pin.owners:
                self._unpin(key, pin)

    def _strike_out(self, key: PinKey, program: Program) -> None:
        if self._file is not None:
            try:
                self._file.remove(key, program)
            except OSError as error:
                # The next daemon would keep it until the program ends.
                _log.warning("a pin that is no more stays in its file: %s", error)

    def _unpin(self, key: PinKey, pin: Pin) -> None:
        """Let others be there again. Where charon does not answer, try_again() does it."""
        try:
            self._ike.unpin(*key, time.monotonic() + _UNPIN_SECONDS)
        except CharonError:
            return
        except KeyError:
            pass  # there is no such group any more
        pin.principal = None
        self._drop(key, pin)
