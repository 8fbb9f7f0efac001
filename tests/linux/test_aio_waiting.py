"""The wait for associations, shared: what is tried, how often, and who follows whom."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import uvloop

import wsasec
from wsasec import SecurityError, aio
from wsasec.aio import waiting

Run = Callable[[Coroutine[Any, Any, Any]], Any]

# The first of its loops makes a pipe that stays for the life of the process.
uvloop.new_event_loop().close()

MANY = 10_000


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine to its end in a loop of this kind, in two minutes at the most."""

    async def in_time(main: Coroutine[Any, Any, Any]) -> Any:
        async with asyncio.timeout(120):
            return await main

    return lambda main: request.param(in_time(main))


class Told(socket.socket):
    """A socket whose connect() answers as it is told, and counts."""

    answer: int | BaseException = errno.EAGAIN
    attempts = 0

    def connect_ex(self, address: Any) -> int:
        self.attempts += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def told() -> Iterator[Callable[[int], list[Told]]]:
    with ExitStack() as stack:

        def make(count: int) -> list[Told]:
            return [stack.enter_context(Told(socket.AF_INET, socket.SOCK_STREAM)) for _ in range(count)]

        yield make


def wait(sock: Told, host: str = "192.0.2.1", seconds: float = 30.0) -> asyncio.Task[int]:
    return asyncio.ensure_future(waiting.wait_for_association(sock, (host, 9), time.monotonic() + seconds))


def room() -> waiting._Room:
    return waiting._rooms[asyncio.get_running_loop()]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def test_all_follow_the_first_that_gets_through(run: Run, told: Callable[[int], list[Told]]) -> None:
    async def main() -> None:
        socks = told(300)
        tasks = [wait(sock) for sock in socks]
        await until(lambda: sum(sock.attempts for sock in socks) > 8)
        assert len(room().groups) == 1
        for sock in socks:
            sock.answer = errno.EINPROGRESS
        assert set(await asyncio.gather(*tasks)) == {errno.EINPROGRESS}
        assert not room().groups
        assert room().waiting == 0

    run(main())


def test_few_try_for_all(run: Run, told: Callable[[int], list[Told]]) -> None:
    """In a batch's worth of rounds of the group, each of which tries a few."""

    async def main() -> None:
        socks = told(1000)
        tasks = [wait(sock) for sock in socks]
        rounds = 8
        await until(lambda: sum(sock.attempts for sock in socks) >= rounds * waiting._PROBES)
        # In turn: none has tried twice before all have tried once.
        assert max(sock.attempts for sock in socks) == 1
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert not room().groups

    run(main())


def test_one_that_gets_through_alone(run: Run, told: Callable[[int], list[Told]]) -> None:
    """An association may be for one port only: the others go on waiting, and are tried again."""

    async def main() -> None:
        socks = told(20)
        tasks = [wait(sock) for sock in socks]
        await asyncio.sleep(0)
        socks[13].answer = 0
        assert await tasks[13] == 0
        assert sum(task.done() for task in tasks) == 1
        before = [sock.attempts for sock in socks]
        await until(
            lambda: all(
                sock.attempts > old for sock, old in zip(socks, before, strict=True) if sock is not socks[13]
            )
        )
        for sock in socks:
            sock.answer = 0
        assert await asyncio.gather(*tasks) == [0] * 20

    run(main())


def test_hosts_wait_apart(run: Run, told: Callable[[int], list[Told]]) -> None:
    async def main() -> None:
        first, second = told(2)
        tasks = wait(first, "192.0.2.1"), wait(second, "192.0.2.2")
        await asyncio.sleep(0)
        assert len(room().groups) == 2
        second.answer = 0
        assert await tasks[1] == 0
        assert not tasks[0].done()
        tasks[0].cancel()
        await asyncio.wait(tasks)

    run(main())


def test_many_hosts_are_tried_more_seldom(run: Run, told: Callable[[int], list[Told]]) -> None:
    async def main() -> None:
        socks = told(500)
        tasks = [wait(sock, f"192.0.2.{number % 250}") for number, sock in enumerate(socks)]
        await asyncio.sleep(0)
        # 500 tries in each round of all groups.
        assert room().shortest_pause() == pytest.approx(500 / waiting._RATE)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert not room().groups

    run(main())


