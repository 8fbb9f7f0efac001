"""The real fwpuclnt.dll, on the host's own addresses, with the default policy.

Never run yet: there was no Windows. What is checked is what the Windows documentation says, and no more: a
call succeeds, or fails with a code that is documented for it; what it leaves of a socket; and that nothing
that was secured speaks in clear. Whether IPsec is negotiated with the host itself is the policy's affair:
both are right.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

import pytest

import wsasec
from wsasec import SecurityError, SecurityFlags, Settings, Winsock

pytestmark = pytest.mark.real

SECONDS = 20.0

# What src/windows has words for: WSAEACCES and WSAENETDOWN are what a Windows without the services (IKEEXT,
# BFE), or a user without the right to use them, has for an answer.
REFUSED = {
    Winsock.WSAEACCES,
    Winsock.WSAEAFNOSUPPORT,
    Winsock.WSAEINVAL,
    Winsock.WSAENETDOWN,
    Winsock.WSAENOBUFS,
    Winsock.WSAEOPNOTSUPP,
}
QUERY_REFUSED = REFUSED | {
    Winsock.WSAECONNRESET,
    Winsock.WSAEFAULT,
    Winsock.WSAEMSGSIZE,
    Winsock.WSAENOTCONN,
}


def lack() -> str:
    """Say why these cannot run here; an empty string where they can."""
    import ctypes

    if sys.platform != "win32":
        return "not on Windows"
    if hasattr(ctypes.WinDLL("ntdll.dll"), "wine_get_version"):
        return "Wine is not Windows"
    if os.environ.get("WSASEC_REAL_WINDOWS") != "1":
        return "sockets of this Windows are not secured without WSASEC_REAL_WINDOWS=1"
    return ""


@pytest.fixture(autouse=True)
def real() -> None:
    if why := lack():
        pytest.skip(why)


def own_address() -> str:
    """The host's own address that is no loopback, where it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(sock.getsockname()[0])


@pytest.fixture(params=["127.0.0.1", "own"])
def host(request: pytest.FixtureRequest) -> str:
    return own_address() if request.param == "own" else str(request.param)


@pytest.fixture(params=[socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def sock(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, request.param) as made:
        yield made


class Attempt:
    """A call that succeeds, or fails with a documented code; `done` says which."""

    def __init__(self, refused: set[Winsock] = REFUSED) -> None:
        self.done = False
        self._refused = refused

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> bool:
        self.done = error is None
        return isinstance(error, SecurityError) and error.winsock in self._refused


def secure(sock: socket.socket, settings: Settings | None = None) -> bool:
    """Secure a socket, or see that the refusal is a documented one. Returns whether it is secured."""
    with Attempt() as attempt:
        wsasec.secure(sock, settings)
    return attempt.done


def test_all_functions_are_there() -> None:
    """fwpuclnt.dll has all six: else nothing of it would be called, with WSAEOPNOTSUPP."""
    step = "none"
    with socket.socket() as made:
        try:
            wsasec.secure(made)
        except SecurityError as error:
            step = error.step
    assert step != "library"


@pytest.mark.parametrize(
    "settings",
    [None, Settings(), Settings(SecurityFlags.GUARANTEE_ENCRYPTION)],
    ids=["null", "default", "encryption"],
)
def test_secure(sock: socket.socket, settings: Settings | None) -> None:
    """The port of a socket that is secured is exclusive ("Remarks" of WSASetSocketSecurity)."""
    if secure(sock, settings):
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE)


def test_twice(sock: socket.socket) -> None:
    if not secure(sock):
        return
    with pytest.raises(SecurityError):
        wsasec.secure(sock)


def test_no_socket() -> None:
    made = socket.socket()
    number = made.fileno()
    made.close()
    with pytest.raises(SecurityError) as caught:
        wsasec.secure(number)
    assert caught.value.winsock == Winsock.WSAENOTSOCK


def test_connected() -> None:
    """WSAEISCONN is for sockets that are connected."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.connect(listener.getsockname())
        with pytest.raises(SecurityError) as caught:
            wsasec.secure(client)
        assert caught.value.winsock in (Winsock.WSAEISCONN, Winsock.WSAEINVAL)


def test_exclusive_port(host: str) -> None:
    """Nobody else can have the port, not even with SO_REUSEADDR."""
    with socket.socket() as first, socket.socket() as second:
        if not secure(first):
            return
        first.bind((host, 0))
        second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError):
            second.bind(first.getsockname())


def test_query_without_a_connection() -> None:
    with socket.socket() as made, pytest.raises(SecurityError):
        wsasec.query(made)


def test_connection(host: str) -> None:
    """Both ends are secured: they talk and say so, or they do not talk."""
    with socket.socket() as listener, socket.socket() as client:
        if not secure(listener) or not secure(client):
            return
        listener.bind((host, 0))
        listener.listen()
        listener.settimeout(SECONDS)
        try:
            wsasec.connect(client, listener.getsockname(), SECONDS)
        except OSError:
            return  # nothing was negotiated
        connection, _ = wsasec.accept(listener)
        with connection:
            connection.settimeout(SECONDS)
            client.settimeout(SECONDS)
            client.sendall(b"hello")
            assert connection.recv(5) == b"hello"
            for end in (client, connection):
                with Attempt(QUERY_REFUSED), wsasec.query(end) as found:
                    assert found.secured, found


def test_not_with_a_plain_peer(host: str) -> None:
    """A secured client sends nothing to a server that is not secured, unless the host's policy secures it."""
    with socket.create_server((host, 0)) as listener, socket.socket() as client:
        if not secure(client):
            return
        try:
            wsasec.connect(client, listener.getsockname(), SECONDS)
        except OSError:
            return
        with wsasec.query(client) as found:
            assert found.secured, found


def test_peer_name() -> None:
    with socket.socket() as made:
        if secure(made):
            with Attempt():
                wsasec.set_peer_target_name(made, f"host/{socket.gethostname()}")


def test_impersonating_nobody(host: str) -> None:
    """Without a peer there is no identity, and the thread keeps its own."""
    with socket.socket() as made:
        secure(made)
        with pytest.raises(SecurityError), wsasec.impersonate(made):
            raise AssertionError("entered")
