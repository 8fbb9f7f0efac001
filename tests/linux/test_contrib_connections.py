"""Blocking libraries' connections where there is no SA: every address tried, nothing sent, nothing left."""

from __future__ import annotations

import errno
import math
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

import wsasec
from wsasec import SecurityError, Winsock, _wsasec
from wsasec.contrib import connections
from wsasec.contrib.connections import create_connection
from wsasec.contrib.urllib3 import SecuredPoolManager
from wsasec.settings import Settings

INSECURE = Settings(wsasec.SecurityFlags.ALLOW_INSECURE)
"""Falls back to clear where there is no association: only so there are connections here."""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener in clear."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        sock.setblocking(False)
        yield sock


def untouched(listener: socket.socket) -> bool:
    try:
        listener.accept()
    except BlockingIOError:
        return True
    return False


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names that have the addresses that are put here, in this order."""
    known: dict[str, list[str]] = {}
    look_up = socket.getaddrinfo

    def known_first(host: str, port: int, **more: Any) -> list[Any]:
        return [info for address in known.get(host, [host]) for info in look_up(address, port, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", known_first)
    return known


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]"])
def test_no_association(host: str) -> None:
    with pytest.raises(SecurityError, match="no security association") as caught:
        create_connection((host, 9), 0.1)
    assert caught.value.winsock is Winsock.WSAETIMEDOUT


def test_nothing_is_sent(listener: socket.socket) -> None:
    with pytest.raises(SecurityError):
        create_connection(listener.getsockname(), 0.1)
    assert untouched(listener)


def test_each_address_has_its_share(names: dict[str, list[str]]) -> None:
    names["both"] = ["::1", "127.0.0.1"]
    start = time.monotonic()
    with pytest.raises(SecurityError, match="::1") as caught:
        create_connection(("both", 9), 0.2)
    assert time.monotonic() - start >= 0.2
    assert len(caught.value.__notes__) == 1
    assert "127.0.0.1" in caught.value.__notes__[0]


def test_the_next_address(names: dict[str, list[str]], listener: socket.socket) -> None:
    """The first refuses; not secured, so that it can."""
    names["both"] = ["::1", "127.0.0.1"]
    with create_connection(("both", listener.getsockname()[1]), 20, settings=INSECURE) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert sock.gettimeout() == 20
        assert _wsasec.profile_of(sock) == "default"


def test_a_system_without_ipv6(
    names: dict[str, list[str]], listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may find addresses of it all the same: the next one's turn."""

    class Without(socket.socket):
        def __init__(self, family: int = -1, *more: Any, **others: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "no such family")
            super().__init__(family, *more, **others)

    names["both"] = ["::1", "127.0.0.1"]
    names["six"] = ["::1"]
    monkeypatch.setattr(socket, "socket", Without)
    with create_connection(("both", listener.getsockname()[1]), 20, settings=INSECURE) as sock:
        assert sock.getpeername() == listener.getsockname()
    with pytest.raises(OSError, match="no such family"):
        create_connection(("six", 9), 20)


def test_without_end(listener: socket.socket) -> None:
    """Longer than the time-out of a socket can be."""
    with create_connection(listener.getsockname(), math.inf, settings=INSECURE) as sock:
        assert sock.gettimeout() is None


def test_source_address_and_options(listener: socket.socket) -> None:
    with create_connection(
        listener.getsockname(),
        source_address=("127.0.0.7", 0),
        settings=INSECURE,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    ) as sock:
        assert sock.getsockname()[0] == "127.0.0.7"
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.gettimeout() is None


def test_not_secured_not_connected(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(sock: socket.socket, settings: Any) -> None:
        raise SecurityError("no", winsock=Winsock.WSAEACCES)

    monkeypatch.setattr(connections, "secure", fail)
    with pytest.raises(SecurityError, match="no") as caught:
        create_connection(listener.getsockname(), 1)
    assert caught.value.errno == errno.EACCES
    assert untouched(listener)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_urllib3(listener: socket.socket, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/"
    with SecuredPoolManager(retries=False) as pools:
        with pytest.raises(urllib3.exceptions.NewConnectionError, match="no security association"):
            pools.request("GET", url, timeout=0.1)
        assert untouched(listener)


def test_urllib3_with_settings(listener: socket.socket) -> None:
    with SecuredPoolManager(settings=INSECURE, retries=False) as pools:
        assert pools.settings is INSECURE
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            pools.request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.1)
        assert not untouched(listener)


def test_urllib3_no_such_name(names: dict[str, list[str]]) -> None:
    with (
        SecuredPoolManager(retries=False) as pools,
        pytest.raises(urllib3.exceptions.NameResolutionError),
    ):
        pools.request("GET", "http://no.such.name.invalid/", timeout=5)
