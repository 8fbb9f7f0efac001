"""Waiting for a security association."""

from __future__ import annotations

import errno
import socket as _socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from . import _wsasec, profiles
from .constants import Winsock
from .errors import SecurityError, text_of
from .first_use import kernel_without_esp
from .readiness import wait_for

__all__ = ["connect"]

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05


def pauses(deadline: float) -> Iterator[float]:
    """Yield the seconds to wait before each further try, until the deadline (of time.monotonic())."""
    pause = _FIRST_PAUSE
    while (left := deadline - time.monotonic()) > 0:
        yield min(pause, left)
        pause = min(pause * 2, _LONGEST_PAUSE)


def system_error(code: int) -> OSError:
    """Make the error of a number that a call on a socket ended with, as the socket module makes it."""
    if sys.platform == "win32":
        return OSError(0, text_of(code), None, code)
    return OSError(code, text_of(code))


def begin_connect(sock: _socket.socket, address: Any) -> int:
    """Start connecting a non-blocking socket.

    Returns:
        0 (connected), EINPROGRESS, or EAGAIN (no SA yet).

    Raises:
        OSError: any other error of connect().

    """
    error = sock.connect_ex(address)
    if sys.platform == "win32" and error == errno.WSAEWOULDBLOCK:
        return errno.EINPROGRESS
    if error in (0, errno.EINPROGRESS, errno.EAGAIN):
        return error
    raise system_error(error)


def end_connect(sock: _socket.socket) -> None:
    """Raise the error that a connection in progress ended with, if it did."""
    error = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
    if error:
        raise system_error(error)


def no_association(sock: _socket.socket | int, address: Any) -> SecurityError:
    """Make the error of a socket that found no SA until its deadline."""
    number = sock if isinstance(sock, int) else sock.fileno()
    name = _wsasec.profile_of(number)
    host = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
    if kernel_without_esp():
        hint = "this kernel has no ESP; `wsasec doctor` says what to do"
    else:
        profile = profiles.active().get(name or "")
        reqid = f" with reqid {profile.reqid}" if profile else ""
        hint = f"install SAs{reqid} between the two hosts, or look at the key daemon's log"
    return SecurityError(
        f"no security association with {host} in profile {name or '(unknown)'}",
        winsock=Winsock.WSAETIMEDOUT,
        hint=hint,
        socket=number,
        step="connect",
        profile=name,
    )


def check_timeout(timeout: float) -> float:
    """Return the deadline (of time.monotonic()) for a time-out in seconds.

    Raises:
        TypeError: not a number.
        ValueError: negative, or not a number in the other sense.

    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout is a number of seconds, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ValueError(f"timeout is {timeout}: not zero or more seconds")
    return time.monotonic() + timeout


def is_number(family: int, host: object) -> bool:
    """Tell whether a host is an address, and needs no lookup."""
    try:
        _socket.inet_pton(family, host)  # type: ignore[arg-type]  # other types are answered below
    except (OSError, TypeError, ValueError):
        return False
    return True


def _resolve(sock: _socket.socket, address: Any) -> Any:
    """Look a host name up, once; whatever else is wrong with an address, connect() tells."""
    if sock.family not in (_socket.AF_INET, _socket.AF_INET6) or not isinstance(address, tuple):
        return address
    host, *rest = address or (None,)
    if len(rest) not in (1, 2, 3) or not isinstance(host, str) or is_number(sock.family, host):
        return address
    if host in ("", "<broadcast>"):  # connect()'s own words for addresses of IPv4
        return address
    found = _socket.getaddrinfo(host, None, family=sock.family)[0][4]
    return (found[0], rest[0], *(rest[1:] or found[2:]))


def connect(sock: _socket.socket, address: Any, timeout: float = 30.0) -> None:
    """Connect a secured socket, waiting for its security association.

    On Linux connect() and sendto() on a secured socket without an SA fail with EAGAIN at once, and poll()
    does not tell when there is one. This tries again until the deadline. The socket's own time-out is kept.

    Args:
        sock: a socket; a plain one is simply connected.
        address: as socket.connect() takes it.
        timeout: seconds for all of it, the SA and the connection; math.inf for no end. Not for the lookup of
            a name, which blocks as long as it takes.

    Raises:
        SecurityError: no security association until the deadline; ``winsock`` is WSAETIMEDOUT.
        TimeoutError: there was an SA, but no answer until the deadline.
        OSError: what connect() raises otherwise (ECONNREFUSED, ...).
        TypeError, ValueError: a wrong time-out.

    """
    deadline = check_timeout(timeout)
    before = sock.gettimeout()
    resolved = _resolve(sock, address)
    sock.setblocking(False)
    try:
        state = begin_connect(sock, resolved)
        for pause in pauses(deadline):
            if state != errno.EAGAIN:
                break
            time.sleep(pause)
            state = begin_connect(sock, resolved)
        if state == errno.EAGAIN:
            raise no_association(sock, address)
        if state == errno.EINPROGRESS:
            if not wait_for(sock, "write", deadline):
                raise TimeoutError(errno.ETIMEDOUT, f"no answer from {address}")
            end_connect(sock)
    finally:
        sock.settimeout(before)
