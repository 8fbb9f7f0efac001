"""The key daemon's decisions, on real sockets of the host's kernel; charon and the SAs are in memory."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from fake_ike import FakeIke, FakeSas

import wsasec
from wsasec.config.model import Authentication, Config, Identity, KeyProfile, Trust
from wsasec.daemon.protocol import NameFlag
from wsasec.kernel.links import LinkSocket
from wsasec.kernel.route import source_of
from wsasec.kernel.xfrm import XfrmTable
from wsasec.keys.acquire import Acquire, AcquireListener
from wsasec.keys.associations import Address, Outcome
from wsasec.keys.negotiator import Negotiator
from wsasec.keys.programs import Program
from wsasec.keys.reason import Reason
from wsasec.keys.sockets import Gate, facts
from wsasec.lab import Namespace
from wsasec.profiles import DEFAULT

PROFILE = KeyProfile(DEFAULT, Identity("a.example", Authentication.PSK, psk=Path("psk")), Trust())
CONFIG = Config(Path("wsasec.toml"), {"default": PROFILE})
NONE = NameFlag(0)
PROGRAM = Program(1, 1)
PEERS = {socket.AF_INET: "10.9.0.2", socket.AF_INET6: "fd00:9::2"}
OTHERS = {socket.AF_INET: "10.9.0.3", socket.AF_INET6: "fd00:9::3"}
OWN = {socket.AF_INET: "10.9.0.1", socket.AF_INET6: "fd00:9::1"}


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def family(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def peer(realm: Namespace, family: int) -> Address:
    """All hosts are this one: so much of them as there is to see."""
    with LinkSocket() as links:
        for addresses in (OWN, PEERS, OTHERS):
            address = addresses[socket.AddressFamily(family)]
            links.add_address("lo", address, 128 if family == socket.AF_INET6 else 32)
    return ip_address(PEERS[socket.AddressFamily(family)])


@pytest.fixture
def ike(peer: Address, family: int) -> FakeIke:
    ike = FakeIke(FakeSas(), {"default": DEFAULT.reqid})
    for addresses in (PEERS, OTHERS):
        own, other = (ip_address(each[socket.AddressFamily(family)]) for each in (OWN, addresses))
        ike.sas.sources[other] = own
    ike.identities[peer] = "b.example"
    return ike


@pytest.fixture
def negotiator(realm: Namespace, ike: FakeIke) -> Iterator[Negotiator]:
    made = Negotiator(ike, CONFIG, ike.sas)
    yield made
    made.close()


@pytest.fixture
def stream(peer: Address, family: int) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        wsasec.secure(sock)
        yield sock


@pytest.fixture
def datagram(peer: Address, family: int) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        wsasec.secure(sock)
        yield sock


def send(sock: socket.socket, peer: Address) -> int:
    """Return the error of sending: EPERM if it is shut, EAGAIN if it is open: the kernel has no SA."""
    if sock.type == socket.SOCK_STREAM:
        return sock.connect_ex((str(peer), 9))
    try:
        sock.sendto(b"x", (str(peer), 9))
    except OSError as error:
        return error.errno or 0
    return 0


def test_the_gate(stream: socket.socket, datagram: socket.socket, peer: Address, family: int) -> None:
    gate = Gate()
    for sock in (stream, datagram):
        for _ in range(2):
            assert send(sock, peer) == errno.EAGAIN
            gate.shut(sock.fileno(), family, DEFAULT)
            assert send(sock, peer) == errno.EPERM
            gate.open(sock.fileno(), family, DEFAULT)
    with pytest.raises(OSError):
        gate.shut(stream.fileno(), socket.AF_INET6 if family == socket.AF_INET else socket.AF_INET, DEFAULT)
    wrong = replace(DEFAULT, reqid=DEFAULT.reqid + 1)
    with pytest.raises(OSError):
        gate.open(stream.fileno(), family, wrong)


def test_facts(realm: Namespace, stream: socket.socket, family: int, peer: Address) -> None:
    found = facts(stream.fileno())
    assert (found.family, found.stream, found.mark) == (family, True, DEFAULT.mark)
    assert (found.own, found.peer, found.device) == (None, None, 0)
    with stream.dup() as copy:
        assert facts(copy.fileno()) == found
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((str(peer), 0))
        sock.connect((str(peer), 9))
        found = facts(sock.fileno())
        assert (found.own, found.peer, found.stream, found.mark) == (peer, peer, False, 0)
        assert found.cookie != facts(stream.fileno()).cookie
    with Path("/dev/null").open() as null, pytest.raises(OSError):
        facts(null.fileno())
    unix, other = socket.socketpair()
    with unix, other, pytest.raises(OSError):
        facts(unix.fileno())


def test_a_stream_socket_with_a_name(
    negotiator: Negotiator, ike: FakeIke, stream: socket.socket, peer: Address
) -> None:
    fd = stream.fileno()
    assert negotiator.set_name(fd, None, "host/b.example", NONE, PROGRAM, soon()).good
    assert ike.initiated == []
    assert send(stream, peer) == errno.EPERM
    assert negotiator.verify(fd, peer, soon()).good
    assert send(stream, peer) == errno.EAGAIN
    assert negotiator.hold(fd).good
    assert send(stream, peer) == errno.EPERM
    assert negotiator.verify(fd, peer, soon()).good
    assert send(stream, peer) == errno.EAGAIN
    assert negotiator.set_name(fd, None, "m.example", NONE, PROGRAM, soon()).good
    assert send(stream, peer) == errno.EPERM
    verdict = negotiator.verify(fd, peer, soon())
    assert verdict.reason is Reason.OTHER_IDENTITY
    assert verdict.detail == "identity is 'b.example', 'm.example' was asked for"
    assert send(stream, peer) == errno.EPERM
    assert negotiator.delete_name(fd, None).good
    assert send(stream, peer) == errno.EAGAIN
    assert negotiator.delete_name(fd, None).reason is Reason.NO_NAME
    until(lambda: ike.pins == {})


def test_how_long_sockets_wait_that_may_go_on_in_clear(
    negotiator: Negotiator,
    ike: FakeIke,
    stream: socket.socket,
    peer: Address,
    family: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the configuration says, also a new one; others as long as they ask for."""
    end = threading.Event()
    asked: list[float] = []

    def initiate(profile: str, peer: Address, deadline: float, local: Address | None) -> Outcome:
        asked.append(deadline - time.monotonic())
        end.wait(20)
        return Outcome(Reason.PEER_SILENT)

    monkeypatch.setattr(ike, "initiate", initiate)
    negotiator.configure(replace(CONFIG, first_seconds=0.3))
    try:
        with socket.socket(family) as optional:
            for sock, seconds in ((optional, 0.3), (stream, 0.6)):
                begin = time.monotonic()
                verdict = negotiator.verify(sock.fileno(), peer, soon(5 if sock is optional else seconds))
                assert verdict.reason is Reason.TIMED_OUT
                assert seconds <= time.monotonic() - begin < 4
    finally:
        end.set()
    assert len(asked) == 1
    assert 0 < asked[0] <= 0.3


