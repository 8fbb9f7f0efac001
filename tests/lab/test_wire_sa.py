"""Security associations that are missing, go, come and are replaced."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from wire import (
    TIMEOUT,
    Stream,
    Wire,
    exchange_datagrams,
    is_readable,
    run_streams,
    wait_for,
    xfrm_stat,
    xfrm_stats,
)

import wsasec

pytestmark = pytest.mark.lab

STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
BOTH = pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["tcp", "udp"])
# Seconds, for what does not wait; a machine may be busy.
AT_ONCE = 3.0


class Trying(socket.socket):
    """Counts its attempts to connect."""

    attempts = 0

    def connect_ex(self, address: Any) -> int:
        self.attempts += 1
        return super().connect_ex(address)


@contextmanager
def working(work: Callable[[], None]) -> Iterator[None]:
    """Do something in another thread while the block runs."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - for the test's own thread
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(2 * TIMEOUT)
    assert not thread.is_alive()
    assert not failures


def trying_socket(wire: Wire, kind: int) -> Trying:
    with wire.a.entered():
        sock = Trying(wire.family, kind)
    wire.keep(sock)
    wsasec.secure(sock)
    return sock


def add_when_refused(wire: Wire, sock: Trying) -> AbstractContextManager[None]:
    """Add associations as soon as the socket was refused for the want of one, and tries again."""

    def add() -> None:
        wait_for(lambda: sock.attempts > 2, "it tries again")
        wire.lab.add_sas()

    return working(add)


def connect_asyncio(sock: socket.socket, address: Any, timeout: float) -> None:
    """Run wsasec.aio.connect() in a loop of its own."""
    asyncio.run(wsasec.aio.connect(sock, address, timeout))


# --- none ---


@BOTH
@pytest.mark.parametrize("timeout", [None, 0.0], ids=["blocking", "non-blocking"])
def test_connect_without_association(make_wire, kind, timeout):
    with make_wire(keys=False, esp=False) as wire:
        sock = wire.secured(wire.a, kind)
        sock.settimeout(timeout)
        start = time.monotonic()
        with pytest.raises(BlockingIOError):
            sock.connect((wire.host(wire.b), 4711))
        assert time.monotonic() - start < AT_ONCE


@pytest.mark.parametrize("timeout", [None, 0.0], ids=["blocking", "non-blocking"])
def test_sendto_without_association(make_wire, timeout):
    with make_wire(keys=False, esp=False) as wire:
        sock = wire.datagram(wire.a)
        sock.settimeout(timeout)
        start = time.monotonic()
        with pytest.raises(BlockingIOError):
            sock.sendto(b"nothing", (wire.host(wire.b), 4711))
        assert time.monotonic() - start < AT_ONCE


@BOTH
def test_wait_for_association(make_wire, kind):
    with make_wire(keys=False) as wire:
        server = wire.listener(wire.b) if kind == STREAM else wire.datagram(wire.b)
        sock = trying_socket(wire, kind)
        with add_when_refused(wire, sock):
            wsasec.connect(sock, server.getsockname(), TIMEOUT)
        sock.send(b"at last")
        peer = wire.accept(server) if kind == STREAM else server
        data, address = peer.recvfrom(100)
        assert data == b"at last"
        peer.sendto(b"indeed", address or sock.getsockname())
        assert sock.recv(100) == b"indeed"
        assert sock.gettimeout() == TIMEOUT


@BOTH
def test_wait_for_association_asyncio(make_wire, kind):
    with make_wire(keys=False) as wire:
        server = wire.listener(wire.b) if kind == STREAM else wire.datagram(wire.b)
        sock = trying_socket(wire, kind)
        sock.setblocking(False)
        with add_when_refused(wire, sock):
            connect_asyncio(sock, server.getsockname(), TIMEOUT)
        sock.settimeout(TIMEOUT)
        sock.send(b"at last")
        peer = wire.accept(server) if kind == STREAM else server
        data, address = peer.recvfrom(100)
        assert data == b"at last"
        peer.sendto(b"indeed", address or sock.getsockname())
        assert sock.recv(100) == b"indeed"


@BOTH
@pytest.mark.parametrize("twin", [False, True], ids=["sync", "asyncio"])
def test_no_association_until_the_deadline(make_wire, kind, twin):
    connect = connect_asyncio if twin else wsasec.connect
    with make_wire(keys=False, esp=False) as wire:
        sock = wire.secured(wire.a, kind)
        host = wire.host(wire.b)
        start = time.monotonic()
        if twin:
            sock.setblocking(False)
        with pytest.raises(wsasec.SecurityError) as caught:
            connect(sock, (host, 4711), 0.3)
        assert 0.3 <= time.monotonic() - start < 0.3 + AT_ONCE
        error = caught.value
        assert "no security association with " in str(error)
        assert host in str(error)
        assert "in profile default" in str(error)
        assert (error.winsock, error.profile) == (wsasec.Winsock.WSAETIMEDOUT, "default")


