"""Servers: secured before they are bound, and what they accept secured before a program sees it."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any

import pytest
import uvloop

import wsasec
from wsasec import SecurityError, Winsock, _wsasec, aio, profiles
from wsasec.settings import IpsecSettings, Settings

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Dropping = Callable[[], AbstractContextManager[None]]

# The first of its loops makes a pipe that stays for the life of the process.
uvloop.new_event_loop().close()

INSECURE = Settings(wsasec.SecurityFlags.ALLOW_INSECURE)
"""Falls back to clear where there is no association: only so there are connections here."""


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine to its end in a loop of this kind, a minute at the most."""

    async def in_time(main: Coroutine[Any, Any, Any]) -> Any:
        async with asyncio.timeout(60):
            return await main

    return lambda main: request.param(in_time(main))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(100))
    writer.close()
    await writer.wait_closed()


async def ask(address: Any, text: bytes = b"echo") -> bytes:
    reader, writer = await asyncio.open_connection(*address[:2])
    writer.write(text)
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def mark_of(sock: Any) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)


def test_all_interfaces_of_both_families(run: Run) -> None:
    async def main() -> None:
        async with await aio.start_server(echo) as server:
            assert {sock.family for sock in server.sockets} == {socket.AF_INET, socket.AF_INET6}
            assert all(_wsasec.profile_of(sock.fileno()) == "default" for sock in server.sockets)
            assert {mark_of(sock) for sock in server.sockets} == {profiles.DEFAULT.mark}
            assert server.is_serving()
            assert server.get_loop() is asyncio.get_running_loop()
        assert not server.sockets
        assert not server.is_serving()

    run(main())


def test_all_interfaces_on_one_port(run: Run) -> None:
    """Also where securing a socket changes nothing, and so leaves IPv4 to those of IPv6."""
    skip = IpsecSettings(ipsec_flags=wsasec.IpsecFlags.SKIP_FILTER_INSTANTIATION)

    async def main() -> None:
        for settings in None, skip:
            async with await aio.start_server(echo, None, 4711, settings=settings) as server:
                assert {sock.getsockname()[1] for sock in server.sockets} == {4711}
                assert len(server.sockets) == 2

    run(main())


