"""A secured connection by host name, for libraries that block; with gevent, only the greenlet."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from typing import Any, Final

from .._wsasec import secure
from ..readiness import LONGEST_WAIT
from ..settings import SettingsBase
from ..sockets import check_timeout, connect

__all__ = ["TIMEOUT", "create_connection"]

TIMEOUT: Final = 30.0
"""Seconds for a connection where a library has no time-out of its own: no wait is without end."""


def _attempt(
    info: tuple[Any, ...],
    deadline: float,
    timeout: float | None,
    source_address: tuple[str, int] | None,
    settings: SettingsBase | None,
    socket_options: Iterable[tuple[int, int, int | bytes]],
) -> socket.socket:
    """Make, secure and connect a socket to one address."""
    family, kind, proto, _, address = info
    # Looked up at each call: gevent puts its own class there.
    sock = socket.socket(family, kind, proto)
    try:
        for option in socket_options:
            sock.setsockopt(*option)
        secure(sock, settings)
        if source_address is not None:
            sock.bind(source_address)
        connect(sock, address, max(0.0, deadline - time.monotonic()))
        sock.settimeout(None if timeout is None or timeout > LONGEST_WAIT else timeout)
    except BaseException:
        sock.close()
        raise
    return sock


def create_connection(
    address: tuple[str, int],
    timeout: float | None = None,
    source_address: tuple[str, int] | None = None,
    *,
    settings: SettingsBase | None = None,
    socket_options: Iterable[tuple[int, int, int | bytes]] = (),
) -> socket.socket:
    """Make a secured connection, as ``socket.create_connection()`` makes a plain one.

    The host's addresses are tried one after the other, each for its share of the time that is left.

    Args:
        address: host and port.
        timeout: seconds for SA and connection; then that of the socket. None: 30 s, then none. The lookup of
            the name takes from these seconds, but is not ended by them.
        source_address: host and port to bind to.
        settings: as for `wsasec.secure`.
        socket_options: arguments for setsockopt(), which are set first.

    Returns:
        The connected socket.

    Raises:
        SecurityError: the socket cannot be secured, or there was no security association in time.
        TimeoutError: no answer in time.
        OSError: what connect() or getaddrinfo() raise otherwise; of several addresses the first one's error.
        TypeError, ValueError: a wrong time-out.

    """
    deadline = check_timeout(TIMEOUT if timeout is None else timeout)
    host, port = address
    errors: list[OSError] = []
    infos = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    for number, info in enumerate(infos):
        now = time.monotonic()
        share = now + max(0.0, deadline - now) / (len(infos) - number)
        try:
            return _attempt(info, share, timeout, source_address, settings, socket_options)
        except OSError as error:  # also where the system has none of the address's family
            errors.append(error)
    for other in errors[1:]:
        errors[0].add_note(f"and: {other}")
    # Taken out: the traceback holds this frame, which must not hold the exception.
    raise errors.pop(0) if errors else OSError(f"no address of {host}")
