"""accept(): as the socket module's, and what it adds. Without ESP, connections here may be clear."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

import wsasec
from wsasec import SecurityFlags, Settings, Winsock, _wsasec
from wsasec.profiles import DEFAULT

TIMEOUT = 10.0
Dropping = Callable[[], AbstractContextManager[None]]
FALLBACK = Settings(flags=SecurityFlags.ALLOW_INSECURE)


@contextmanager
def secured_listener(host: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        wsasec.secure(sock, FALLBACK)
        sock.bind((host, 0))
        sock.listen()
        sock.settimeout(TIMEOUT)
        yield sock


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["v4", "v6"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with secured_listener(request.param) as sock:
        yield sock


def connect(listener: socket.socket) -> socket.socket:
    sock = socket.socket(listener.family)
    sock.settimeout(TIMEOUT)
    sock.connect(listener.getsockname())
    return sock


def test_as_the_socket_modules(listener: socket.socket) -> None:
    with connect(listener) as client:
        server, address = wsasec.accept(listener)
        with server:
            assert address == client.getsockname() == server.getpeername()
            assert (server.family, server.type, server.proto) == (
                listener.family,
                listener.type,
                listener.proto,
            )
            assert server.gettimeout() is None
            assert not server.get_inheritable()
            client.sendall(b"hello")
            assert server.recv(5) == b"hello"
            server.sendall(b"and back")
            assert client.recv(8) == b"and back"


def test_the_connection_is_known_as_secured(listener: socket.socket) -> None:
    with connect(listener), connect(listener):
        server, _ = wsasec.accept(listener)
        other = listener.accept()[0]
        with server, other:
            assert _wsasec.profile_of(server) == "default"
            assert _wsasec.profile_of(other) is None
            with pytest.raises(wsasec.SecurityError) as caught:
                wsasec.secure(server)
            assert caught.value.winsock == Winsock.WSAEISCONN


def test_required_stays_required() -> None:
    """A connection made in clear before its listener was secured by its mark cannot go on in clear."""
    with socket.socket() as sock:
        sock.settimeout(TIMEOUT)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        with connect(sock) as client:
            # What stands for a listener of another process: the mark, and policies on what it accepts.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, DEFAULT.mark)
            server, _ = wsasec.accept(sock)
            with server:
                # When it is closed, what it could not send is not to keep it.
                server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                assert _wsasec.profile_of(server) == "default"
                server.sendall(b"in clear?")
                client.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    client.recv(100)


def test_plain_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock, connect(sock):
        server, _ = wsasec.accept(sock)
        with server:
            assert _wsasec.profile_of(server) is None


def test_timeout(listener: socket.socket) -> None:
    listener.settimeout(0.05)
    with pytest.raises(TimeoutError):
        wsasec.accept(listener)


def test_non_blocking(listener: socket.socket) -> None:
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        wsasec.accept(listener)
    with connect(listener):
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        assert poll.poll(TIMEOUT * 1000)
        listener.settimeout(0)
        server, _ = wsasec.accept(listener)
        server.close()


@pytest.mark.parametrize("timeout", [None, TIMEOUT])
def test_waits(listener: socket.socket, timeout: float | None) -> None:
    listener.settimeout(timeout)
    made = []
    late = threading.Timer(0.1, lambda: made.append(connect(listener)))
    late.start()
    server, address = wsasec.accept(listener)
    late.join()
    with server, made[0] as client:
        assert address == client.getsockname()


def nonblocking_but_for_python(listener: socket.socket) -> None:
    """Its time-out is None; but of its open file there may be other descriptors, and so another mind."""
    listener.settimeout(None)
    os.set_blocking(listener.fileno(), False)


def test_waits_where_the_descriptor_does_not_block(listener: socket.socket) -> None:
    nonblocking_but_for_python(listener)
    made = []
    late = threading.Timer(0.5, lambda: made.append(connect(listener)))
    late.start()
    before = time.thread_time()
    server, _ = wsasec.accept(listener)
    assert time.thread_time() - before < 0.25
    late.join()
    with server, made[0]:
        assert listener.gettimeout() is None


@pytest.mark.parametrize(("timeout", "nonblocking"), [(None, False), (None, True), (TIMEOUT, False)])
def test_signals_are_heard(listener: socket.socket, timeout: float | None, nonblocking: bool) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    listener.settimeout(timeout)
    if nonblocking:
        nonblocking_but_for_python(listener)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        # It may come before the call has begun.
        with pytest.raises(Interrupted):  # noqa: PT012
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            wsasec.accept(listener)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_signal_without_an_exception_does_not_end_it(listener: socket.socket) -> None:
    listener.settimeout(None)
    heard = []
    before = signal.signal(signal.SIGALRM, lambda *_: heard.append(time.monotonic()))
    made = []
    late = threading.Timer(0.2, lambda: made.append(connect(listener)))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        late.start()
        server, _ = wsasec.accept(listener)
    finally:
        signal.signal(signal.SIGALRM, before)
        late.join()
    with server, made[0]:
        assert heard


def test_without_privileges(listener: socket.socket, without_net_admin: Dropping) -> None:
    """A program may give them up when it is listening."""
    with connect(listener) as client:
        with without_net_admin():
            server, _ = wsasec.accept(listener)
        with server:
            server.sendall(b"hello")
            assert client.recv(5) == b"hello"


def test_what_it_changes_for_a_moment_stays(without_net_admin: Dropping) -> None:
    """Type of service and priority of a connection are as its listener has them, though they are used."""
    options = ((socket.IPPROTO_IP, socket.IP_TOS, 0x48), (socket.SOL_SOCKET, socket.SO_PRIORITY, 5))
    with secured_listener("127.0.0.1") as listener:
        for option in options:
            listener.setsockopt(*option)
        with connect(listener), connect(listener):
            reference = listener.accept()[0]
            with without_net_admin():
                server, _ = wsasec.accept(listener)
            with server, reference:
                for level, name, _value in options:
                    assert server.getsockopt(level, name) == reference.getsockopt(level, name)


def test_no_descriptor_left(listener: socket.socket) -> None:
    with connect(listener):
        free = os.dup(listener.fileno())
        os.close(free)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            with pytest.raises(OSError) as caught:
                wsasec.accept(listener)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert caught.value.errno == errno.EMFILE
        server, _ = wsasec.accept(listener)  # it was kept
        server.close()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_not_listening(kind: int) -> None:
    with socket.socket(socket.AF_INET, kind) as sock, pytest.raises(OSError) as caught:
        wsasec.accept(sock)
    assert caught.value.errno in (errno.EINVAL, errno.EOPNOTSUPP)


@pytest.mark.parametrize("timeout", [None, 0.0, TIMEOUT])
def test_closed(timeout: float | None) -> None:
    with socket.socket() as sock:
        sock.settimeout(timeout)
    with pytest.raises(OSError) as caught:
        wsasec.accept(sock)
    assert (caught.value.errno, caught.value.winsock) == (errno.EBADF, Winsock.WSAENOTSOCK)


def test_a_listener_where_securing_failed(without_net_admin: Dropping) -> None:
    with socket.socket() as sock:
        with without_net_admin(), pytest.raises(wsasec.SecurityError):
            wsasec.secure(sock)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        with pytest.raises(wsasec.SecurityError, match="failed before") as caught:
            wsasec.accept(sock)
        assert caught.value.winsock == Winsock.WSAEINVAL
