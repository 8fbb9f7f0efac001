"""Connections, real ones, that are aborted when their association changes; that and charon are in memory."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from fake_ike import FakeIke, FakeSas

from wsasec.config.model import Authentication, Config, Identity, KeyProfile, Trust
from wsasec.daemon.protocol import AbortFlag
from wsasec.kernel.links import LinkSocket
from wsasec.kernel.sockdiag import TcpTable
from wsasec.keys.associations import Event
from wsasec.keys.negotiator import Negotiator
from wsasec.keys.reason import Reason
from wsasec.keys.sockets import Gate, tcp_connection
from wsasec.keys.ties_file import TiesFile, abort_left
from wsasec.lab import Capture, Namespace
from wsasec.profiles import DEFAULT

HOSTS = {
    "v4": (socket.AF_INET, "10.9.0.1", "10.9.0.2"),
    "v6": (socket.AF_INET6, "fd00:9::1", "fd00:9::2"),
    "mapped": (socket.AF_INET6, "::ffff:10.9.0.1", "::ffff:10.9.0.2"),
}
MAIN, QUICK = AbortFlag.MM_SA_ID, AbortFlag.QM_SA_ID


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


def reaches(own: str, server: socket.socket) -> bool:
    with socket.socket(server.family) as client:
        client.bind((own, 0))
        if client.connect_ex(server.getsockname()):
            return False
        server.accept()[0].close()
        return True


@pytest.fixture(params=list(HOSTS))
def connect(realm: Namespace, request: pytest.FixtureRequest) -> Iterator[Callable[[], socket.socket]]:
    """Make connections, each of which its mark says to be secured; both hosts are this one."""
    family, own, host = HOSTS[request.param]
    with LinkSocket() as links:
        for address in (own, host):
            text = address.removeprefix("::ffff:")
            links.add_address("lo", text, 128 if ":" in text else 32)
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(family))
        server.bind((host, 0))
        server.listen()
        # The kernel makes the routes of IPv6 addresses in its own time.
        deadline = soon(10)
        while not reaches(own, server):
            assert time.monotonic() < deadline

        def make() -> socket.socket:
            client = stack.enter_context(socket.socket(family))
            client.settimeout(10)
            client.bind((own, 0))
            client.connect(server.getsockname())
            accepted = stack.enter_context(server.accept()[0])
            accepted.settimeout(10)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, DEFAULT.mark)
            client.sendall(b"x")
            assert accepted.recv(1) == b"x"
            return client

        yield make


@contextmanager
def negotiator_of(sock: socket.socket) -> Iterator[tuple[Negotiator, FakeIke]]:
    """Make one that knows an association of the socket's two addresses."""
    own, peer = (
        ip_address(name[0].removeprefix("::ffff:")) for name in (sock.getsockname(), sock.getpeername())
    )
    ike = FakeIke(FakeSas(), {"default": DEFAULT.reqid})
    profile = KeyProfile(DEFAULT, Identity("a.example", Authentication.PSK, psk=Path("psk")), Trust())
    negotiator = Negotiator(ike, Config(Path("wsasec.toml"), {"default": profile}), ike.sas)
    negotiator.start()
    try:
        ike.establish("default", peer, "b.example", own)
        yield negotiator, ike
    finally:
        negotiator.close()


def can_abort(sock: socket.socket) -> bool:
    """Whether this kernel does it: tried on a connection of its own."""
    table = TcpTable()
    connection = tcp_connection(sock.fileno())
    assert connection is not None
    try:
        assert table.has(connection)
        able = table.can_destroy(connection)
        # The trial has done nothing to it.
        sock.sendall(b"y")
        assert table.has(connection)
        if able:
            assert table.destroy(connection)
            assert not table.destroy(connection)
            assert not table.has(connection)
            with pytest.raises(ConnectionAbortedError):
                sock.recv(1)
        else:
            with pytest.raises(OSError) as caught:
                table.destroy(connection)
            assert caught.value.errno == errno.EOPNOTSUPP
    finally:
        table.close()
    return able


def test_aborted(connect: Callable[[], socket.socket]) -> None:
    able = can_abort(connect())
    asked, main, bystander = connect(), connect(), connect()
    with negotiator_of(asked) as (negotiator, ike):
        found = negotiator.association_of(asked.fileno(), None, soon(), MAIN | QUICK)
        if not able:
            assert found.verdict.reason is Reason.NO_ABORT
            assert "CONFIG_INET_DIAG_DESTROY" in found.verdict.detail
            return
        assert found.verdict.good
        assert (found.mm_sa_id, found.qm_sa_id) == (1, 101)
        assert negotiator.association_of(main.fileno(), None, soon(), MAIN).verdict.good
        assert negotiator.association_of(bystander.fileno(), None, soon()).verdict.good
        for sock in (asked, main, bystander):
            sock.sendall(b"x")
        (ike_sa,) = ike.ikes
        ike.sas.remove(list(ike.sas.table))
        ike.happen(Event("child-updown", False, ike_sa))
        with pytest.raises(ConnectionAbortedError):
            asked.recv(1)
        for sock in (main, bystander):
            sock.sendall(b"x")
        ike.terminate(ike_sa.unique_id, soon())
        with pytest.raises(ConnectionAbortedError):
            main.recv(1)
        bystander.sendall(b"x")


