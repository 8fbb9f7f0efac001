"""asyncio on Windows: overlapped calls that the Proactor loop waits for, connections and servers."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from double import STATUS_CONNECTION_RESET, Double, Function, Given, Mode

import wsasec
from wsasec import IpsecSettings, SecurityError, Winsock, _wsasec, aio

SET = Function.WSASetSocketSecurity


@pytest.mark.parametrize("mode", [Mode.AT_ONCE, Mode.DELAYED, Mode.RANDOM])
def test_secure(double: Double, mode: Mode) -> None:
    double.overlap(SET, mode, delay=0.02)
    settings = IpsecSettings(user_name="somebody", password="a secret")

    async def main() -> None:
        with socket.socket() as sock:
            await aio.secure(sock, settings)
            [call] = double.calls
            assert (call.socket, call.data) == (sock.fileno(), bytes(settings))
            assert call.given == Given.INPUT | Given.OVERLAPPED

    asyncio.run(main())


def test_many_at_a_time(double: Double) -> None:
    double.overlap(SET, Mode.RANDOM, delay=0.05)

    async def main() -> None:
        socks = [socket.socket() for _ in range(200)]
        await asyncio.gather(*(aio.secure(sock) for sock in socks))
        assert [call.socket for call in double.calls] == [sock.fileno() for sock in socks]
        for sock in socks:
            sock.close()

    asyncio.run(main())


def test_failure(double: Double) -> None:
    double.overlap(SET, Mode.DELAYED, delay=0.01, status=STATUS_CONNECTION_RESET)

    async def main() -> None:
        with socket.socket() as sock:
            with pytest.raises(SecurityError) as caught:
                await aio.secure(sock)
            assert caught.value.winsock == Winsock.WSAECONNRESET
            assert caught.value.socket == sock.fileno()

    asyncio.run(main())


def test_refused_at_once(double: Double) -> None:
    double.fail(SET, Winsock.WSAEACCES)

    async def main() -> None:
        kept = asyncio.get_running_loop()._proactor._cache  # type: ignore[attr-defined]
        before = len(kept)
        with socket.socket() as sock:
            with pytest.raises(SecurityError) as caught:
                await aio.secure(sock)
            assert caught.value.winsock == Winsock.WSAEACCES
        assert len(kept) == before

    asyncio.run(main())


def test_deadline(double: Double) -> None:
    double.overlap(SET, Mode.NEVER)

    async def main() -> None:
        with socket.socket() as sock, pytest.raises(TimeoutError, match="WSASetSocketSecurity"):
            await aio.secure(sock, timeout=0.1)

    asyncio.run(main())


def test_cancelled(double: Double) -> None:
    double.overlap(SET, Mode.NEVER)

    async def main() -> None:
        with socket.socket() as sock:
            task = asyncio.create_task(aio.secure(sock))
            while not double.count:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_interrupted_as_soon_as_it_is_begun(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Windows may write is kept by the loop, wherever Ctrl-C comes in."""
    double.overlap(SET, Mode.DELAYED, delay=0.05)
    begin = _wsasec.overlapped_begin

    def interrupted(*arguments: Any) -> bool:
        assert begin(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(_wsasec, "overlapped_begin", interrupted)
    loop = asyncio.ProactorEventLoop()  # type: ignore[attr-defined]
    with socket.socket() as sock:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(aio.secure(sock))
        kept = [entry[2] for entry in loop._proactor._cache.values()]
        assert sock in kept
        loop.close()  # waits for it
    assert double.count == 1


def test_loop_ends_while_it_is_under_way(double: Double) -> None:
    double.overlap(SET, Mode.NEVER)
    loop = asyncio.ProactorEventLoop()  # type: ignore[attr-defined]
    sock = socket.socket()
    task = loop.create_task(aio.secure(sock))
    loop.run_until_complete(asyncio.sleep(0.05))
    assert double.count == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
    sock.close()


def test_selector_loop(double: Double) -> None:
    async def main() -> None:
        with socket.socket() as sock:
            await aio.secure(sock)
            [call] = double.calls
            assert call.socket == sock.fileno()
            assert Given.OVERLAPPED not in call.given

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())


@pytest.mark.parametrize("factory", ["ProactorEventLoop", "SelectorEventLoop"])
def test_echo(double: Double, factory: str) -> None:
    """Client and server, both secured before anything else is done with their sockets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        server = await aio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            for _ in range(3):
                reader, writer = await aio.open_connection("127.0.0.1", port)
                writer.write(b"hello\n")
                assert await reader.readline() == b"hello\n"
                writer.close()
                await writer.wait_closed()
        calls = double.calls_of(SET)
        assert len(calls) == 4
        # Neither blocks the loop.
        overlapped = [Given.OVERLAPPED in call.given for call in calls]
        assert overlapped == [factory == "ProactorEventLoop"] * 4

    with asyncio.Runner(loop_factory=getattr(asyncio, factory)) as runner:
        runner.run(main())


def test_a_connection_that_is_not_secured_in_time(double: Double) -> None:
    double.overlap(SET, Mode.NEVER)

    async def main() -> None:
        with pytest.raises(TimeoutError, match="WSASetSocketSecurity"):
            await aio.open_connection("127.0.0.1", 9, timeout=0.1)

    asyncio.run(main())
    assert double.count == 1


def test_connect_waits_for_no_association(double: Double) -> None:
    """Windows negotiates while it connects: what it says is passed on."""

    async def main() -> None:
        with socket.socket() as sock:
            sock.setblocking(False)
            wsasec.secure(sock)
            with pytest.raises(ConnectionRefusedError):
                await aio.connect(sock, ("127.0.0.1", 9), timeout=20)

    asyncio.run(main())
