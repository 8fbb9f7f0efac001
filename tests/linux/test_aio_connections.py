"""Connections where there is no SA: every address tried, nothing sent, nothing left."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

import wsasec
from wsasec import SecurityError, Winsock, _wsasec, aio
from wsasec.lab import Namespace
from wsasec.settings import Settings

Run = Callable[[Coroutine[Any, Any, Any]], Any]

# The first of its loops makes a pipe that stays for the life of the process.
uvloop.new_event_loop().close()

PORT = 9
# uvloop's timers count whole milliseconds, from a clock that it reads once a round.
TICK = 0.002


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine to its end in a loop of this kind, a minute at the most."""

    async def in_time(main: Coroutine[Any, Any, Any]) -> Any:
        async with asyncio.timeout(60):
            return await main

    return lambda main: request.param(in_time(main))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names that the loop's lookup knows, in the order in which it is to give their addresses."""
    known: dict[str, list[str]] = {}

    async def look_up(
        loop: asyncio.AbstractEventLoop, host: str, port: int, *, family: int = 0, **more: Any
    ) -> list[Any]:
        found = []
        for address in known.get(host, [host]):
            if family == socket.AF_INET and ":" in address:
                continue
            found += socket.getaddrinfo(address, port, family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        return found

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", look_up)
    return known


def made_by(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Return the list that every socket secured from now on gets into."""
    made: list[socket.socket] = []

    def secure(sock: socket.socket, settings: Any = None) -> None:
        assert sock.getsockname()[1] == 0, "it is bound already"
        wsasec.secure(sock, settings)
        made.append(sock)

    monkeypatch.setattr(_wsasec, "secure", secure)
    return made


async def plain_server(host: str, family: int = 0) -> tuple[asyncio.AbstractServer, int]:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), host, 0, family=family)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_no_association(run: Run, host: str) -> None:
    async def main() -> None:
        start = time.monotonic()
        with pytest.raises(SecurityError, match="no security association") as caught:
            await aio.open_connection(host, PORT, timeout=0.2)
        assert time.monotonic() - start >= 0.2 - TICK
        assert caught.value.winsock is Winsock.WSAETIMEDOUT
        with pytest.raises(SecurityError, match="no security association"):
            await aio.create_connection(asyncio.Protocol, host, PORT, timeout=0.05)

    run(main())


def test_nothing_arrives_at_a_plain_server(run: Run) -> None:
    """It would take the connection, were the socket not secured."""

    async def main() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            listener.setblocking(False)
            with pytest.raises(SecurityError):
                await aio.open_connection(*listener.getsockname(), timeout=0.1)
            with pytest.raises(BlockingIOError):
                listener.accept()

    run(main())


def test_all_addresses_are_tried(names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_by(monkeypatch)
    names["both"] = ["::1", "127.0.0.1", "127.0.0.2"]

    async def main() -> None:
        with pytest.raises(SecurityError, match=r"with ::1") as caught:
            await aio.open_connection("both", PORT, timeout=0.2, happy_eyeballs_delay=0.01)
        notes = caught.value.__notes__
        assert len(notes) == 2
        assert "127.0.0.1" in notes[0]
        assert "127.0.0.2" in notes[1]

    asyncio.run(main())
    assert [sock.family for sock in made] == [socket.AF_INET6, socket.AF_INET, socket.AF_INET]
    assert [sock.fileno() for sock in made] == [-1] * 3


def test_an_address_that_waits_does_not_keep_the_next(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has no association, the second (not secured, for the test) answers: it wins."""
    monkeypatch.setattr(
        _wsasec, "secure", lambda sock, _: sock.family == socket.AF_INET6 and wsasec.secure(sock)
    )
    names["both"] = ["::1", "127.0.0.1"]

    async def main() -> None:
        server, port = await plain_server("127.0.0.1")
        reader, writer = await aio.open_connection("both", port, timeout=20)
        assert writer.get_extra_info("peername")[0] == "127.0.0.1"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_a_refusal_lets_the_next_begin_at_once(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_wsasec, "secure", lambda sock, settings: None)
    names["both"] = ["::1", "127.0.0.1"]

    async def main() -> None:
        server, port = await plain_server("127.0.0.1")
        # The delay is longer than the time-out: only the refusal by ::1 can start the second.
        _, writer = await aio.open_connection("both", port, timeout=20, happy_eyeballs_delay=100)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_one_family_only(names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_by(monkeypatch)
    names["both"] = ["::1", "127.0.0.1"]

    async def main() -> None:
        with pytest.raises(SecurityError, match=r"with 127\.0\.0\.1"):
            await aio.open_connection("both", PORT, timeout=0.05, family=socket.AF_INET)

    asyncio.run(main())
    assert [sock.family for sock in made] == [socket.AF_INET]


def test_local_address(run: Run, monkeypatch: pytest.MonkeyPatch, realm: Namespace) -> None:
    """Secured first, then bound, then connected from there."""
    seen = []

    async def connect(sock: socket.socket, address: Any, deadline: float) -> None:
        seen.append((sock.getsockname(), address))
        raise ConnectionRefusedError(errno.ECONNREFUSED, "as told")

    made = made_by(monkeypatch)
    monkeypatch.setattr(aio.connections, "connect_resolved", connect)

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await aio.open_connection("127.0.0.1", PORT, local_addr=("127.0.0.5", 4711))
        with pytest.raises(OSError, match="no local address"):
            await aio.open_connection("127.0.0.1", PORT, local_addr=("::1", 0))
        with pytest.raises(OSError, match="assign") as caught:
            await aio.open_connection("127.0.0.1", PORT, local_addr=("192.0.2.1", 0))
        assert caught.value.errno == errno.EADDRNOTAVAIL

    run(main())
    assert seen == [(("127.0.0.5", 4711), ("127.0.0.1", PORT))]
    assert [sock.fileno() for sock in made] == [-1] * 3


def test_settings_are_used(run: Run) -> None:
    """ALLOW_INSECURE falls back to clear where there is no association: only so it can connect here."""

    async def main() -> None:
        server, port = await plain_server("127.0.0.1")
        settings = Settings(wsasec.SecurityFlags.ALLOW_INSECURE)
        reader, writer = await aio.open_connection("127.0.0.1", port, settings=settings, timeout=20)
        assert await reader.read() == b""
        assert _wsasec.profile_of(writer.get_extra_info("socket").fileno()) == "default"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


def test_a_socket_that_cannot_be_secured_sends_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(sock: socket.socket, settings: Any) -> None:
        raise SecurityError("no", winsock=Winsock.WSAEACCES)

    monkeypatch.setattr(_wsasec, "secure", fail)
    monkeypatch.setattr(aio.connections, "connect_resolved", None)

    async def main() -> None:
        with pytest.raises(SecurityError, match="no"):
            await aio.open_connection("127.0.0.1", PORT)

    run(main())


def test_cancelled(run: Run, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_by(monkeypatch)
    names["both"] = ["::1", "127.0.0.1"]

    async def main(host: str) -> None:
        task = asyncio.create_task(aio.open_connection(host, PORT, happy_eyeballs_delay=0.001))
        async with asyncio.timeout(20):
            while len(asyncio.all_tasks()) < 2 or len(made) < (2 if host == "both" else 1):
                await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(sock.fileno() == -1 for sock in made)
        assert not aio.waiting._rooms[asyncio.get_running_loop()].groups

    run(main("127.0.0.1"))
    made.clear()
    asyncio.run(main("both"))


def test_a_protocol_that_cannot_be_made(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_wsasec, "secure", lambda sock, settings: None)

    async def main() -> None:
        server, port = await plain_server("127.0.0.1")

        def factory() -> asyncio.Protocol:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await aio.create_connection(factory, "127.0.0.1", port)
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.parametrize("closed", [False, True])
def test_a_loop_that_closes_the_descriptor_behind_its_socket(
    monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    """As uvloop did: by the time of the clean-up the number is another's, who keeps it."""
    monkeypatch.setattr(_wsasec, "secure", lambda sock, settings: None)
    taken: list[socket.socket] = []

    async def main() -> None:
        async def fail(factory: Any, *, sock: socket.socket) -> None:
            taken.append(sock)
            if closed:
                number = sock.fileno()
                os.close(number)
                taken.append(socket.socket())
                assert taken[1].fileno() == number
            raise asyncio.CancelledError

        server, port = await plain_server("127.0.0.1")
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", fail, raising=False)
        with pytest.raises(asyncio.CancelledError):
            await aio.create_connection(asyncio.Protocol, "127.0.0.1", port)
        server.close()
        await server.wait_closed()

    asyncio.run(main())
    assert taken[0].fileno() == -1
    for other in taken[1:]:
        other.getsockname()
        other.close()


def test_cancelled_while_the_losers_end() -> None:
    """Nobody gets the socket that had won: it is closed."""
    with socket.socket() as won:

        async def win() -> socket.socket:
            return won

        async def lose(ending: asyncio.Event, may_end: asyncio.Event) -> socket.socket:
            try:
                await asyncio.sleep(60)
            finally:
                ending.set()
                await may_end.wait()
            raise AssertionError

        async def main() -> None:
            ending, may_end = asyncio.Event(), asyncio.Event()
            # The loser starts first.
            race = asyncio.create_task(aio.connections._race([lose(ending, may_end), win()], 0.001))
            async with asyncio.timeout(20):
                await ending.wait()
                race.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await race
                may_end.set()

        asyncio.run(main())
        assert won.fileno() == -1


def test_no_such_name(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(socket.gaierror):
            await aio.open_connection("127.0.0.1", "no such service")

    run(main())


@pytest.mark.parametrize(
    ("timeout", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (None, TypeError)]
)
def test_bad_timeouts(run: Run, timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        run(aio.open_connection("127.0.0.1", PORT, timeout=timeout))


def test_lookups_of_numbers_take_no_thread() -> None:
    """Thousands may connect at once."""

    async def main() -> None:
        with socket.socket() as sock:
            wsasec.secure(sock)
            sock.setblocking(False)
            with pytest.raises(SecurityError):
                await aio.connect(sock, ("127.0.0.1", PORT), 0.05)
        assert threading.active_count() == before

    before = threading.active_count()
    asyncio.run(main())
