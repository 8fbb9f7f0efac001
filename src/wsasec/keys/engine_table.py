"""The associations that an engine has, in the form of the kernel's."""

from __future__ import annotations

import errno
import ipaddress
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from ..engine import (
    Algorithm,
    AssociationName,
    AssociationState,
    Control,
    Direction,
    EngineError,
    MessageError,
)
from ..kernel.xfrm import SA

__all__ = ["EngineSA", "EngineTable"]

_PATIENCE: Final = 5.0
"""Seconds in which an engine that has ended is started again."""
_AGAIN: Final = 0.02

# As the kernel calls them, with the bits of the key; the tag has 128 bits.
_NAMES: Final = {
    Algorithm.AES_128_GCM: ("rfc4106(gcm(aes))", 128),
    Algorithm.AES_256_GCM: ("rfc4106(gcm(aes))", 256),
    Algorithm.CHACHA20_POLY1305: ("rfc7539esp(chacha20,poly1305)", 256),
}
_TAG_BITS: Final = 128

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class EngineSA(SA):
    """An association of an engine's; `name` is the engine's, which tells the direction, too."""

    name: AssociationName | None = None


def _described(state: AssociationState, now: float) -> EngineSA:
    algorithm, bits = _NAMES[state.algorithm]
    limits = state.limits
    return EngineSA(
        src=str(state.name.source),
        dst=str(state.name.destination),
        spi=state.name.spi,
        proto="esp",
        mode="transport",
        reqid=state.reqid,
        bytes=state.bytes,
        packets=state.packets,
        algorithm=algorithm,
        esn=state.esn,
        replay_window=state.window,
        replayed=state.replayed,
        integrity_failed=state.forged,
        encryption_bits=bits,
        integrity_bits=_TAG_BITS,
        added=int(now - state.age_seconds),
        soft_bytes=limits.soft_bytes,
        soft_packets=limits.soft_packets,
        soft_seconds=limits.soft_seconds,
        hard_bytes=limits.hard_bytes,
        hard_packets=limits.hard_packets,
        hard_seconds=limits.hard_seconds,
        name=state.name,
    )


def _all_described(states: list[AssociationState]) -> list[SA]:
    now = time.time()
    return [_described(each, now) for each in states]


class EngineTable:
    """The associations of the engine that listens at a path. For any thread; all methods raise OSError.

    An engine that has just ended is waited for, as it is started again.
    """

    def __init__(self, path: Path) -> None:
        """Describe it; a connection is made when something is asked."""
        self._path = path
        self._lock = threading.Lock()
        self._control: Control | None = None

    def __enter__(self) -> EngineTable:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing: the connection is for all who ask."""

    def close(self) -> None:
        """Close the connection; another question makes a new one."""
        with self._lock:
            control, self._control = self._control, None
        if control is not None:
            control.close()

    def _connected(self) -> Control:
        with self._lock:
            if self._control is None or self._control.fileno() < 0:
                self._control = Control(self._path)
            return self._control

    def _forget(self, control: Control | None) -> None:
        """Use a connection no more that has ended; another thread may have made a new one, and asks by it."""
        with self._lock:
            if self._control is control:
                self._control = None

    def _ask(self, ask: Callable[[Control], _Answer]) -> _Answer:
        until = time.monotonic() + _PATIENCE
        while True:
            control = None
            try:
                control = self._connected()
                return ask(control)
            except EngineError:
                raise
            except MessageError as error:
                raise OSError(errno.EPROTO, f"the engine: {error}") from error
            except (ConnectionError, FileNotFoundError, TimeoutError, BlockingIOError) as error:
                # The last: those who wait for the next engine have filled the queue of its socket.
                self._forget(control)
                if time.monotonic() >= until:
                    raise OSError(errno.ENETDOWN, "the engine does not answer") from error
            time.sleep(_AGAIN)

    def associations(self) -> list[SA]:
        """Return all, the newest first."""
        return _all_described(self._ask(Control.sas))

    def between(self, src: str | None, dst: str | None) -> list[SA]:
        """Return those from an address to another, the newest first; one may be None: any."""
        if src is None and dst is None:
            return self.associations()
        ends = [None if each is None else ipaddress.ip_address(each) for each in (src, dst)]
        # Asked each time, and of the engine: what it had a moment ago may be gone.
        return _all_described(self._ask(lambda control: control.sas_between(*ends)))

    def delete(self, sa: SA) -> None:
        """Delete one; ProcessLookupError if there is none."""
        name = sa.name if isinstance(sa, EngineSA) else None
        if name is None:
            raise ProcessLookupError(errno.ESRCH, "it is none of the engine's")
        try:
            self._ask(lambda control: control.delete_sa(name))
        except EngineError as error:
            if error.errno == errno.ENOENT:
                raise ProcessLookupError(errno.ESRCH, "there is no such association") from error
            raise


assert set(_NAMES) == set(Algorithm) and len(Direction) == 2  # noqa: S101, PT018
