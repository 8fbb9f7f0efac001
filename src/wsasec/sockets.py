"""Waiting for a security association."""

from __future__ import annotations

import errno
import socket as _socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from . import _wsasec, profiles
from .asking import Answer, Names, ask, pack, time_to_try
from .constants import Winsock
from .errors import SecurityError, text_of
from .first_use import kernel_without_esp
from .readiness import wait_for

__all__ = ["connect"]

# Longer than a negotiation takes, and shorter than anybody waits.
_LOOK_SECONDS = 1.0

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


def no_association(
    sock: _socket.socket | int, address: Any, verdict: SecurityError | None = None
) -> SecurityError:
    """Make the error of a socket that found no SA until its deadline, or gets none as a verdict says."""
    number = sock if isinstance(sock, int) else sock.fileno()
    name = _wsasec.profile_of(number)
    host = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
    if verdict is not None:
        return SecurityError(
            f"no security association with {host} in profile {name or '(unknown)'}: {verdict.strerror}",
            winsock=verdict.winsock,
            hint=verdict.hint,
            socket=number,
            step=verdict.step,
            profile=name,
        )
    if kernel_without_esp():
        hint = "this kernel has no ESP; `wsasec doctor` says what to do"
    else:
        profile = profiles.active().get(name or "")
        reqid = f" with reqid {profile.reqid}" if profile else ""
        hint = f"install SAs{reqid} between the two hosts, or look at the key daemon's log"
        if sys.platform != "win32" and not _wsasec.has_key_daemon():
            hint = f"no key daemon runs: start it (wsasec up), or install SAs{reqid} between the two hosts"
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


def settle_names(
    sock: _socket.socket, address: Any, names: Names, answer: Answer | None, error: PermissionError
) -> None:
    """Heed what the daemon says of a socket whose names it has held against its peer.

    Raises:
        SecurityError: the peer is another, or cannot be asked.
        PermissionError: `error`, by which connect() has refused; there is nothing better to say.

    """
    if answer is None:
        raise error
    refusal, is_final = answer
    if refusal is not None:
        if not is_final:
            raise error
        names.let = False
        raise no_association(sock, address, refusal) from None


def _begin(sock: _socket.socket, address: Any, names: Names, deadline: float) -> int:
    """Start connecting, and have the names of a socket held against its peer if need be."""
    try:
        return begin_connect(sock, address)
    except PermissionError as error:
        if not names.are_to_be_asked_for(error):
            raise
        settle_names(sock, address, names, ask(sock, pack(sock, address), deadline), error)
    return begin_connect(sock, address)


def _with_keys(sock: _socket.socket, address: Any, names: Names, deadline: float) -> int:
    """Start connecting, and go on until there is an association."""
    peer = pack(sock, address)
    if _wsasec.may_be_clear(sock):
        ask(sock, peer, time_to_try(deadline))
    state = _begin(sock, address, names, deadline)
    for pause in pauses(deadline):
        if state != errno.EAGAIN:
            break
        answer = ask(sock, peer, deadline)
        if answer is not None:
            refusal, is_final = answer
            if refusal is None:
                state = _begin(sock, address, names, deadline)
                if state != errno.EAGAIN:
                    break
            elif is_final:
                state = _begin(sock, address, names, deadline)
                if state == errno.EAGAIN:
                    raise no_association(sock, address, refusal)
                break
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        state = _begin(sock, address, names, deadline)
    return state


def time_to_look(sock: _socket.socket, deadline: float) -> float:
    """Return until when a connection that has begun is waited for before the daemon is asked what lacks.

    On a device connect() does not fail where there are no keys: packets are held until there are. The
    kernel's own IPsec has said so before: then it is the deadline.
    """
    if sys.platform == "win32":
        return deadline
    profile = profiles.active().get(_wsasec.profile_of(sock.fileno()) or "")
    if profile is None or profiles.carrier_of(profile) != "device":
        return deadline
    return min(deadline, time.monotonic() + _LOOK_SECONDS)


def refuse_if_final(sock: _socket.socket, address: Any, answer: Answer | None) -> None:
    """Raise SecurityError if the daemon has said that there will be no association."""
    if answer is not None:
        refusal, is_final = answer
        if refusal is not None and is_final:
            raise no_association(sock, address, refusal)


def connect(sock: _socket.socket, address: Any, timeout: float = 30.0) -> None:
    """Connect a secured socket, waiting for its security association.

    On Linux connect() and sendto() on a secured socket without an SA fail with EAGAIN at once, and poll()
    does not tell when there is one. This asks the key daemon to negotiate with the peer, where one runs, and
    tries again until the deadline. A socket that may go on in clear (ALLOW_INSECURE) does so after the
    negotiation has failed, or after half of the time, or after the limit of the daemon's configuration
    (``first_seconds``); socket.connect() goes at once. The socket's own time-out is kept.

    Args:
        sock: a socket; a plain one is simply connected.
        address: as socket.connect() takes it.
        timeout: seconds for all of it, the SA and the connection; math.inf for no end. Not for the lookup of
            a name, which blocks as long as it takes.

    Raises:
        SecurityError: no security association until the deadline; ``winsock`` is WSAETIMEDOUT. Or there will
            be none, and the daemon says why: no proposal chosen, authentication failed, the peer is another
            than the socket's name, it does not answer, ...; ``winsock`` is WSAEACCES, WSAETIMEDOUT, ...
        TimeoutError: there was an SA, but no answer until the deadline.
        OSError: what connect() raises otherwise (ECONNREFUSED, ...).
        TypeError, ValueError: a wrong time-out.

    """
    deadline = check_timeout(timeout)
    before = sock.gettimeout()
    resolved = _resolve(sock, address)
    names = Names(sock)
    sock.setblocking(False)
    try:
        if sys.platform == "win32":  # there the system negotiates while it connects
            state = begin_connect(sock, resolved)
        else:
            state = _with_keys(sock, resolved, names, deadline)
        if state == errno.EAGAIN:
            raise no_association(sock, address)
        if state == errno.EINPROGRESS:
            look = time_to_look(sock, deadline)
            if look < deadline and not wait_for(sock, "write", look):
                refuse_if_final(sock, address, ask(sock, pack(sock, resolved), deadline))
            if not wait_for(sock, "write", deadline):
                raise TimeoutError(errno.ETIMEDOUT, f"no answer from {address}")
            end_connect(sock)
    except BaseException:
        names.hold(pack(sock, resolved))
        raise
    finally:
        sock.settimeout(before)
