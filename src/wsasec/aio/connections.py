"""Secured connections by host name, in the shape of asyncio's own."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from ..settings import SettingsBase
from ..sockets import check_timeout
from .connecting import connect_resolved, in_time
from .securing import secure

__all__ = ["create_connection", "open_connection"]

_LIMIT: Final = 2**16
_DELAY: Final = 0.25
"""Seconds until the next address is tried beside one: the Connection Attempt Delay of RFC 8305."""

_Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)
# Family, type, protocol, canonical name, address: as getaddrinfo() has them.
_Info = tuple[int, int, int, str, Any]


async def _look_up(host: str | None, port: int | str, family: int, proto: int, flags: int) -> list[_Info]:
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, proto=proto, flags=flags
    )
    infos: list[_Info] = [info for info in found if info[0] in (socket.AF_INET, socket.AF_INET6)]
    if not infos:
        raise OSError(f"no address of {host}")
    return infos


def _bind(sock: socket.socket, family: int, local: Sequence[_Info]) -> None:
    """Bind to the first local address that can be bound to."""
    first: OSError | None = None
    for info in local:
        if info[0] != family:
            continue
        try:
            sock.bind(info[4])
        except OSError as error:
            first = first or error
        else:
            return
    raise first or OSError(f"no local address for a connection to {socket.AddressFamily(family).name}")


async def _attempt(
    info: _Info, settings: SettingsBase | None, local: Sequence[_Info] | None, deadline: float
) -> socket.socket:
    """Make, secure and connect a socket to one address."""
    family, kind, proto, _, address = info
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        await secure(sock, settings, max(0.0, deadline - time.monotonic()))
        if local is not None:
            _bind(sock, family, local)
        await connect_resolved(sock, address, deadline)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_result(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _race(
    attempts: Sequence[Coroutine[Any, Any, socket.socket]], delay: float
) -> socket.socket | list[BaseException]:
    """Start the attempts one by one; return the first socket that connects, or why none did, in order."""
    waiting = list(reversed(attempts))
    tasks: list[asyncio.Task[socket.socket]] = []
    pending: set[asyncio.Task[socket.socket]] = set()
    winner: asyncio.Task[socket.socket] | None = None
    try:
        while winner is None and (waiting or pending):
            if waiting:
                tasks.append(asyncio.ensure_future(waiting.pop()))
                pending.add(tasks[-1])
            done, pending = await asyncio.wait(
                pending, timeout=delay if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            winner = next((task for task in done if task.exception() is None), None)
    finally:
        for attempt in waiting:
            attempt.close()
        for task in tasks:
            if task is not winner:
                task.cancel()
                task.add_done_callback(_close_result)  # it may have connected meanwhile
        if pending:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError:
                if winner is not None:
                    _close_result(winner)
                raise
    if winner is not None:
        return winner.result()
    return [error for task in tasks if (error := task.exception()) is not None]


async def _open_socket(
    host: str,
    port: int | str,
    *,
    settings: SettingsBase | None,
    timeout: float,
    family: int,
    proto: int,
    flags: int,
    local_addr: tuple[str, int] | None,
    happy_eyeballs_delay: float | None,
) -> socket.socket:
    deadline = check_timeout(timeout)
    local = None
    async with in_time(deadline, (host, port)):
        infos = await _look_up(host, port, family, proto, flags)
        if local_addr is not None:
            local = await _look_up(*local_addr, family, proto, flags)
    if len(infos) == 1:
        return await _attempt(infos[0], settings, local, deadline)
    attempts = [_attempt(info, settings, local, deadline) for info in infos]
    outcome = await _race(attempts, _DELAY if happy_eyeballs_delay is None else happy_eyeballs_delay)
    if isinstance(outcome, socket.socket):
        return outcome
    for other in outcome[1:]:
        outcome[0].add_note(f"and: {other}")
    # Taken out: the traceback holds this frame, which must not hold the exception.
    raise outcome.pop(0)


def _identity(sock: socket.socket) -> tuple[int, int] | None:
    """Return what no other socket has; None where there is none."""
    try:
        found = os.fstat(sock.fileno())
    except OSError:
        return None
    return found.st_dev, found.st_ino


async def create_connection(
    protocol_factory: Callable[[], _Protocol],
    host: str,
    port: int | str,
    *,
    settings: SettingsBase | None = None,
    timeout: float = 30.0,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    local_addr: tuple[str, int] | None = None,
    happy_eyeballs_delay: float | None = None,
) -> tuple[asyncio.Transport, _Protocol]:
    """Make a secured connection for a protocol, as ``loop.create_connection()`` makes a plain one.

    The socket is secured before it is bound or connected. All addresses of the host are tried, each
    until the deadline and the next beside it after a short delay; the first that connects is used. Where
    there is none, or on cancellation, every socket is closed.

    Args:
        protocol_factory: makes the protocol.
        host: name or address.
        port: number or service name.
        settings: as for `wsasec.secure`.
        timeout: seconds for all of it: name, SA and connection.
        family: AF_INET, AF_INET6, or 0 for both.
        proto: as for getaddrinfo().
        flags: as for getaddrinfo().
        local_addr: host and port to bind to.
        happy_eyeballs_delay: seconds until the next address is tried, too; None for 0.25.

    Returns:
        The transport and the protocol.

    Raises:
        SecurityError: the socket cannot be secured, or there was no security association until the
            deadline.
        TimeoutError: no answer until the deadline.
        OSError: what connect() or getaddrinfo() raise otherwise. Of several addresses it is the first one's
            error; those of the others are notes to it.
        TypeError, ValueError: a wrong time-out.

    """
    sock = await _open_socket(
        host,
        port,
        settings=settings,
        timeout=timeout,
        family=family,
        proto=proto,
        flags=flags,
        local_addr=local_addr,
        happy_eyeballs_delay=happy_eyeballs_delay,
    )
    identity = _identity(sock)
    try:
        return await asyncio.get_running_loop().create_connection(protocol_factory, sock=sock)
    except BaseException:
        # uvloop before 0.23 closes the descriptor and tells nobody: the number may be another's by now.
        if _identity(sock) == identity:
            sock.close()
        else:
            sock.detach()
        raise


async def open_connection(
    host: str,
    port: int | str,
    *,
    settings: SettingsBase | None = None,
    timeout: float = 30.0,
    limit: int = _LIMIT,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    local_addr: tuple[str, int] | None = None,
    happy_eyeballs_delay: float | None = None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Make a secured connection, as ``asyncio.open_connection()`` makes a plain one.

    Args:
        host: name or address.
        port: number or service name.
        settings: as for `wsasec.secure`.
        timeout: seconds for all of it: name, SA and connection.
        limit: bytes that the reader buffers.
        family: AF_INET, AF_INET6, or 0 for both.
        proto: as for getaddrinfo().
        flags: as for getaddrinfo().
        local_addr: host and port to bind to.
        happy_eyeballs_delay: seconds until the next address is tried, too; None for 0.25.

    Returns:
        The reader and the writer.

    Raises:
        SecurityError, TimeoutError, OSError, TypeError, ValueError: as `create_connection`.

    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    transport, protocol = await create_connection(
        lambda: asyncio.StreamReaderProtocol(reader, loop=loop),
        host,
        port,
        settings=settings,
        timeout=timeout,
        family=family,
        proto=proto,
        flags=flags,
        local_addr=local_addr,
        happy_eyeballs_delay=happy_eyeballs_delay,
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