def test_secured_before_it_is_bound(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def secure(sock: socket.socket, settings: Any) -> None:
        seen.append(sock.getsockname()[1])
        wsasec.secure(sock, settings)

    monkeypatch.setattr(_wsasec, "secure", secure)

    async def main() -> None:
        async with await aio.start_server(echo, ["127.0.0.1", "::1", "127.0.0.1"], family=0):
            assert seen == [0, 0]

    run(main())


def test_a_clear_connection_is_not_accepted(run: Run) -> None:
    async def main() -> None:
        async with await aio.start_server(echo, "127.0.0.1") as server:
            with socket.socket() as sock:
                sock.setblocking(False)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(
                        asyncio.get_running_loop().sock_connect(sock, server.sockets[0].getsockname()), 0.2
                    )

    run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_streams(run: Run, host: str) -> None:
    async def main() -> None:
        async with await aio.start_server(echo, host, settings=INSECURE) as server:
            address = server.sockets[0].getsockname()
            assert await asyncio.gather(*(ask(address, b"%d" % n) for n in range(20))) == [
                b"%d" % n for n in range(20)
            ]

    run(main())


def test_a_function_for_the_connections(run: Run) -> None:
    def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.close()

    async def main() -> None:
        async with await aio.start_server(close, "127.0.0.1", settings=INSECURE) as server:
            assert await ask(server.sockets[0].getsockname()) == b"bye"

    run(main())


class Record(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert transport.get_protocol() is self
        self.log.append("made")
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.log.append(data.decode())
        self.transport.write(data)

    def eof_received(self) -> None:
        self.log.append("eof")

    def connection_lost(self, error: Exception | None) -> None:
        self.log.append("lost")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_protocols(run: Run, host: str) -> None:
    log: list[str] = []

    async def main() -> None:
        async with await aio.create_server(lambda: Record(log), host, settings=INSECURE) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(b"data")
            assert await reader.readexactly(4) == b"data"
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    run(main())
    assert log == ["made", "data", "eof", "lost"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"], ids=["v4", "v6"])
def test_accepted_sockets_are_protected_first(run: Run, host: str) -> None:
    """Before there is a protocol that could write; and they are known to be secured then."""
    found: list[str | None] = []

    class Look(Record):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            found.append(_wsasec.profile_of(transport.get_extra_info("socket")))
            transport.close()

    async def main() -> None:
        async with await aio.create_server(lambda: Look([]), host, settings=INSECURE) as server:
            assert await ask(server.sockets[0].getsockname(), b"") == b""

    run(main())
    assert found == ["default"]


def test_without_privileges(run: Run, without_net_admin: Dropping) -> None:
    """A program may give them up when it is listening."""

    async def main() -> None:
        async with await aio.start_server(echo, "127.0.0.1", settings=INSECURE) as server:
            with without_net_admin():
                assert await ask(server.sockets[0].getsockname()) == b"echo"

    run(main())


def test_an_accepted_socket_that_cannot_be_secured_is_closed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def __init__(self, listener: socket.socket) -> None:
            pass

        def protect(self, sock: socket.socket) -> None:
            raise SecurityError("no", winsock=Winsock.WSAENOBUFS)

    monkeypatch.setattr(aio.server, "Acceptor", Failing)
    log: list[str] = []
    told: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        async with await aio.create_server(lambda: Record(log), "127.0.0.1", settings=INSECURE) as server:
            address = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(*address)
            # An end or a reset, according to what had arrived.
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()

    run(main())
    assert log == []
    assert [context["exception"].winsock for context in told] == [Winsock.WSAENOBUFS]
    assert "cannot be secured" in told[0]["message"]


def test_a_protocol_that_cannot_be_made(run: Run) -> None:
    """IPv4, where it is made behind the loop's back; otherwise it is the loop's affair."""
    told: list[dict[str, Any]] = []

    def factory() -> asyncio.Protocol:
        raise ZeroDivisionError

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        async with await aio.create_server(factory, "127.0.0.1", settings=INSECURE) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()

    run(main())
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]


def test_reuse_port_is_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="reuse_port: the port of a secured socket is exclusive"):
        run(aio.start_server(echo, "127.0.0.1", reuse_port=True))


@pytest.mark.parametrize("reuse", [False, True])
def test_reuse_address(run: Run, reuse: bool) -> None:
    """A port with old connections can be taken over, one with a listener cannot."""

    async def main() -> None:
        server = await aio.start_server(echo, "127.0.0.1", settings=INSECURE, reuse_address=reuse)
        host, port = server.sockets[0].getsockname()
        assert bool(server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) == reuse
        assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
        await ask((host, port))  # the server closes first: TIME_WAIT
        with pytest.raises(OSError, match="in use"):
            await aio.start_server(echo, host, port)
        server.close()
        await server.wait_closed()
        if reuse:
            async with await aio.start_server(echo, host, port):
                pass
        else:
            with pytest.raises(OSError, match="in use"):
                await aio.start_server(echo, host, port)

    run(main())


def test_all_sockets_or_none(run: Run) -> None:
    """What was made before the failure is closed; see also the check after each test."""

    async def main() -> None:
        with socket.socket(socket.AF_INET6) as taken:
            taken.bind(("::1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(OSError, match="in use"):
                await aio.start_server(echo, ["127.0.0.1", "::1"], port)
            with socket.socket() as free:
                free.bind(("127.0.0.1", port))

    run(main())


def test_a_listener_that_cannot_be_secured(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(sock: socket.socket, settings: Any) -> None:
        raise SecurityError("no", winsock=Winsock.WSAEACCES)

    monkeypatch.setattr(_wsasec, "secure", fail)
    with pytest.raises(SecurityError, match="no"):
        run(aio.start_server(echo, "127.0.0.1"))


def test_a_kernel_without_ipv6(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = aio.server._listener

    def without(info: Any, settings: Any, **more: Any) -> socket.socket:
        if info[0] == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no such family")
        return listener(info, settings, **more)

    monkeypatch.setattr(aio.server, "_listener", without)

    async def main() -> None:
        async with await aio.start_server(echo) as server:
            assert [sock.family for sock in server.sockets] == [socket.AF_INET]
        with pytest.raises(OSError, match="no such family"):
            await aio.start_server(echo, "::1")

    run(main())


def test_start_serving_later(run: Run) -> None:
    async def main() -> None:
        server = await aio.start_server(echo, ["127.0.0.1", "::1"], settings=INSECURE, start_serving=False)
        assert not server.is_serving()
        await server.start_serving()
        for sock in server.sockets:
            assert await ask(sock.getsockname()) == b"echo"
        server.close()
        await server.wait_closed()

    run(main())


def test_serve_forever(run: Run) -> None:
    async def main() -> None:
        server = await aio.start_server(echo, ["127.0.0.1", "::1"], settings=INSECURE, start_serving=False)
        task = asyncio.create_task(server.serve_forever())
        async with asyncio.timeout(20):
            while not server.is_serving():
                await asyncio.sleep(0.001)
        assert await ask(server.sockets[1].getsockname()) == b"echo"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not server.sockets

    run(main())


if sys.version_info >= (3, 13):  # asyncio.Server has it from there on

    def test_close_clients() -> None:
        async def main() -> None:
            log: list[str] = []
            async with await aio.create_server(lambda: Record(log), "127.0.0.1", settings=INSECURE) as server:
                for close in (server.close_clients, server.abort_clients):
                    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                    async with asyncio.timeout(20):
                        while log[-1:] != ["made"]:
                            await asyncio.sleep(0.001)
                    close()
                    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                        await reader.readexactly(1)
                    writer.close()

        asyncio.run(main())


def test_nothing_refers_to_a_closed_server(run: Run) -> None:
    async def main() -> None:
        async with await aio.start_server(echo, "127.0.0.1"):
            pass

    run(main())
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is aio.Server]
