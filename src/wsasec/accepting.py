"""accept() for secured listeners."""

from __future__ import annotations

import errno
import math
import socket as _socket
import sys
import time
from typing import Any

from . import _wsasec
from .addresses import unpack_address
from .readiness import wait_for
from .sockets import system_error

__all__ = ["accept"]

# The connection had ended before it was accepted; Windows says so by the second.
_GONE = (errno.ECONNABORTED, errno.ECONNRESET) if sys.platform == "win32" else (errno.ECONNABORTED,)


def accept(sock: _socket.socket) -> tuple[_socket.socket, Any]:
    """Accept a connection that is protected as its listener is.

    As `socket.accept`, in the listener's own mode (its time-out, blocking or not). Accepted sockets inherit
    their listener's protection; but where the kernel made one from a SYN cookie (IPv4), it may keep a route
    without IPsec, and only the guard holds it to ESP. This sets the outbound policy again, which ends that.
    A connection where it fails is closed without a packet.

    Args:
        sock: a listening socket that this process secured, or that carries the mark of a profile in use.
            From any other the connections are plain, as it is itself.

    Returns:
        (connection, address), as `socket.accept`.

    Raises:
        SecurityError: the connection could not be protected, and is closed; the listener is good for more.
            Where ``winsock`` is WSAENOTSOCK (no socket, or closed; then errno is EBADF) or WSAEINVAL
            (securing the listener had failed), it is not: the next call would end as this one.
        BlockingIOError: the listener does not block, and no connection waits.
        TimeoutError: no connection within the listener's time-out.
        OSError: what accept() raises otherwise (EMFILE, ...).

    """
    timeout = sock.gettimeout()
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    # Without a time-out accept() itself waits; but the descriptor may be non-blocking all the same.
    poll = bool(timeout)
    while True:
        if poll and not wait_for(sock, "read", deadline):
            raise TimeoutError("timed out")
        answer = _wsasec.accept_descriptor(sock)
        if not isinstance(answer, int):
            break
        nothing_waits = answer in (errno.EAGAIN, errno.EWOULDBLOCK)  # two numbers on Windows
        if answer == errno.EINTR or ((nothing_waits or answer in _GONE) and timeout != 0.0):
            poll = poll or nothing_waits
            continue
        raise system_error(answer)
    number, address = answer
    return _socket.socket(sock.family, sock.type, sock.proto, number), unpack_address(address)
