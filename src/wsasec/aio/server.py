"""Secured servers, in the shape of asyncio's own."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, cast

from .._wsasec import Acceptor
from ..settings import SettingsBase
from .securing import secure

__all__ = ["Server", "create_server", "start_server"]

_LIMIT: Final = 2**16
_BACKLOG: Final = 100

_Factory = Callable[[], asyncio.BaseProtocol]


class _Gate(asyncio.Protocol):
    """Stands before the protocol of an accepted connection until its socket surely obeys its policies.

    An IPv4 socket that the kernel made from a SYN cookie has its listener's policies, but keeps the route by
    which the cookie was answered, which was looked up without them; only the guard holds what it sends.
    Setting the policies again drops that route. Nothing of the program knows the transport before
    connection_made(), and no loop reads before it: so this is the place, whoever called accept().
    """

    def __init__(self, factory: _Factory, acceptor: Acceptor) -> None:
        self._factory = factory
        self._acceptor = acceptor

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        accepted = cast(asyncio.Transport, transport)  # what uvloop has is no subclass
        try:
            self._acceptor.protect(accepted.get_extra_info("socket"))
        except OSError as error:
            accepted.abort()
            asyncio.get_running_loop().call_exception_handler(
                {
                    "message": "an accepted connection cannot be secured, and is closed",
                    "exception": error,
                    "transport": accepted,
                }
            )
            return
        try:
            protocol = self._factory()
        except BaseException:
            accepted.abort()
            raise
        accepted.set_protocol(protocol)
        protocol.connection_made(accepted)


class Server(asyncio.AbstractServer):
    """A secured server on one or more sockets; the same methods as asyncio.Server."""

    def __init__(self, servers: Sequence[Any], loop: asyncio.AbstractEventLoop) -> None:
        """Join the loop's own servers, one a socket; `create_server` makes them."""
        self._servers = tuple(servers)
        self._loop = loop

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets, as the loop shows them; none after close()."""
        return tuple(sock for server in self._servers for sock in server.sockets)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether new connections are accepted."""
        return all(server.is_serving() for server in self._servers)

    async def start_serving(self) -> None:
        """Start accepting connections, where that has not begun."""
        for server in self._servers:
            await server.start_serving()

    async def serve_forever(self) -> None:
        """Accept connections until this is cancelled, which closes the server.

        Raises:
            RuntimeError: the server is closed, or this runs already.

        """
        await asyncio.gather(*(server.serve_forever() for server in self._servers))

    def close(self) -> None:
        """Stop listening. Connections that were accepted stay open."""
        for server in self._servers:
            server.close()

    async def wait_closed(self) -> None:
        """Wait until the server is closed, as asyncio's of the same Python version does."""
        for server in self._servers:
            await server.wait_closed()

    if sys.version_info >= (3, 13):

        def close_clients(self) -> None:
            """Close the connections that were accepted."""
            for server in self._servers:
                server.close_clients()

        def abort_clients(self) -> None:
            """Close the connections that were accepted, at once."""
            for server in self._servers:
                server.abort_clients()


async def _look_up(
    host: str | Sequence[str] | None, port: int | str | None, family: int, flags: int
) -> list[tuple[Any, ...]]:
    """Return what to listen on, each address once."""
    loop = asyncio.get_running_loop()
    hosts: Sequence[str | None] = [host or None] if host is None or isinstance(host, str) else host
    found: dict[tuple[Any, ...], None] = {}
    for name in hosts:
        infos = await loop.getaddrinfo(
            name, port or 0, family=family, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags
        )
        found.update(dict.fromkeys(infos))
    return list(found)


async def _listener(
    info: tuple[Any, ...], settings: SettingsBase | None, *, reuse_address: bool
) -> socket.socket:
    family, kind, proto, _, address = info
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        await secure(sock, settings, math.inf)
        if family == socket.AF_INET6:
            # SKIP_FILTER_INSTANTIATION changes no socket; IPv4 has one of its own on the same port.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # On Windows nothing else is needed for that, and a port is exclusive or shared by it.
        if reuse_address and sys.platform != "win32":
            # It lets a stream socket bind where old connections are in TIME_WAIT, never where another socket
            # listens: the port stays exclusive.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _listeners(
    infos: Sequence[tuple[Any, ...]], settings: SettingsBase | None, *, reuse_address: bool
) -> list[socket.socket]:
    made: list[socket.socket] = []
    try:
        for info in infos:
            try:
                made.append(await _listener(info, settings, reuse_address=reuse_address))
            except OSError as error:
                # A kernel without IPv6 has addresses of it all the same.
                if error.errno != errno.EAFNOSUPPORT or (info is infos[-1] and not made):
                    raise
    except BaseException:
        for sock in made:
            sock.close()
        raise
    return made