def test_a_socket_without_names(
    negotiator: Negotiator, ike: FakeIke, stream: socket.socket, peer: Address
) -> None:
    fd = stream.fileno()
    assert negotiator.hold(fd).good
    assert negotiator.verify(fd, peer, soon()).good
    assert send(stream, peer) == errno.EAGAIN
    assert negotiator.verify(fd, None, soon()).reason is Reason.NOT_CONNECTED
    found = negotiator.association_of(fd, peer, soon())
    assert (found.identity, found.profile, found.spi_in, found.spi_out) == (
        "b.example",
        "default",
        1001,
        2001,
    )
    assert negotiator.identity_of(fd, peer, soon()) == (found.verdict, "b.example")
    assert negotiator.association_of(fd, None, soon()).verdict.reason is Reason.NOT_CONNECTED
    assert negotiator.identity_of(fd, None, soon())[0].reason is Reason.NOT_CONNECTED
    ike.terminate(ike.ikes[0].unique_id, soon())
    assert negotiator.association_of(fd, peer, soon()).verdict.reason is Reason.NO_ASSOCIATION


def test_an_optional_name_shuts_nothing(
    negotiator: Negotiator, ike: FakeIke, stream: socket.socket, peer: Address
) -> None:
    fd = stream.fileno()
    assert negotiator.set_name(fd, None, "m.example", NameFlag.OPTIONAL, PROGRAM, soon()).good
    assert send(stream, peer) == errno.EAGAIN
    assert negotiator.verify(fd, peer, soon()).good
    assert ike.pins == {}
    assert negotiator.hold(fd).good
    assert send(stream, peer) == errno.EAGAIN
    ike.alive = False
    ike.sas.table.clear()
    assert negotiator.verify(fd, peer, soon()).reason is Reason.NO_CHARON


