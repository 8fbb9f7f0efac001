"""asyncio's twin of `wsasec.connect`."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from .. import _wsasec
from ..asking import Names, pack, time_to_try
from ..sockets import (
    begin_connect,
    check_timeout,
    end_connect,
    is_number,
    no_association,
    refuse_if_final,
    settle_names,
    time_to_look,
)
from .asking import ask_for_names
from .readiness import ready
from .waiting import wait_for_association, wait_for_keys

__all__ = ["connect", "connect_resolved", "in_time"]


async def _resolve(sock: socket.socket, address: Any) -> Any:
    """Look a host name up without blocking the loop."""
    host, port, *rest = address
    # Without the threads that lookups run in; thousands may connect at once.
    if isinstance(port, int) and is_number(sock.family, host):
        return address
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, family=sock.family, type=sock.type, proto=sock.proto
    )
    resolved = found[0][4]
    return (*resolved[:2], *rest) if rest else resolved


@asynccontextmanager
async def in_time(deadline: float, address: Any) -> AsyncIterator[None]:
    """Give what is inside until the deadline (of time.monotonic()); then raise TimeoutError."""
    timer = asyncio.timeout(max(0.0, deadline - time.monotonic()))
    try:
        async with timer:
            yield
    except TimeoutError:
        if not timer.expired():  # the system's own
            raise
        raise TimeoutError(errno.ETIMEDOUT, f"no answer from {address}") from None


async def connect_resolved(sock: socket.socket, address: Any, deadline: float) -> None:
    """Connect to an address without names, until a deadline; see `connect`."""
    if sys.platform == "win32":  # there the system negotiates while it connects
        async with in_time(deadline, address):
            await asyncio.get_running_loop().sock_connect(sock, address)
        return
    names = Names(sock)
    try:
        if _wsasec.may_be_clear(sock):
            await wait_for_keys(sock, address, time_to_try(deadline))
        state = await _begin(sock, address, names, deadline)
        if state == errno.EAGAIN:
            raise no_association(sock, address)
        if state == errno.EINPROGRESS:
            await _connected(sock, address, deadline)
            end_connect(sock)
    except BaseException:
        names.hold(pack(sock, address))
        raise


async def _connected(sock: socket.socket, address: Any, deadline: float) -> None:
    """Wait for an answer; on a device, where connect() does not say so, also for why there is none."""
    look = time_to_look(sock, deadline)
    if look < deadline:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, look - time.monotonic())):
                await ready(sock, "write")
                return
        refuse_if_final(sock, address, await ask_for_names(sock, address, deadline))
    async with in_time(deadline, address):
        await ready(sock, "write")


async def _try(sock: socket.socket, address: Any, deadline: float) -> int:
    state = begin_connect(sock, address)
    return await wait_for_association(sock, address, deadline) if state == errno.EAGAIN else state


async def _begin(sock: socket.socket, address: Any, names: Names, deadline: float) -> int:
    """Start connecting, wait for an association, and have names held against the peer if need be."""
    try:
        return await _try(sock, address, deadline)
    except PermissionError as error:
        if not names.are_to_be_asked_for(error):
            raise
        settle_names(sock, address, names, await ask_for_names(sock, address, deadline), error)
    return await _try(sock, address, deadline)


async def connect(sock: socket.socket, address: Any, timeout: float = 30.0) -> None:
    """Connect a secured socket, waiting for its security association; see `wsasec.connect`.

    ``loop.sock_connect()`` is no replacement: it takes the EAGAIN of "no SA yet" for a connection in
    progress, and then for a connection. Any number of sockets may wait: those that wait for the same
    association try for each other.

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
    async with in_time(deadline, address):
        address = await _resolve(sock, address)
    await connect_resolved(sock, address, deadline)
