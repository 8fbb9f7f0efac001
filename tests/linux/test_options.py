"""socket_options: the same protection through libraries that make their own sockets."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import requests
import urllib3
from urllib3.connection import HTTPConnection

import wsasec
from wsasec import (
    IpsecFlags,
    IpsecSettings,
    SecurityError,
    SecurityFlags,
    Settings,
    Winsock,
    _wsasec,
    profiles,
)

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
families = pytest.mark.parametrize(("family", "host"), FAMILIES, ids=["v4", "v6"])


@families
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_they_secure_a_socket(family: int, host: str, kind: int) -> None:
    options = wsasec.socket_options(family=family)
    assert _wsasec.guard_state("default", family) == 0
    with socket.socket(family, kind) as sock:
        for level, name, value in options:
            assert isinstance(value, bytes)
            sock.setsockopt(level, name, value)
        with pytest.raises(SecurityError, match="already"):
            wsasec.secure(sock)
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.connect((host, 9))
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == profiles.DEFAULT.mark


@families
def test_the_wrong_family_fails(family: int, host: str) -> None:
    """A policy of another family would be taken and protect nothing: so the option itself must fail."""
    other = socket.AF_INET6 if family == socket.AF_INET else socket.AF_INET
    failed = []
    with socket.socket(other) as sock:
        for option in wsasec.socket_options(family=family):
            try:
                sock.setsockopt(*option)
            except OSError as error:
                failed.append(error.errno)
    # Both policies; of an IPv6 list the one for IPV6_V6ONLY, too.
    assert len(failed) >= 2
    assert set(failed) <= {errno.EOPNOTSUPP, errno.ENOPROTOOPT}


def test_settings() -> None:
    full = wsasec.socket_options(family=socket.AF_INET)
    insecure = wsasec.socket_options(Settings(SecurityFlags.ALLOW_INSECURE), family=socket.AF_INET)
    skip = wsasec.socket_options(
        IpsecSettings(ipsec_flags=IpsecFlags.SKIP_FILTER_INSTANTIATION), family=socket.AF_INET
    )
    assert (len(full), len(insecure), len(skip)) == (4, 3, 1)
    assert len(wsasec.socket_options(family=socket.AF_INET6)) == 5


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener in clear, which must never see a connection."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.accept()


def test_urllib3(listener: socket.socket) -> None:
    options = HTTPConnection.default_socket_options + wsasec.socket_options(family=socket.AF_INET)
    with (
        urllib3.HTTPConnectionPool("127.0.0.1", listener.getsockname()[1], socket_options=options) as pool,
        pytest.raises(urllib3.exceptions.NewConnectionError),
    ):
        pool.request("GET", "/", retries=False, timeout=1)


def test_requests(listener: socket.socket) -> None:
    class Secured(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *arguments: object, **more: object) -> None:
            super().init_poolmanager(
                *arguments, **more, socket_options=wsasec.socket_options(family=socket.AF_INET)
            )

    with requests.Session() as session:
        session.trust_env = False  # no proxy between
        session.mount("http://", Secured())
        with pytest.raises(requests.exceptions.ConnectionError):
            session.get(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=1)


def test_aiohttp(listener: socket.socket) -> None:
    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, proto, *_ = info
        sock = socket.socket(family, kind, proto)
        for option in wsasec.socket_options(family=family):
            sock.setsockopt(*option)
        return sock

    async def main() -> None:
        connector = aiohttp.TCPConnector(socket_factory=make)
        async with aiohttp.ClientSession(connector=connector) as session:
            with pytest.raises((aiohttp.ClientError, TimeoutError)):
                await session.get(
                    f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=aiohttp.ClientTimeout(total=0.3)
                )

    asyncio.run(main())


@pytest.mark.parametrize("family", [0, socket.AF_UNIX, 99, -1])
def test_bad_family(family: int) -> None:
    with pytest.raises(SecurityError) as caught:
        wsasec.socket_options(family=family)
    assert caught.value.winsock is Winsock.WSAEINVAL
    with pytest.raises(TypeError):
        wsasec.socket_options(family="x")
    with pytest.raises(TypeError):
        wsasec.socket_options()
