"""Names, ACQUIREs and many at once, with a charon at each end of the wire."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from certificates import Authority
from ike_hosts import certified, config, host, key_profile, soon

import wsasec
from wsasec.config.model import KeyProfile, Trust
from wsasec.daemon.protocol import NameFlag
from wsasec.keys.associations import Address
from wsasec.keys.ike import Ike
from wsasec.keys.negotiator import Negotiator
from wsasec.keys.programs import Program
from wsasec.keys.reason import Reason
from wsasec.lab import Lab, Namespace
from wsasec.profiles import DEFAULT

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("no_namespaces", "deadline")]

PORT = 5000
NONE = NameFlag(0)


@dataclass
class Hosts:
    """a has a negotiator, b has a charon; who b is can be changed."""

    lab: Lab
    folder: Path
    family: socket.AddressFamily
    authority: Authority
    stack: ExitStack
    a: Ike
    negotiator: Negotiator
    program: Program

    @property
    def own(self) -> Address:
        return ip_address(self.lab.a.v4 if self.family == socket.AF_INET else self.lab.a.v6)

    @property
    def peer(self) -> Address:
        return ip_address(self.lab.b.v4 if self.family == socket.AF_INET else self.lab.b.v6)

    def profile(self, name: str, *names: str, **rest: object) -> KeyProfile:
        identity = certified(name, self.authority.issue(name, names or None))
        return key_profile(identity, Trust(ca=(self.authority.certificate,)), **rest)  # type: ignore[arg-type]

    def renew(self, **seconds: int) -> None:
        """Have a's keys renewed after so many seconds."""
        profile = replace(self.negotiator._config.profiles["default"], **seconds)  # type: ignore[arg-type]
        self.a.load(config(profile), soon())
        self.negotiator.configure(config(profile))

    @contextmanager
    def b(self, name: str, *names: str) -> Iterator[Ike]:
        """Have b be somebody."""
        with host(self.lab.b, self.folder, self.profile(name, *names)) as ike:
            yield ike

    @contextmanager
    def listener(self, namespace: Namespace | None = None) -> Iterator[None]:
        at = namespace or self.lab.b
        address = at.v4 if self.family == socket.AF_INET else at.v6
        with at.entered():
            listener = wsasec.Listener((address, PORT), mode="echo")
        with listener:
            yield

    @contextmanager
    def socket(self, kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[socket.socket]:
        with self.lab.a.socket(self.family, kind) as sock:
            sock.settimeout(10)
            with self.lab.a.entered():
                wsasec.secure(sock)
            yield sock

    def connect(self, sock: socket.socket) -> int:
        """Connect once, and return the error."""
        return sock.connect_ex((str(self.peer), PORT))

    def set_name(self, sock: socket.socket, name: str, flags: NameFlag = NONE) -> Reason:
        peer = None if sock.type == socket.SOCK_STREAM else self.peer
        with self.lab.a.entered():
            return self.negotiator.set_name(sock.fileno(), peer, name, flags, self.program, soon()).reason

    def verify(self, sock: socket.socket) -> Reason:
        with self.lab.a.entered():
            return self.negotiator.verify(sock.fileno(), self.peer, soon()).reason

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "it does not come true"
            time.sleep(0.01)

    def sas(self) -> list[int]:
        return sorted(sa.spi for sa in self.lab.a.sas() if sa.usable)


@pytest.fixture
def hosts(family: socket.AddressFamily, tmp_path: Path) -> Iterator[Hosts]:
    authority = Authority(tmp_path, "ca")
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(keys=False))
        identity = certified("a.example", authority.issue("a.example"))
        profile = key_profile(identity, Trust(ca=(authority.certificate,)))
        a = stack.enter_context(host(lab.a, tmp_path, profile))
        negotiator = Negotiator(a, config(profile))
        with lab.a.entered():
            negotiator.start()
        stack.callback(negotiator.close)
        pidfd = os.pidfd_open(os.getpid())
        stack.callback(os.close, pidfd)
        yield Hosts(lab, tmp_path, family, authority, stack, a, negotiator, Program(os.getpid(), pidfd))


