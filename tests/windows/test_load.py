"""The loops in C that connect, accept and send, with plain sockets; all of it holds on Linux, too."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from wsasec import ConnectError, Listener, SocketBatch, traffic

MANY = 200
HOST = "127.0.0.1"

# On, and 0 seconds: to close is to reset.
LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

# What the loops say where there is no socket.
NO_SOCKET = {errno.EBADF, errno.ENOTSOCK}


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def echo() -> Iterator[Listener]:
    with Listener((HOST, 0), secure=False, mode="echo", threads=2, nodelay=True) as listener:
        yield listener


def nobody() -> tuple[str, int]:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        return free.getsockname()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_many_connect(family: socket.AddressFamily) -> None:
    host = HOST if family == socket.AF_INET else "::1"
    with (
        Listener((host, 0), secure=False, threads=3) as listener,
        SocketBatch(MANY, family=family, secure=False) as batch,
    ):
        report = batch.connect(listener.address, timeout=10)
        assert (report.connected, report.failed, report.errors) == (MANY, 0, {})
        assert report.latency.count == MANY
        assert 0 < report.seconds < 10
        listener.wait_accepted(MANY, timeout=10)
        assert listener.counts.open == MANY
        batch.close()
        wait_until(lambda: listener.counts.open == 0)
        assert listener.counts.resets == 0


def test_few_at_a_time() -> None:
    with Listener((HOST, 0), secure=False) as listener, SocketBatch(50, secure=False) as batch:
        assert batch.connect(listener.address, timeout=10, concurrency=1).connected == 50


def test_ports_of_a_batch_are_exclusive() -> None:
    """Also where nothing is secured, by which Windows would see to that."""
    with SocketBatch(3, secure=False, bind=[(HOST, 0)]) as batch:
        for number in batch:
            sock = socket.socket(fileno=number)
            try:
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE)
            finally:
                sock.detach()


def test_progress_of_a_connect() -> None:
    """Where nobody takes connections, so that it lasts until the deadline."""
    told: list[tuple[int, int]] = []
    with socket.socket() as full, SocketBatch(20, secure=False) as batch:
        full.bind((HOST, 0))
        full.listen(0)
        batch.connect(
            full.getsockname(),
            timeout=0.5,
            errors="return",
            progress=lambda *counts: told.append(counts),
        )
    assert told
    assert all(0 <= done <= count == 20 for done, count in told)


def test_refused_connects_are_told() -> None:
    with Listener((HOST, 0), secure=False) as listener, SocketBatch(20, secure=False) as batch:
        report = batch.connect([listener.address, nobody()], timeout=20, errors="return")
        assert list(report.errnos) == [0, errno.ECONNREFUSED] * 10
        assert report.errors == {"ECONNREFUSED": 10} or report.errors == {"WSAECONNREFUSED": 10}


def test_the_first_refused_connect_is_raised() -> None:
    with SocketBatch(3, secure=False) as batch, pytest.raises(ConnectError) as caught:
        batch.connect(nobody(), timeout=20)
    assert caught.value.winsock.name == "WSAECONNREFUSED"
    assert "nobody listens there" in str(caught.value)


def test_connected_sockets_are_not_connected_again(echo: Listener) -> None:
    with SocketBatch(2, secure=False) as batch:
        batch.connect(echo.address, timeout=30)
        assert set(batch.connect(echo.address, timeout=30, errors="return").errnos) == {errno.EISCONN}


def test_a_deadline_ends_a_connect() -> None:
    """Where nobody takes connections, and there is no room for more that wait."""
    with socket.socket() as full:
        full.bind((HOST, 0))
        full.listen(0)
        with SocketBatch(20, secure=False) as batch:
            began = time.monotonic()
            report = batch.connect(full.getsockname(), timeout=0.5, errors="return")
            assert time.monotonic() - began < 30
            # Windows refuses them instead.
            assert set(report.errnos) <= {0, errno.ETIMEDOUT, errno.ECONNREFUSED}


def test_datagram_sockets_connect() -> None:
    with (
        Listener((HOST, 0), type=socket.SOCK_DGRAM, secure=False) as listener,
        SocketBatch(20, type=socket.SOCK_DGRAM, secure=False) as batch,
    ):
        assert batch.connect(listener.address, timeout=30).connected == 20


def test_an_echo_of_much_to_a_peer_that_reads_late(echo: Listener) -> None:
    data = bytes(range(256)) * 16384  # more than all buffers have room for
    with socket.create_connection(echo.address) as peer:
        sender = threading.Thread(target=peer.sendall, args=(data,))
        sender.start()
        time.sleep(0.3)
        received = bytearray()
        while len(received) < len(data):
            piece = peer.recv(1 << 16)
            assert piece
            received += piece
        sender.join()
    assert received == data
    wait_until(lambda: echo.counts.closed == 1)
    counts = echo.counts
    assert counts.received_bytes == counts.sent_bytes == len(data)


def test_a_sink_reads() -> None:
    with (
        Listener((HOST, 0), secure=False) as listener,
        socket.create_connection(listener.address) as peer,
    ):
        peer.sendall(b"x" * 100_000)
        wait_until(lambda: listener.counts.received_bytes == 100_000)
        assert listener.counts.sent_bytes == 0


def test_a_discarding_listener_ends_connections() -> None:
    with (
        Listener((HOST, 0), secure=False, mode="discard", discard_after=1000) as listener,
        socket.create_connection(listener.address, timeout=30) as peer,
    ):
        peer.sendall(b"x" * 999)
        wait_until(lambda: listener.counts.received_bytes == 999)
        assert listener.counts.closed == 0
        peer.sendall(b"x")
        assert peer.recv(1) == b""
        assert listener.counts.closed == 1


def test_a_reset_closes_a_connection(echo: Listener) -> None:
    with socket.create_connection(echo.address) as peer:
        echo.wait_accepted(1, timeout=30)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    wait_until(lambda: echo.counts.closed == 1)
    assert echo.counts.resets <= 1  # under Wine recv() tells of a reset as of an end


def test_descriptors_are_used_again(echo: Listener) -> None:
    for _ in range(100):
        with socket.create_connection(echo.address, timeout=30) as peer:
            peer.sendall(b"again")
            assert peer.recv(5) == b"again"
    wait_until(lambda: echo.counts.closed == 100)
    assert echo.counts.accepted == 100


def test_waiting_for_connections_ends(echo: Listener) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        echo.wait_accepted(1, timeout=0.2)
    assert 0.15 < time.monotonic() - began < 30
    waiting = threading.Timer(0.2, echo.close)
    waiting.start()
    with pytest.raises(ValueError, match="closed"):
        echo.wait_accepted(1, timeout=20)
    waiting.join()


def test_closing_ends_connections(echo: Listener) -> None:
    with socket.create_connection(echo.address, timeout=30) as peer:
        echo.wait_accepted(1, timeout=30)
        echo.close()
        echo.close()
        with contextlib.suppress(ConnectionError):  # it may be a reset
            assert peer.recv(1) == b""
    assert echo.closed
    assert echo.counts.accepted == 1


def test_datagrams_are_echoed() -> None:
    with (
        Listener((HOST, 0), type=socket.SOCK_DGRAM, secure=False, mode="echo") as listener,
        socket.socket(type=socket.SOCK_DGRAM) as peer,
    ):
        peer.settimeout(30)
        for data in (b"", b"one", b"x" * 60_000):
            peer.sendto(data, listener.address)
            assert peer.recv(65_536) == data
        wait_until(lambda: listener.counts.sent_datagrams == 3)
        counts = listener.counts
        assert counts.received_datagrams == 3
        assert counts.received_bytes == counts.sent_bytes == 60_003


def test_a_datagram_that_nobody_takes_disturbs_no_other() -> None:
    with Listener((HOST, 0), type=socket.SOCK_DGRAM, secure=False, mode="echo") as listener:
        for _ in range(5):
            with socket.socket(type=socket.SOCK_DGRAM) as gone:
                gone.sendto(b"gone", listener.address)
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.settimeout(30)
            peer.sendto(b"here", listener.address)
            assert peer.recv(10) == b"here"
        assert listener.counts.errors == 0


def test_a_stream() -> None:
    with Listener((HOST, 0), secure=False, threads=2) as listener, SocketBatch(10, secure=False) as batch:
        batch.connect(listener.address, timeout=30)
        result = traffic.stream(batch, seconds=0.5, threads=2, message_bytes=16_384)
        assert result.failed == 0
        assert result.total.sent_bytes > 0
        assert 0 < result.bytes <= result.total.sent_bytes
        assert result.stalled == 0
        wait_until(lambda: listener.counts.received_bytes == result.total.sent_bytes)


def test_the_rate_of_a_stream() -> None:
    with Listener((HOST, 0), secure=False) as listener, SocketBatch(4, secure=False) as batch:
        batch.connect(listener.address, timeout=30)
        result = traffic.stream(batch, seconds=1.0, message_bytes=1024, rate=500_000)
        assert 100_000 < result.bytes < 600_000


def test_a_stream_of_which_the_peer_sends_all_back(echo: Listener) -> None:
    with SocketBatch(4, secure=False) as batch:
        batch.connect(echo.address, timeout=30)
        result = traffic.stream(batch, seconds=0.5, message_bytes=16_384)
        assert result.failed == 0
        assert result.total.received_bytes > 0


def test_requests(echo: Listener) -> None:
    with SocketBatch(20, secure=False) as batch:
        batch.connect(echo.address, timeout=30)
        for _ in range(2):  # all is clean for another run
            result = traffic.requests(batch, seconds=0.5, threads=2)
            assert result.failed == 0
            assert result.requests > 20
            assert result.unanswered == 0
            assert result.unclean == ()
            assert result.latency.count >= result.requests
            assert result.latency.percentile(50) > 0


def test_large_requests(echo: Listener) -> None:
    with SocketBatch(2, secure=False) as batch:
        batch.connect(echo.address, timeout=30)
        result = traffic.requests(batch, seconds=0.5, request_bytes=1_000_000)
        assert result.failed == 0
        assert result.requests > 0


def test_the_schedule_of_requests(echo: Listener) -> None:
    with SocketBatch(10, secure=False) as batch:
        batch.connect(echo.address, timeout=30)
        result = traffic.requests(batch, seconds=1.0, rate=100)
        assert result.failed == 0
        assert 20 <= result.latency.count <= 101


def test_requests_whose_peer_ends() -> None:
    with (
        Listener((HOST, 0), secure=False, mode="discard", discard_after=1) as listener,
        SocketBatch(3, secure=False) as batch,
    ):
        batch.connect(listener.address, timeout=30)
        result = traffic.requests(batch, seconds=5, warm_up=0)
        assert result.failed == 3
        assert result.total.open == 0


def test_datagrams() -> None:
    with (
        Listener((HOST, 0), type=socket.SOCK_DGRAM, secure=False, mode="echo") as listener,
        SocketBatch(4, type=socket.SOCK_DGRAM, secure=False) as batch,
    ):
        batch.connect(listener.address, timeout=30)
        result = traffic.datagrams(batch, seconds=0.5, datagram_bytes=500, rate=200, receiver=listener)
        assert result.failed == 0
        assert 20 <= result.datagrams <= 101
        assert result.lost == 0
        assert result.latency is not None
        assert result.latency.count > 0


def test_datagrams_as_many_as_can_be_sent() -> None:
    with (
        Listener((HOST, 0), type=socket.SOCK_DGRAM, secure=False) as listener,
        SocketBatch(4, type=socket.SOCK_DGRAM, secure=False) as batch,
    ):
        batch.connect(listener.address, timeout=30)
        result = traffic.datagrams(batch, seconds=0.5, datagram_bytes=8, threads=2)
        assert result.failed == 0
        assert result.total.sent_messages >= result.datagrams > 100


def test_what_is_no_socket_fails(echo: Listener) -> None:
    with (
        SocketBatch(1, secure=False) as batch,
        socket.socket(type=socket.SOCK_DGRAM) as wrong,
    ):
        batch.connect(echo.address, timeout=30)
        closed = socket.socket()
        number = closed.fileno()
        closed.close()
        result = traffic.requests([batch[0], number, wrong], seconds=0.2)
        assert result.errors[0] == 0
        assert result.errors[1] in NO_SOCKET
        assert result.errors[2] == errno.EPROTOTYPE
        assert result.requests > 0