async def create_server(
    protocol_factory: _Factory,
    host: str | Sequence[str] | None = None,
    port: int | str | None = None,
    *,
    settings: SettingsBase | None = None,
    family: int = 0,
    flags: int = socket.AI_PASSIVE,
    backlog: int = _BACKLOG,
    reuse_address: bool = True,
    reuse_port: bool = False,
    start_serving: bool = True,
) -> Server:
    """Make a secured server for protocols, as ``loop.create_server()`` makes a plain one.

    The sockets are secured before they are bound, and what they accept is protected as they are, also
    under SYN cookies, and by a program that gave its privileges up. Where that fails the connection is
    closed, and the loop's exception handler told.

    Args:
        protocol_factory: makes the protocol of a connection.
        host: name, address, or some of them; None for all interfaces, of IPv4 and of IPv6.
        port: number or service name; None or 0 for one of the kernel's choice.
        settings: as for `wsasec.secure`.
        family: AF_INET, AF_INET6, or 0 for both.
        flags: as for getaddrinfo().
        backlog: connections that may wait to be accepted.
        reuse_address: bind also where old connections are in TIME_WAIT.
        reuse_port: False; a secured socket shares its port with none.
        start_serving: accept connections at once.

    Returns:
        The server, with a socket for each address.

    Raises:
        SecurityError: a socket cannot be secured.
        OSError: what bind(), listen() or getaddrinfo() raise.
        ValueError: reuse_port.

    """
    if reuse_port:
        raise ValueError(
            "reuse_port: the port of a secured socket is exclusive; with SO_REUSEPORT a socket that nobody "
            "secured could be bound to it, too, and get some of the connections"
        )
    loop = asyncio.get_running_loop()
    infos = await _look_up(host, port, family, flags)
    socks = await _listeners(infos, settings, reuse_address=reuse_address)
    servers: list[Any] = []
    try:
        for sock in socks:
            gate = partial(_Gate, protocol_factory, Acceptor(sock))
            servers.append(await loop.create_server(gate, sock=sock, backlog=backlog, start_serving=False))
        server = Server(servers, loop)
        if start_serving:
            await server.start_serving()
    except BaseException:
        for made in servers:
            made.close()
        for sock in socks:
            sock.close()
        raise
    return server


async def start_server(
    client_connected_cb: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None],
    host: str | Sequence[str] | None = None,
    port: int | str | None = None,
    *,
    settings: SettingsBase | None = None,
    limit: int = _LIMIT,
    family: int = 0,
    flags: int = socket.AI_PASSIVE,
    backlog: int = _BACKLOG,
    reuse_address: bool = True,
    reuse_port: bool = False,
    start_serving: bool = True,
) -> Server:
    """Make a secured server, as ``asyncio.start_server()`` makes a plain one.

    Args:
        client_connected_cb: called with the reader and the writer of each connection; a function, or a
            coroutine function, which becomes a task.
        host: name, address, or some of them; None for all interfaces, of IPv4 and of IPv6.
        port: number or service name; None or 0 for one of the kernel's choice.
        settings: as for `wsasec.secure`.
        limit: bytes that a reader buffers.
        family: AF_INET, AF_INET6, or 0 for both.
        flags: as for getaddrinfo().
        backlog: connections that may wait to be accepted.
        reuse_address: bind also where old connections are in TIME_WAIT.
        reuse_port: False; a secured socket shares its port with none.
        start_serving: accept connections at once.

    Returns:
        The server, with a socket for each address.

    Raises:
        SecurityError, OSError, ValueError: as `create_server`.

    """
    loop = asyncio.get_running_loop()

    def factory() -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        return asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=loop)

    return await create_server(
        factory,
        host,
        port,
        settings=settings,
        family=family,
        flags=flags,
        backlog=backlog,
        reuse_address=reuse_address,
        reuse_port=reuse_port,
        start_serving=start_serving,
    )
