"""connect() and its asyncio twin where there is no SA, and on plain sockets."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable

import pytest

import wsasec
from wsasec import SecurityError, Winsock
from wsasec.lab import Namespace

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
families = pytest.mark.parametrize(("family", "host"), FAMILIES, ids=["v4", "v6"])


def connect_sync(sock: socket.socket, address: object, timeout: float = 30.0) -> None:
    wsasec.connect(sock, address, timeout)


def connect_async(sock: socket.socket, address: object, timeout: float = 30.0) -> None:
    sock.setblocking(False)
    asyncio.run(wsasec.aio.connect(sock, address, timeout))


both = pytest.mark.parametrize("connect", [connect_sync, connect_async], ids=["sync", "asyncio"])


@both
@families
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_no_association(connect: Callable[..., None], family: int, host: str, kind: int) -> None:
    with socket.socket(family, kind) as sock:
        wsasec.secure(sock)
        start = time.monotonic()
        with pytest.raises(
            SecurityError, match=r"no security association with .*:9 in profile default"
        ) as caught:
            connect(sock, (host, 9), 0.2)
        assert 0.2 <= time.monotonic() - start < 5
        assert caught.value.winsock is Winsock.WSAETIMEDOUT
        assert host in str(caught.value)
        assert "ESP" in caught.value.hint
        assert caught.value.profile == "default"


@both
def test_no_time_at_all(connect: Callable[..., None]) -> None:
    with socket.socket() as sock:
        wsasec.secure(sock)
        with pytest.raises((SecurityError, TimeoutError)):
            connect(sock, ("127.0.0.1", 9), 0)


@both
@families
def test_plain_sockets(connect: Callable[..., None], family: int, host: str) -> None:
    with socket.socket(family) as listener, socket.socket(family) as sock:
        listener.bind((host, 0))
        listener.listen()
        connect(sock, listener.getsockname(), 5)
        assert sock.getpeername() == listener.getsockname()


@both
@families
def test_refused(connect: Callable[..., None], family: int, host: str) -> None:
    with socket.socket(family) as sock, pytest.raises(ConnectionRefusedError):
        connect(sock, (host, 9), 5)


@both
def test_no_answer(connect: Callable[..., None], realm: Namespace) -> None:
    realm.run(["ip", "link", "add", "hole", "type", "veth", "peer", "name", "bottom"])
    realm.run(["ip", "link", "set", "hole", "up"])
    realm.run(["ip", "address", "add", "192.0.2.2/24", "dev", "hole"])
    realm.run(["ip", "neighbour", "add", "192.0.2.1", "lladdr", "02:00:00:00:00:01", "dev", "hole"])
    with socket.socket() as sock, pytest.raises(TimeoutError) as caught:
        connect(sock, ("192.0.2.1", 9), 0.2)
    assert caught.value.errno == errno.ETIMEDOUT


@both
def test_unreachable(connect: Callable[..., None]) -> None:
    with socket.socket() as sock:
        wsasec.secure(sock)
        with pytest.raises(OSError, match="unreachable") as caught:
            connect(sock, ("192.0.2.1", 9), 5)
        assert caught.value.errno == errno.ENETUNREACH


@pytest.mark.parametrize("before", [None, 7.5, 0.0])
def test_the_time_out_of_the_socket_is_kept(before: float | None) -> None:
    with socket.socket() as sock:
        wsasec.secure(sock)
        sock.settimeout(before)
        with pytest.raises(SecurityError):
            wsasec.connect(sock, ("127.0.0.1", 9), 0.05)
        assert sock.gettimeout() == before


@both
@pytest.mark.parametrize(
    ("timeout", "error"),
    [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (None, TypeError), (True, TypeError)],
)
def test_bad_timeouts(connect: Callable[..., None], timeout: object, error: type[Exception]) -> None:
    with socket.socket() as sock, pytest.raises(error):
        connect(sock, ("127.0.0.1", 9), timeout)


def test_asyncio_wants_a_non_blocking_socket() -> None:
    with socket.socket() as sock, pytest.raises(ValueError, match="non-blocking"):
        asyncio.run(wsasec.aio.connect(sock, ("127.0.0.1", 9)))


def test_asyncio_can_be_cancelled() -> None:
    async def main() -> None:
        with socket.socket() as sock:
            wsasec.secure(sock)
            sock.setblocking(False)
            task = asyncio.create_task(wsasec.aio.connect(sock, ("127.0.0.1", 9)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_many_wait_at_once() -> None:
    """The loop is not blocked: 50 waits of 0.2 s take little more than one."""

    async def one() -> None:
        with socket.socket() as sock:
            wsasec.secure(sock)
            sock.setblocking(False)
            with pytest.raises(SecurityError):
                await wsasec.aio.connect(sock, ("127.0.0.1", 9), 0.2)

    async def main() -> None:
        await asyncio.gather(*(one() for _ in range(50)))

    start = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - start < 5  # one after the other would be 10
