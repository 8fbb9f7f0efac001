"""What goes on while traffic flows: keys that are renewed, daemons that come and go, clocks that jump."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hanging import hang
from wire import receive

import wsasec

pytestmark = pytest.mark.lab

STREAMS = 64
PIECE = 512
BACK_SECONDS = 5.0
"""Within which traffic is back."""


@pytest.fixture
def test_seconds() -> int:
    return 180


@contextmanager
def connection(lab) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection between the hosts, and what accepted it."""
    with lab.b.socket() as door, lab.a.socket() as client:
        wsasec.secure_many([door, client])
        door.bind((lab.b.v4, 0))
        door.listen()
        with lab.a.entered():  # whose daemon is to be asked
            wsasec.connect(client, door.getsockname(), timeout=20)
        server, _ = wsasec.accept(door)
        with server:
            for sock in (client, server):
                sock.setblocking(True)
                # Data that nobody acknowledges is sent again soon: what is measured is the keys.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield client, server


def hang_up(sock: socket.socket) -> None:
    """End a connection for whoever waits for it. What came to its other end since may have reset it."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise


class Echo:
    """Sends pieces through a connection, one after the other, and remembers the longest time without one."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._ends = client, server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.rounds = 0
        self.longest = 0.0
        self.failure: BaseException | None = None

    def __enter__(self) -> Echo:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        client, server = self._ends
        try:
            while not self._stop.is_set():
                begun = time.perf_counter()  # no clock that jumps
                client.sendall(bytes(PIECE))
                assert len(receive(server, PIECE)) == PIECE
                server.sendall(bytes(PIECE))
                assert len(receive(client, PIECE)) == PIECE
                self.longest = max(self.longest, time.perf_counter() - begun)
                self.rounds += 1
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            self.failure = error

    def goes_on(self, seconds: float) -> None:
        """Wait until pieces pass again. Raises what ended the connection."""
        before = self.rounds
        deadline = time.perf_counter() + seconds
        while self.rounds < before + 3:
            assert self.failure is None, self.failure
            assert time.perf_counter() < deadline, "traffic is not back"
            time.sleep(0.02)


def test_keys_are_renewed_under_streams(hosts) -> None:
    """64 streams go on over associations that live for two seconds: none breaks, nothing is in clear."""
    lab, a, b = hosts
    for host in (a, b):
        host.configure("\n[profile.default]\nrekey_seconds = 2\n")
        host.up()
    seen: set[int] = set()
    with lab.capture() as wire:
        with lab.b.entered():
            server = wsasec.Listener((lab.b.v4, 0))
        with server:
            with lab.a.entered():
                batch = wsasec.SocketBatch(STREAMS)
            with batch:
                batch.connect(server.address, timeout=30)
                for _ in range(4):
                    result = wsasec.traffic.stream(batch, seconds=2.0)
                    assert result.failed == 0, result.to_dict()["errors"]
                    assert min(result.bytes_by_stream) > 0
                    seen |= {sa.spi for sa in lab.a.sas() if sa.dst == lab.a.v4}
    assert len(seen) >= 3, "keys were not renewed"
    assert wire.counts.clear == 0, wire.counts
    assert wire.counts.dropped == 0


def flush(lab, a, b) -> None:
    """At both ends before a can have new ones, which would be lost at b, and a would not know."""
    charon = a.status()["charon"]["pid"]
    try:
        hang(charon)
        for host in (lab.a, lab.b):
            host.run(["ip", "xfrm", "state", "flush"])
    finally:
        os.kill(charon, signal.SIGCONT)


def peer_restarts(lab, a, b) -> None:
    b.wsasec("down")
    b.up()


def peer_is_killed(lab, a, b) -> None:
    """Its daemon and charon die without a word, and its associations with them."""
    pid = b.status()["pid"]
    subprocess.run(["kill", "-KILL", str(pid)], check=True)
    lab.b.run(["ip", "xfrm", "state", "flush"])
    b.up()


def clock_jumps(lab, a, b) -> None:
    """Two hours forward: all lifetimes are over at once."""
    time.clock_settime(time.CLOCK_REALTIME, time.time() + 7200)


@pytest.mark.parametrize("event", [flush, peer_restarts, peer_is_killed, clock_jumps])
def test_traffic_is_back(hosts, event: Callable[..., None]) -> None:
    """A connection survives, within seconds; nothing is in clear."""
    lab, a, b = hosts
    a.up()
    b.up()
    offset = time.time() - time.monotonic()
    try:
        with lab.capture() as wire, connection(lab) as ends, Echo(*ends) as echo:
            echo.goes_on(10)
            event(lab, a, b)
            echo.goes_on(30)
            # A restart takes its own time, in which nothing can pass.
            if event in (flush, clock_jumps):
                assert echo.longest < BACK_SECONDS
            for sock in ends:
                hang_up(sock)
    finally:
        if event is clock_jumps:
            time.clock_settime(time.CLOCK_REALTIME, time.monotonic() + offset)
    assert_only_ike_in_clear(wire.counts)


def assert_only_ike_in_clear(counts) -> None:
    """Where no charon listens, the kernel says so of IKE's datagrams, which are nobody's data."""
    assert set(counts.clear_by_state) <= {"ICMP"}, counts


def dial(host, client: socket.socket, door: socket.socket, failures: list[BaseException]) -> None:
    try:
        with host.entered():
            wsasec.connect(client, door.getsockname(), timeout=20)
    except BaseException as error:  # noqa: BLE001 - told by the test's own thread
        failures.append(error)


def test_both_begin_at_once(hosts) -> None:
    """Each host connects to the other at the same moment, again and again."""
    lab, a, b = hosts
    a.up()
    b.up()
    failures: list[BaseException] = []
    with lab.capture() as wire:
        for _ in range(3):
            flush(lab, a, b)
            doors = [host.socket() for host in (lab.a, lab.b)]
            clients = [host.socket() for host in (lab.b, lab.a)]
            wsasec.secure_many([*doors, *clients])
            threads = []
            for door, host, client, other in zip(doors, (lab.a, lab.b), clients, (lab.b, lab.a), strict=True):
                door.bind((host.v4, 0))
                door.listen()
                threads.append(threading.Thread(target=dial, args=(other, client, door, failures)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for sock in (*clients, *doors):
                sock.close()
    assert failures == []
    assert wire.counts.clear == 0, wire.counts


def test_many_peers_in_the_configuration(hosts) -> None:
    """200 of them, by address, and all names of a domain."""
    lab, a, b = hosts
    addresses = ", ".join(f'"192.0.2.{number}"' for number in range(1, 200))
    a.configure(f'\n[profile.default]\npeers = [{addresses}, "{lab.b.v4}"]\nnames = ["*.example"]\n')
    begun = time.monotonic()
    a.up()
    b.up()
    assert time.monotonic() - begun < 60
    with lab.capture() as wire, connection(lab) as (client, server):
        client.sendall(b"hello")
        assert receive(server, 5) == b"hello"
    assert wire.counts.clear == 0, wire.counts