def test_the_right_name_gets_through_and_is_known(hosts: Hosts) -> None:
    with hosts.b("b.example", "b.example", "alias.example"), hosts.listener(), hosts.socket() as sock:
        assert hosts.set_name(sock, "host/alias.example") is Reason.NONE
        assert hosts.connect(sock) == errno.EPERM
        assert hosts.verify(sock) is Reason.NONE
        assert hosts.connect(sock) == 0
        sock.sendall(b"hello")
        assert sock.recv(5, socket.MSG_WAITALL) == b"hello"
        with hosts.lab.a.entered():
            found = hosts.negotiator.association_of(sock.fileno(), None, soon())
            verdict, identity = hosts.negotiator.identity_of(sock.fileno(), None, soon())
        assert (verdict.reason, identity) == (Reason.NONE, "b.example")
        assert (found.identity, found.own_identity, found.profile) == ("b.example", "a.example", "default")
        assert (found.secured, found.encrypted, found.protocol) == (True, True, 50)
        assert (found.encryption, found.encryption_bits, found.integrity_bits) == (
            "rfc4106(gcm(aes))",
            256,
            128,
        )
        assert found.esn
        assert found.mode == "transport"
        assert found.reqid == DEFAULT.reqid
        assert found.mm_sa_id
        assert found.qm_sa_id
        assert found.certificate.startswith(b"\x30")
        assert found.packets_in > 1
        assert found.packets_out > 1
        assert 0 < found.rekey_in <= 3600
        assert found.age < 60
        assert sorted([found.spi_in, found.spi_out]) == hosts.sas()
        assert hosts.a.pinned("default", hosts.peer) == "b.example"
        with hosts.lab.a.entered():
            assert hosts.negotiator.delete_name(sock.fileno(), None).good
            assert hosts.negotiator.delete_name(sock.fileno(), None).reason is Reason.NO_NAME
        hosts.until(lambda: hosts.a.pinned("default", hosts.peer) is None)
        sock.sendall(b"again")
        assert sock.recv(5, socket.MSG_WAITALL) == b"again"


@pytest.mark.parametrize("name", ["host/b.example", "root@m.example", "CN=b.example"])
def test_another_name_does_not(hosts: Hosts, name: str) -> None:
    with hosts.b("m.example"), hosts.listener(), hosts.socket() as sock, hosts.lab.capture() as wire:
        assert hosts.set_name(sock, name) is Reason.NONE
        with hosts.lab.a.entered():
            verdict = hosts.negotiator.verify(sock.fileno(), hosts.peer, soon())
        assert verdict.reason is Reason.OTHER_IDENTITY
        assert verdict.detail == f"identity is 'm.example', '{name}' was asked for"
        assert hosts.connect(sock) == errno.EPERM
        assert hosts.a.pinned("default", hosts.peer) is None
    # Once the capture has ended all of it is counted.
    assert (wire.counts.esp, wire.counts.clear) == (0, 0)


def test_an_optional_name_may_be_another(hosts: Hosts) -> None:
    with hosts.b("m.example"), hosts.listener(), hosts.socket() as sock:
        assert hosts.set_name(sock, "b.example", NameFlag.OPTIONAL) is Reason.NONE
        assert hosts.verify(sock) is Reason.NONE
        assert hosts.connect(sock) == 0


def test_raw_names(hosts: Hosts) -> None:
    with hosts.b("b.example", "b.example", "alias.example"), hosts.listener():
        for name, expected in [("alias.example", Reason.OTHER_IDENTITY), ("b.example", Reason.NONE)]:
            with hosts.socket() as sock:
                assert hosts.set_name(sock, name, NameFlag.RAW) is Reason.NONE
                assert hosts.verify(sock) is expected
                assert hosts.connect(sock) == (0 if expected is Reason.NONE else errno.EPERM)


def test_nobody_takes_the_place_of_who_is_pinned(hosts: Hosts) -> None:
    """b is verified; then somebody else, whom the CA vouches for, answers at b's address."""
    with hosts.socket() as sock, hosts.socket() as other:
        with hosts.b("b.example"), hosts.listener():
            assert hosts.set_name(sock, "b.example") is Reason.NONE
            assert hosts.verify(sock) is Reason.NONE
            assert hosts.connect(sock) == 0
        hosts.until(lambda: not hosts.sas())
        with hosts.b("m.example") as mallory, hosts.listener(), hosts.lab.capture() as wire:
            # The kernel may have asked before his charon knew anybody, which is remembered for a moment.
            seen: set[Reason] = set()
            hosts.until(lambda: seen.add(hosts.verify(sock)) or Reason.OTHER_IDENTITY in seen)
            assert seen <= {Reason.OTHER_IDENTITY, Reason.NO_PROPOSAL, Reason.PEER_SILENT}
            sock.sendall(b"secret")
            # Nor can he begin.
            with hosts.lab.b.entered():
                outcome = mallory.initiate("default", hosts.own, soon())
            assert outcome.reason is not Reason.NONE
            # Nor can those have him who did not ask for a name: the address is spoken for.
            assert hosts.verify(other) is Reason.OTHER_IDENTITY
            assert hosts.connect(other) == errno.EAGAIN
            assert hosts.sas() == []
        assert wire.counts.esp == 0
        hosts.negotiator.program_ended(hosts.program)
        hosts.until(lambda: hosts.a.pinned("default", hosts.peer) is None)
        with hosts.b("m.example"), hosts.listener():
            hosts.negotiator.configure(config(*hosts.negotiator._config.profiles.values()))
            # What was asked before, and is answered now, is remembered for a moment, as above.
            hosts.until(lambda: hosts.verify(other) is Reason.NONE)
            assert hosts.connect(other) == 0