def test_a_datagram_socket_has_names_of_addresses(
    negotiator: Negotiator, ike: FakeIke, datagram: socket.socket, peer: Address, family: int
) -> None:
    fd = datagram.fileno()
    other = ip_address(OTHERS[socket.AddressFamily(family)])
    ike.identities[other] = "c.example"
    assert negotiator.set_name(fd, None, "b.example", NONE, PROGRAM, soon()).reason is Reason.PEER_ADDRESS
    assert negotiator.set_name(fd, peer, "b.example", NONE, PROGRAM, soon()).good
    assert send(datagram, peer) == errno.EAGAIN
    verdict = negotiator.set_name(fd, other, "m.example", NONE, PROGRAM, soon())
    assert verdict.reason is Reason.OTHER_IDENTITY
    assert send(datagram, peer) == errno.EPERM
    assert negotiator.verify(fd, peer, soon()).reason is Reason.OTHER_IDENTITY
    assert send(datagram, peer) == errno.EPERM
    assert negotiator.delete_name(fd, other).good
    assert send(datagram, peer) == errno.EAGAIN
    assert negotiator.set_name(fd, other, "c.example", NONE, PROGRAM, soon()).good
    assert send(datagram, peer) == errno.EAGAIN
    assert negotiator.hold(fd).good
    assert send(datagram, peer) == errno.EPERM
    assert negotiator.verify(fd, other, soon()).good
    assert send(datagram, peer) == errno.EAGAIN
    assert ike.pins == {peer: "b.example", other: "c.example"}


def test_a_connected_datagram_socket(
    negotiator: Negotiator, datagram: socket.socket, peer: Address, ike: FakeIke
) -> None:
    with pytest.raises(BlockingIOError):
        datagram.connect((str(peer), 9))
    assert negotiator.set_name(datagram.fileno(), peer, "b.example", NONE, PROGRAM, soon()).good


def test_what_is_refused(
    negotiator: Negotiator, stream: socket.socket, peer: Address, family: int, realm: Namespace
) -> None:
    fd = stream.fileno()
    for name in ("", "10.9.0.2", "*.example", "a b"):
        assert negotiator.set_name(fd, None, name, NONE, PROGRAM, soon()).reason is Reason.NAME_FORM
    assert send(stream, peer) == errno.EAGAIN
    with socket.socket(family, socket.SOCK_STREAM) as plain:
        verdict = negotiator.set_name(plain.fileno(), None, "b.example", NONE, PROGRAM, soon())
        assert verdict.reason is Reason.NOT_SECURED
        assert negotiator.association_of(plain.fileno(), peer, soon()).verdict.reason is Reason.NOT_SECURED
        assert negotiator.verify(plain.fileno(), peer, soon()).good  # it may be secured, and need not
    with Path("/dev/null").open() as null:
        for verdict in (
            negotiator.set_name(null.fileno(), None, "b.example", NONE, PROGRAM, soon()),
            negotiator.delete_name(null.fileno(), None),
            negotiator.hold(null.fileno()),
            negotiator.verify(null.fileno(), peer, soon()),
            negotiator.association_of(null.fileno(), peer, soon()).verdict,
            negotiator.identity_of(null.fileno(), peer, soon())[0],
        ):
            assert verdict.reason is Reason.NOT_A_SOCKET


def test_the_end_of_a_program(
    negotiator: Negotiator, ike: FakeIke, stream: socket.socket, datagram: socket.socket, peer: Address
) -> None:
    assert negotiator.set_name(stream.fileno(), None, "m.example", NONE, PROGRAM, soon()).good
    assert negotiator.set_name(datagram.fileno(), peer, "b.example", NONE, PROGRAM, soon()).good
    assert ike.pins == {peer: "b.example"}
    negotiator.program_ended(PROGRAM)
    until(lambda: ike.pins == {})
    # Somebody else may have it still: it stays shut.
    assert send(stream, peer) == errno.EPERM
    assert negotiator.verify(stream.fileno(), peer, soon()).good
    assert send(stream, peer) == errno.EPERM
    assert negotiator.set_name(stream.fileno(), None, "b.example", NONE, Program(2, 2), soon()).good
    assert negotiator.verify(stream.fileno(), peer, soon()).good
    assert send(stream, peer) == errno.EAGAIN


