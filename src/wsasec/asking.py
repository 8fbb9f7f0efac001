"""Asking the key daemon for the keys of a connection (Linux), beside the tries to connect."""

from __future__ import annotations

import errno
import socket as _socket
import time
from typing import Any, Final

from . import _wsasec
from .addresses import pack_address
from .errors import SecurityError
from .readiness import wait_for

__all__ = ["Answer", "Names", "ask", "pack", "time_to_answer", "time_to_try"]

Answer = tuple[SecurityError | None, bool]
"""What went wrong, or None; and whether that is final."""

# The most that the daemon's `first_seconds` can be; after them it says itself that there are no keys.
_LONGEST_TRY: Final = 300.0
_MARGIN: Final = 0.1


def pack(sock: _socket.socket, address: Any) -> bytes | None:
    """Make a sockaddr of a resolved address; None where the daemon cannot be asked for such."""
    if sock.family not in (_socket.AF_INET, _socket.AF_INET6) or not isinstance(address, tuple):
        return None
    try:
        return pack_address(sock.family, address)
    except (OSError, TypeError, ValueError):
        return None


def time_to_try(deadline: float) -> float:
    """Return until when a socket that may go on in clear waits for keys, so that time is left."""
    now = time.monotonic()
    return now + min(max(0.0, deadline - now) / 2, _LONGEST_TRY)


def time_to_answer(deadline: float) -> float:
    """Return how many seconds the daemon gets, a little less than there are: so that it is told why."""
    left = max(0.0, deadline - time.monotonic())
    return left - min(_MARGIN, left / 10)


def ask(sock: _socket.socket, peer: bytes | None, deadline: float) -> Answer | None:
    """Have keys made, and wait for that until the deadline (of time.monotonic()).

    Returns:
        The answer; None where there is nobody to ask, or none came in time.

    """
    question = None if peer is None else _wsasec.question(sock, peer, time_to_answer(deadline))
    if question is None:
        return None
    try:
        while (answer := question.answer()) is None:
            if not wait_for(question, "read", deadline):
                return None
        return answer
    finally:
        question.close()


class Names:
    """Whether the daemon was asked to let one socket send, whose names it is to hold against the peer."""

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock
        self._asked = False
        self.let = False
        """The daemon lets it send, or may do so yet: after a failure that is to be taken back."""

    def are_to_be_asked_for(self, error: OSError) -> bool:
        """Tell whether an error of connect() is a reason to ask, which it is once."""
        if error.errno != errno.EPERM or self._asked or not _wsasec.is_gated(self._sock, errno.EPERM):
            return False
        self._asked = True
        self.let = _wsasec.has_key_daemon()
        return True

    def hold(self, peer: bytes | None) -> None:
        """Take it back, where there is something to take back."""
        if self.let and peer is not None and self._sock.fileno() >= 0:
            self.let = False
            _wsasec.hold(self._sock, peer)