def test_datagram_sockets_have_names_of_addresses(hosts: Hosts) -> None:
    with hosts.b("b.example"), hosts.socket(socket.SOCK_DGRAM) as sock:
        address = (str(hosts.peer), PORT)
        assert hosts.set_name(sock, "m.example") is Reason.OTHER_IDENTITY
        with pytest.raises(PermissionError):
            sock.sendto(b"x", address)
        assert hosts.set_name(sock, "b.example") is Reason.NONE
        assert sock.sendto(b"x", address) == 1
        with hosts.lab.a.entered():
            assert hosts.negotiator.hold(sock.fileno()).good
        with pytest.raises(PermissionError):
            sock.sendto(b"x", address)
        assert hosts.verify(sock) is Reason.NONE
        assert sock.sendto(b"x", address) == 1
        assert hosts.set_name(sock, "m.example") is Reason.OTHER_IDENTITY
        with hosts.lab.a.entered():
            assert hosts.negotiator.delete_name(sock.fileno(), hosts.peer).good
        assert sock.sendto(b"x", address) == 1
        with hosts.lab.a.entered():
            found = hosts.negotiator.association_of(sock.fileno(), hosts.peer, soon())
        assert found.secured
        assert found.identity == "b.example"


def test_a_plain_connect_has_keys_made(hosts: Hosts) -> None:
    with hosts.b("b.example"), hosts.listener(), hosts.socket() as sock, hosts.lab.capture() as wire:
        assert hosts.connect(sock) == errno.EAGAIN
        hosts.until(lambda: len(hosts.sas()) == 2)
        assert hosts.connect(sock) == 0
        sock.sendall(b"hello")
        assert sock.recv(5, socket.MSG_WAITALL) == b"hello"
    assert wire.counts.clear == 0


def test_two_hundred_make_one_negotiation(hosts: Hosts) -> None:
    with hosts.b("b.example") as b:
        found: list[Reason] = []

        def ask() -> None:
            profile = hosts.negotiator._config.profiles["default"]
            found.append(hosts.negotiator.negotiate(profile, None, hosts.peer, soon(20)).reason)

        with hosts.lab.a.entered():
            threads = [threading.Thread(target=ask) for _ in range(200)]
            for thread in threads:
                thread.start()
        for thread in threads:
            thread.join()
        assert found == [Reason.NONE] * 200
        for ike in (hosts.a, b):
            (association,) = ike.associations(soon())
            assert len(association.children) == 1


def test_both_ends_at_once(hosts: Hosts) -> None:
    with hosts.b("b.example") as b:
        other = Negotiator(b, config(hosts.profile("b.example")))
        with hosts.lab.b.entered():
            other.start()
        found: list[Reason] = []
        ready = threading.Barrier(2)

        def ask(negotiator: Negotiator, peer: Address) -> None:
            profile = negotiator._config.profiles["default"]
            ready.wait(10)
            found.append(negotiator.negotiate(profile, None, peer, soon(20)).reason)

        threads = []
        for namespace, negotiator, peer in (
            (hosts.lab.a, hosts.negotiator, hosts.peer),
            (hosts.lab.b, other, hosts.own),
        ):
            with namespace.entered():
                threads.append(threading.Thread(target=ask, args=(negotiator, peer)))
                threads[-1].start()
        for thread in threads:
            thread.join()
        other.close()
        assert found == [Reason.NONE] * 2