def test_a_program_that_ends_while_its_name_is_verified(
    negotiator: Negotiator, ike: FakeIke, stream: socket.socket, peer: Address
) -> None:
    assert negotiator.set_name(stream.fileno(), None, "b.example", NONE, PROGRAM, soon()).good
    ike.gate.clear()
    found: list[Reason] = []
    thread = threading.Thread(
        target=lambda: found.append(negotiator.verify(stream.fileno(), peer, soon()).reason)
    )
    thread.start()
    until(lambda: bool(ike.initiated))
    negotiator.program_ended(PROGRAM)
    ike.gate.set()
    thread.join()
    assert found == [Reason.NO_NAME]
    assert send(stream, peer) == errno.EPERM
    until(lambda: ike.pins == {})


def test_no_charon(negotiator: Negotiator, ike: FakeIke, stream: socket.socket, peer: Address) -> None:
    fd = stream.fileno()
    ike.alive = False
    assert negotiator.verify(fd, peer, soon()).reason is Reason.NO_CHARON
    assert negotiator.set_name(fd, None, "b.example", NONE, PROGRAM, soon()).good
    assert negotiator.verify(fd, peer, soon()).reason is Reason.NO_CHARON
    assert send(stream, peer) == errno.EPERM
    ike.alive = True
    assert negotiator.take_over(soon()).good
    assert negotiator.verify(fd, peer, soon()).good
    assert send(stream, peer) == errno.EAGAIN


# ACQUIREs


def wait_for(heard: list[Acquire], number: int) -> None:
    until(lambda: len(heard) >= number)


def test_acquires_are_heard(datagram: socket.socket, peer: Address) -> None:
    heard: list[Acquire] = []
    listener = AcquireListener(heard.append)
    listener.start()
    try:
        assert send(datagram, peer) == errno.EAGAIN
        wait_for(heard, 1)
        assert heard[0] == Acquire(DEFAULT.reqid, peer, peer)
    finally:
        listener.close()
        listener.close()


def test_what_the_kernel_waits_for_is_told_again(datagram: socket.socket, peer: Address) -> None:
    heard: list[Acquire] = []
    listener = AcquireListener(heard.append)
    try:
        assert send(datagram, peer) == errno.EAGAIN  # told to nobody: the listener has not begun
        listener.start()
        wait_for(heard, 2)  # found in the table, and read
        assert set(heard) == {Acquire(DEFAULT.reqid, peer, peer)}
        listener.look_again()
        wait_for(heard, 3)
    finally:
        listener.close()


def test_a_flood_of_acquires_loses_none(realm: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsasec.keys.acquire._RECEIVE_BUFFER", 2048)
    heard: set[Acquire] = set()
    go_on = threading.Event()

    def hear(acquire: Acquire) -> None:
        go_on.wait(10)
        heard.add(acquire)

    listener = AcquireListener(hear)
    listener.start()
    wanted = {ip_address(f"127.0.1.{number}") for number in range(1, 200)}
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            wsasec.secure(sock)

            def all_heard() -> bool:
                # One that nobody took is told when the program tries again; one that waits is found.
                missing = wanted - {acquire.destination for acquire in heard}
                for address in missing:
                    assert send(sock, address) == errno.EAGAIN
                return not missing

            assert not all_heard()
            go_on.set()
            until(all_heard)
    finally:
        go_on.set()
        listener.close()


def test_acquires_have_negotiations_made(
    ike: FakeIke, negotiator: Negotiator, datagram: socket.socket, peer: Address
) -> None:
    negotiator.start()
    assert send(datagram, peer) == errno.EAGAIN
    until(lambda: bool(ike.sas.table))
    assert ike.initiated == [("default", peer)]


def test_the_source_of_routes(realm: Namespace, peer: Address, family: int) -> None:
    assert source_of(peer) == peer
    assert source_of(peer, DEFAULT.mark) == peer
    far = ip_address("192.0.2.1" if family == socket.AF_INET else "2001:db8::1")
    with pytest.raises(OSError):
        source_of(far)


def test_listing_and_removing_what_is_not_there(realm: Namespace, peer: Address, family: int) -> None:
    with XfrmTable() as table:
        assert table.between(str(peer), str(peer)) == []
        assert table.between(None, str(peer)) == []
        assert table.associations() == []