def test_association_one_way_only(make_wire):
    """The answer cannot be sent, so it is not sent: the client's time runs out."""
    with make_wire(esp=None) as wire:
        listener = wire.listener(wire.b)
        # Out of b there is nothing now; towards b all is well.
        wire.b.run(["ip", "xfrm", "state", "deleteall", "src", wire.host(wire.b)])
        with pytest.raises(TimeoutError):
            wsasec.connect(wire.secured(wire.a), listener.getsockname(), 0.5)
        assert not is_readable(listener)
    assert {sa.src for sa in wire.sas_at_end if sa.packets} == {wire.host(wire.a)}


# --- removed and replaced ---


def test_stream_outlives_associations(make_wire):
    with make_wire() as wire:
        client, server, _ = wire.connection()
        streams = Stream(client, server, 1 << 19), Stream(server, client, 1 << 19)
        run_streams(*streams, until=lambda: all(len(stream.received) > 1 << 17 for stream in streams))
        wire.lab.remove_sas()
        # send() succeeds until the buffer is full; what was on its way is still read.
        wait_for(
            lambda: (
                sum(stream.push() + stream.pull() for stream in streams) == 0
                and all(stream.held_back for stream in streams)
            ),
            "both ends want to send and cannot",
        )
        assert not any(stream.done for stream in streams)
        wire.lab.add_sas()
        run_streams(*streams)


def test_datagrams_stop_without_associations(make_wire):
    with make_wire() as wire:
        first, second = wire.datagram_pair()
        first.send(b"before")
        assert second.recv(100) == b"before"
        wire.lab.remove_sas()
        first.setblocking(False)
        with pytest.raises(OSError) as caught:
            first.send(b"between")
        assert caught.value.errno == errno.EAGAIN
        wire.lab.add_sas()
        first.setblocking(True)
        first.send(b"after")
        assert second.recv(100) == b"after"
        second.send(b"answer")
        assert first.recv(100) == b"answer"


def test_receiver_lost_its_association(make_wire):
    """A host that has forgotten drops what it cannot read, and says nothing in clear."""
    with make_wire(esp=None) as wire:
        client, server, _ = wire.connection()
        wire.b.run(["ip", "xfrm", "state", "flush"])
        client.sendall(b"who are you?")
        wait_for(lambda: xfrm_stat(wire.b, "XfrmInNoStates") >= 1, "it arrives, and is dropped")
        assert not is_readable(server)
        wire.lab.remove_sas()
        wire.lab.add_sas()
        assert server.recv(100) == b"who are you?"


def test_rekey_under_traffic(make_wire):
    """New associations again and again: every byte arrives, and no packet is lost for it."""
    with make_wire() as wire:
        client, server, _ = wire.connection()
        first, second = wire.datagram_pair()
        spis = {sa.spi for sa in wire.sas(wire.a)}
        streams = Stream(client, server, 4 << 20), Stream(server, client, 4 << 20)
        done = threading.Event()

        def rekey() -> None:
            for _ in range(5):
                wire.lab.rekey()
            done.set()

        exchanged = 0
        deadline = time.monotonic() + 4 * TIMEOUT
        with working(rekey):
            while not done.is_set():
                assert time.monotonic() < deadline
                # A queue that is full of the streams' packets may drop one; IPsec may not, as is asked below.
                exchange_datagrams(first, second, [100])
                moved = len(streams[0].received) + (64 << 10)
                if not streams[0].done:
                    run_streams(*streams, until=lambda moved=moved: len(streams[0].received) >= moved)
                exchanged += 1
        run_streams(*streams)
        assert exchanged > 1
        for end in (wire.a, wire.b):
            assert not any(xfrm_stats(end).values()), xfrm_stats(end)
        now = {sa.spi for sa in wire.sas(wire.a)}
        assert len(now) == 2
        assert not now & spis


def test_sender_lost_its_associations(make_wire):
    """At one end only, as when a limit has passed or a daemon was restarted."""
    with make_wire() as wire:
        client, server, _ = wire.connection()
        stream = Stream(client, server, 1 << 19)
        run_streams(stream, until=lambda: len(stream.received) > 1 << 16)
        wire.a.run(["ip", "xfrm", "state", "flush"])
        wait_for(lambda: stream.push() + stream.pull() == 0 and stream.held_back, "the sender is held back")
        assert not stream.done
        wire.lab.remove_sas()
        wire.lab.add_sas()
        run_streams(stream, Stream(server, client, 1000))


def test_kernel_asks_for_association(make_wire):
    """Where somebody listens, as a key daemon does, the first attempt tells it what is wanted."""
    with make_wire(keys=False) as wire:
        with wire.a.entered():
            daemon = wire.keep(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 6))
        daemon.bind((0, 1))  # XFRMNLGRP_ACQUIRE
        listener = wire.listener(wire.b)
        sock = wire.secured(wire.a)

        def answer() -> None:
            message = daemon.recv(65536)
            assert int.from_bytes(message[4:6], sys.byteorder) == 0x17  # XFRM_MSG_ACQUIRE
            wire.lab.add_sas()

        with working(answer):
            wire.connect(sock, listener.getsockname())
        run_streams(Stream(sock, wire.accept(listener), 1000))