def test_nobody_there_and_no_route(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for the same peer again is told what is known."""
    monkeypatch.setattr("wsasec.keys.negotiations._FAILURE_SECONDS", 60.0)
    profile = hosts.negotiator._config.profiles["default"]
    with hosts.lab.a.entered():
        begun = []
        for _ in range(2):
            verdict = hosts.negotiator.negotiate(profile, None, hosts.peer, soon())
            assert verdict.reason is Reason.PEER_SILENT
            begun.append(hosts.a._charon.log.read_text().count("initiating IKE_SA "))
        assert begun[0] == begun[1] > 0
        far = ip_address("192.0.2.1" if hosts.family == socket.AF_INET else "2001:db8::1")
        assert hosts.negotiator.negotiate(profile, None, far, soon()).reason is Reason.UNREACHABLE
        assert hosts.negotiator.negotiate(profile, None, hosts.peer, soon(-1)).reason in (
            Reason.TIMED_OUT,
            Reason.PEER_SILENT,
        )


def test_charon_dies_and_comes_again(hosts: Hosts) -> None:
    with hosts.b("b.example"), hosts.listener(), hosts.socket() as sock, hosts.socket() as other:
        assert hosts.set_name(sock, "b.example") is Reason.NONE
        assert hosts.verify(sock) is Reason.NONE
        assert hosts.connect(sock) == 0
        pid = hosts.a.pid
        assert pid is not None
        os.kill(pid, 9)
        hosts.until(lambda: not hosts.a.alive)
        before = hosts.sas()
        assert len(before) == 2
        with hosts.socket() as third:
            assert hosts.set_name(third, "m.example") is Reason.NONE
            assert hosts.verify(third) is Reason.NO_CHARON
        with hosts.lab.a.entered():
            found = hosts.negotiator.association_of(sock.fileno(), None, soon())
            assert found.secured
            assert not found.identity
            assert hosts.negotiator.identity_of(sock.fileno(), None, soon())[0].reason is Reason.NO_IDENTITY
            hosts.a.start(soon(30))
            assert hosts.negotiator.take_over(soon()).good
        assert not set(before) & set(hosts.sas())
        assert hosts.a.pinned("default", hosts.peer) == "b.example"
        assert hosts.verify(other) is Reason.NONE
        assert hosts.connect(other) == 0
        sock.sendall(b"again")
        assert sock.recv(5, socket.MSG_WAITALL) == b"again"
        with hosts.lab.a.entered():
            assert hosts.negotiator.identity_of(sock.fileno(), None, soon()) == (
                hosts.negotiator.identity_of(other.fileno(), None, soon())
            )


def test_names_while_everything_is_renewed(hosts: Hosts) -> None:
    """Who is known to be there stays known, and nothing of his is taken for anybody else's."""
    renewed = {"rekey_seconds": 2, "ike_rekey_seconds": 3}
    hosts.renew(**renewed)
    with hosts.b("b.example"), hosts.listener(), hosts.socket() as sock, hosts.lab.capture() as wire:
        assert hosts.set_name(sock, "b.example") is Reason.NONE
        assert hosts.verify(sock) is Reason.NONE
        assert hosts.connect(sock) == 0
        spis: set[int] = set()
        numbers: set[int] = set()
        deadline = time.monotonic() + 60
        while len(spis) < 4 or len(numbers) < 3:
            assert time.monotonic() < deadline
            with hosts.socket() as other:
                assert hosts.set_name(other, "b.example") is Reason.NONE
                assert hosts.verify(other) is Reason.NONE
                assert hosts.connect(other) == 0
            with hosts.lab.a.entered():
                found = hosts.negotiator.association_of(sock.fileno(), None, soon())
                assert found.identity == "b.example"
                verdict, identity = hosts.negotiator.identity_of(sock.fileno(), None, soon())
                assert (verdict.reason, identity) == (Reason.NONE, "b.example")
            spis.add(found.spi_out)
            numbers.add(found.mm_sa_id)
            sock.sendall(b"hello")
            assert sock.recv(5, socket.MSG_WAITALL) == b"hello"
    assert wire.counts.clear == 0


def test_link_local_addresses(hosts: Hosts) -> None:
    if hosts.family == socket.AF_INET:
        return
    listed = hosts.lab.b.run(["ip", "-6", "address", "show", "dev", "b0", "scope", "link"]).stdout
    with hosts.lab.a.entered():
        peer = ip_address(f"{listed.split('inet6 ')[1].split('/')[0]}%{socket.if_nametoindex('a0')}")
        with hosts.b("b.example"), hosts.socket(socket.SOCK_DGRAM) as sock:
            profile = hosts.negotiator._config.profiles["default"]
            assert hosts.negotiator.negotiate(profile, None, peer, soon()).good
            found = hosts.negotiator.association_of(sock.fileno(), peer, soon())
            assert found.identity == "b.example"
            verdict = hosts.negotiator.set_name(sock.fileno(), peer, "b.example", NONE, hosts.program, soon())
            assert verdict.reason is Reason.NO_IDENTITY
