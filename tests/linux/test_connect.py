"""connect() and its asyncio twin where there is no SA, and on plain sockets."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import threading
import time
from collections.abc import Callable

import pytest
from wire import wait_for_address

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
@pytest.mark.parametrize("timeout", [math.inf, 30 * 86400])
def test_as_long_as_it_takes(connect: Callable[..., None], timeout: float) -> None:
    """Longer than the milliseconds of poll() can say; it does wait."""
    with socket.socket() as listener, socket.socket() as sock, socket.socket() as other:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        other.connect(address)  # the queue is full: SYNs are dropped until somebody accepts
        accepted = []
        late = threading.Timer(0.2, lambda: accepted.extend(listener.accept()[:1]))
        late.start()
        connect(sock, address, timeout)
        late.join()
        assert sock.getpeername() == address
        accepted[0].close()


def test_a_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = []
    look_up = socket.getaddrinfo

    def count(host: str, *more: object, **others: object) -> object:
        looked_up.append(host)
        return look_up("127.0.0.1" if host == "no.such.name" else host, *more, **others)

    monkeypatch.setattr(socket, "getaddrinfo", count)
    with socket.socket() as sock:
        wsasec.secure(sock)
        with pytest.raises(SecurityError, match=r"no security association with no\.such\.name:9"):
            wsasec.connect(sock, ("no.such.name", 9), 0.05)
    assert looked_up == ["no.such.name"]


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, ("127.0.0.1",)),
        (socket.AF_INET, ("localhost", 9)),
        (socket.AF_INET, ("127.1", 9)),
        (socket.AF_INET, ("0x7f000001", 9)),
        (socket.AF_INET, ("", 9)),
        (socket.AF_INET, ("<broadcast>", 9)),
        (socket.AF_INET, ("::1", 9)),
        (socket.AF_INET, (b"127.0.0.1", 9)),
        (socket.AF_INET, ("127.0.0.1", "9")),
        (socket.AF_INET, ("127.0.0.1", 70000)),
        (socket.AF_INET, ("127.0.0.1", 9, 0, 0)),
        (socket.AF_INET, (None, 9)),
        (socket.AF_INET, ()),
        (socket.AF_INET, ["127.0.0.1", 9]),
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, ("no.such.name.invalid", 9)),
        (socket.AF_INET6, ("::1", 9)),
        (socket.AF_INET6, ("::1", 9, 0)),
        (socket.AF_INET6, ("::1", 9, 0, 0)),
        (socket.AF_INET6, ("::1", 9, 0, 0, 0)),
        (socket.AF_INET6, ("::1", 9, 1 << 20)),
        (socket.AF_INET6, ("fe80::1", 9, 0, 1)),
        (socket.AF_INET6, ("fe80::1%lo", 9, 0, 1)),
        (socket.AF_INET6, ("127.0.0.1", 9)),
        (socket.AF_INET6, ("", 9)),
        (socket.AF_UNIX, "/no/such/socket"),
        (socket.AF_UNIX, ("::1", 9)),
    ],
    ids=repr,
)
def test_addresses_are_as_for_the_socket_module(family: int, address: object) -> None:
    """The same error, of the same class, where nobody listens."""
    told = []
    for connect in (socket.socket.connect, wsasec.connect):
        with socket.socket(family) as sock, pytest.raises(Exception) as caught:
            connect(sock, address)
        text = str(caught.value).replace("connect_ex()", "connect()")
        told.append((caught.type, getattr(caught.value, "errno", text)))
    assert told[0] == told[1]


def test_a_scope_in_the_address(realm: Namespace) -> None:
    realm.run(["ip", "address", "add", "fe80::7/64", "dev", "lo", "nodad"])
    wait_for_address(realm, "fe80::7")
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(("fe80::7", 0, 0, socket.if_nametoindex("lo")))
        listener.listen()
        host, port, _, scope = listener.getsockname()
        for address in ("fe80::7%lo", port), ("fe80::7%1", port), (host, port, 0, scope):
            with socket.socket(socket.AF_INET6) as sock:
                wsasec.connect(sock, address)
                assert sock.getpeername()[1:] == (port, 0, scope)


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