@pytest.mark.parametrize("error", [ZeroDivisionError(), OSError(errno.EBADF, "closed")], ids=repr)
def test_an_error_is_for_its_socket_alone(
    run: Run, told: Callable[[int], list[Told]], error: Exception
) -> None:
    async def main() -> None:
        first, second = told(2)
        tasks = wait(first), wait(second)
        await asyncio.sleep(0)
        first.answer = error
        with pytest.raises(type(error)):
            await tasks[0]
        assert not tasks[1].done()
        second.answer = 0
        assert await tasks[1] == 0

    run(main())


def test_the_deadline_is_each_ones_own(run: Run, told: Callable[[int], list[Told]]) -> None:
    async def main() -> None:
        first, second = told(2)
        tasks = wait(first, seconds=0.02), wait(second)
        assert await tasks[0] == errno.EAGAIN
        assert not tasks[1].done()
        assert room().waiting == 1
        tasks[1].cancel()
        await asyncio.wait(tasks)

    run(main())


def test_once_more_at_the_deadline(run: Run, told: Callable[[int], list[Told]]) -> None:
    async def main() -> None:
        (sock,) = told(1)
        task = wait(sock, seconds=0.0)
        sock.answer = 0
        assert await task == 0
        assert sock.attempts == 1

    run(main())


def test_a_group_that_ended_and_one_that_began(run: Run, told: Callable[[int], list[Told]]) -> None:
    """The end of a wait does not end another for the same host."""

    async def main() -> None:
        first, second = told(2)
        first.answer = 0
        one = wait(first)
        await until(lambda: not room().groups if first.attempts else False)
        two = wait(second)
        await asyncio.wait([one])
        await asyncio.sleep(0)
        assert len(room().groups) == 1
        second.answer = 0
        assert await two == 0

    run(main())


@pytest.fixture
def descriptors() -> Iterator[int]:
    """As many sockets as there may be here, at most MANY."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], MANY + 1000), before[1]))
    yield min(MANY, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.long
def test_ten_thousand_wait(run: Run, descriptors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, each to its deadline; what is left is seen after the test."""
    attempts = 0
    begin = waiting.begin_connect

    def counted(sock: socket.socket, address: Any) -> int:
        nonlocal attempts
        attempts += 1
        return begin(sock, address)

    monkeypatch.setattr(waiting, "begin_connect", counted)
    most = 0

    async def one(seconds: float) -> str | None:
        with pytest.raises(SecurityError, match="no security association") as caught:
            await aio.open_connection("127.0.0.1", 9, timeout=seconds)
        return caught.value.profile

    async def watch() -> None:
        nonlocal most
        while True:
            found = waiting._rooms.get(asyncio.get_running_loop())
            most = max(most, found.waiting if found else 0)
            await asyncio.sleep(0.05)

    async def main() -> list[str | None]:
        nonlocal attempts
        few = 200
        began = time.monotonic()
        first = [asyncio.ensure_future(one(60)) for _ in range(few)]
        loop = asyncio.get_running_loop()
        await until(lambda: loop in waiting._rooms and waiting._rooms[loop].waiting == few)
        each = (time.monotonic() - began) / few
        for task in first:
            task.cancel()
        await asyncio.wait(first)
        # Long enough that the first still waits when the last begins, on a slow machine, too.
        seconds = min(60.0, max(10.0, 3 * each * descriptors))
        attempts = 0
        watcher = asyncio.create_task(watch())
        found = await asyncio.gather(*(one(seconds) for _ in range(descriptors)))
        watcher.cancel()
        assert not room().groups
        return found

    with socket.socket() as sock:
        wsasec.secure(sock)  # what is made once: the guard
    assert run(main()) == ["default"] * descriptors
    assert most == descriptors
    # Each at its deadline, and a few for all: nothing like 200 a socket.
    assert attempts < 2 * descriptors
