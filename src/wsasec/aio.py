"""asyncio's twin of `wsasec.connect`."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from .sockets import begin_connect, check_timeout, end_connect, no_association, pauses

__all__ = ["connect"]

_T = TypeVar("_T")


async def _resolve(sock: socket.socket, address: Any) -> Any:
    """Look a host name up without blocking the loop."""
    host, port, *rest = address
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, family=sock.family, type=sock.type, proto=sock.proto
    )
    resolved = found[0][4]
    return (*resolved[:2], *rest) if rest else resolved


async def _writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(sock, wake)
    try:
        await ready
    finally:
        loop.remove_writer(sock)


async def _in_time(work: Coroutine[Any, Any, _T], deadline: float, address: Any) -> _T:
    try:
        return await asyncio.wait_for(work, max(0.0, deadline - time.monotonic()))
    except TimeoutError as error:
        if error.errno is not None:  # the system's own
            raise
        raise TimeoutError(errno.ETIMEDOUT, f"no answer from {address}") from None


async def connect(sock: socket.socket, address: Any, timeout: float = 30.0) -> None:
    """Connect a secured socket, waiting for its security association; see `wsasec.connect`.

    ``loop.sock_connect()`` is no replacement: it takes the EAGAIN of "no SA yet" for a connection in
    progress, and then for a connection.

    Args:
        sock: a non-blocking socket.
        address: as socket.connect() takes it.
        timeout: seconds for all of it: name, SA and connection.

    Raises:
        SecurityError: no security association until the deadline; ``winsock`` is WSAETIMEDOUT.
        TimeoutError: there was an SA, but no answer until the deadline.
        OSError: what connect() raises otherwise.
        ValueError: the socket is blocking, or a wrong time-out.

    """
    deadline = check_timeout(timeout)
    if sock.gettimeout() != 0:
        raise ValueError("the socket must be non-blocking")
    address = await _in_time(_resolve(sock, address), deadline, address)
    state = begin_connect(sock, address)
    for pause in pauses(deadline):
        if state != errno.EAGAIN:
            break
        await asyncio.sleep(pause)
        state = begin_connect(sock, address)
    if state == errno.EAGAIN:
        raise no_association(sock, address)
    if state == errno.EINPROGRESS:
        await _in_time(_writable(sock), deadline, address)
        end_connect(sock)