def unacknowledged(sock: socket.socket) -> int:
    """Return how many segments the peer has not acknowledged: the field of struct tcp_info."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    return int(struct.unpack_from("=I", info, 24)[0])


@pytest.mark.parametrize("connect", ["v4"], indirect=True)
def test_the_reset_is_not_in_clear(connect: Callable[[], socket.socket], realm: Namespace) -> None:
    """It is the socket's own: without an SA, as here, it is not sent."""
    sock, plain = connect(), connect()
    if not can_abort(connect()):
        return
    table = TcpTable()
    try:
        with Capture(realm) as capture:
            Gate().open(sock.fileno(), sock.family, DEFAULT)
            for each, resets in ((sock, 0), (plain, 1)):
                # A late acknowledgement would have an answer, from a kernel that knows no such connection.
                deadline = soon(10)
                while unacknowledged(each):
                    assert time.monotonic() < deadline
                connection = tcp_connection(each.fileno())
                assert connection is not None
                assert table.destroy(connection)
                with pytest.raises(ConnectionAbortedError):
                    each.recv(1)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                    before = capture.snapshot().clear_by_state["UDP"]
                    last.sendto(b"last", ("127.0.0.1", 9))
                    assert capture.wait(lambda counts, n=before: counts.clear_by_state["UDP"] > n, 10)
                counts = capture.snapshot()
                assert bool(counts.clear_by_state["RST"]) == bool(resets), counts
                assert set(+counts.clear_by_state) <= {"UDP", "ICMP", "RST"}
    finally:
        table.close()


def test_the_daemons_end(connect: Callable[[], socket.socket]) -> None:
    able = can_abort(connect())
    asked, bystander = connect(), connect()
    with negotiator_of(asked) as (negotiator, _):
        found = negotiator.association_of(asked.fileno(), None, soon(), MAIN)
        assert found.verdict.good == able
        asked.sendall(b"x")
        negotiator.abort_tied()
        if able:
            with pytest.raises(ConnectionAbortedError):
                asked.recv(1)
        bystander.sendall(b"x")
        late = negotiator.association_of(bystander.fileno(), None, soon(), MAIN).verdict.reason
        assert late in (Reason.NO_CHARON, Reason.NO_ABORT)


def test_a_daemon_that_was_killed(connect: Callable[[], socket.socket], tmp_path: Path) -> None:
    """Its successor aborts what it finds written down, and nothing else."""
    able = can_abort(connect())
    asked, bystander = connect(), connect()
    connection = tcp_connection(asked.fileno())
    assert connection is not None
    file = TiesFile(tmp_path / "ties")
    file.add(connection)
    if able:
        assert abort_left(tmp_path / "ties") == 1
        with pytest.raises(ConnectionAbortedError):
            asked.recv(1)
    else:
        with pytest.raises(OSError):
            abort_left(tmp_path / "ties")
    bystander.sendall(b"x")
    file.close()


def test_what_is_refused(connect: Callable[[], socket.socket]) -> None:
    sock = connect()
    with negotiator_of(sock) as (negotiator, ike):
        here, port = sock.getpeername()[:2]
        with socket.socket(sock.family, socket.SOCK_DGRAM) as datagram:
            datagram.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, DEFAULT.mark)
            datagram.bind((sock.getsockname()[0], 0))
            datagram.connect((here, port))
            found = negotiator.association_of(datagram.fileno(), None, soon(), MAIN)
            assert found.verdict.reason is Reason.NO_ABORT
            assert negotiator.association_of(datagram.fileno(), None, soon()).verdict.good
        # Keys that nobody has negotiated have no ids.
        own, peer = (ip_address(text) for text in (ike.sas.table[0].dst, ike.sas.table[0].src))
        ike.sas.add(DEFAULT.reqid, own, peer, 1, 2)
        assert negotiator.association_of(sock.fileno(), None, soon()).verdict.good
        found = negotiator.association_of(sock.fileno(), None, soon(), MAIN)
        assert found.verdict.reason is Reason.NO_IDENTITY
        ike.alive = False
        found = negotiator.association_of(sock.fileno(), None, soon(), MAIN)
        assert found.verdict.reason is Reason.NO_CHARON
        sock.sendall(b"x")


def test_what_has_no_single_connection(realm: Namespace) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert tcp_connection(sock.fileno()) is None
    with socket.socket(socket.AF_INET) as sock, pytest.raises(OSError) as caught:
        tcp_connection(sock.fileno())
    assert caught.value.errno == errno.ENOTCONN
