"""charon with its plugin, and an engine that keeps what it is told: each call, and the end of either."""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from accounts import accounts, entry
from charon_plugin import ROOT, plugin
from daemon_hosts import open_folder
from fake_engine import INBOUND, OUTBOUND, Added, FakeEngine

from wsasec.engine import unbound
from wsasec.engine.messages import Type
from wsasec.keys.associations import IkeSa
from wsasec.keys.charon import Charon
from wsasec.keys.listing import list_ike_sas
from wsasec.keys.plugin import NAME, built_for
from wsasec.keys.reason import CharonError
from wsasec.keys.session import Session, connect
from wsasec.keys.strongswan import find_charon, version_of
from wsasec.lab import Lab, Namespace

REQID = 201
OWN = 61_984  # a user that is not there
PROPOSAL = "aes256gcm16-esn"
DIRECTION = 38  # where it is in the name of an SA


def soon() -> float:
    return time.monotonic() + 30


class End:
    """A host with a charon, its plugin, and an engine."""

    def __init__(self, folder: Path, namespace: Namespace) -> None:
        self.namespace = namespace
        folder.mkdir(mode=0o711)
        self.sockets: list[socket.socket] = []
        self.charon = Charon(folder, plugin, lambda: [each.dup() for each in self.sockets])
        self.charon.make_folder()
        self.engine: FakeEngine = FakeEngine(self.charon.engine)
        self.session: Session | None = None
        self._connection: dict[str, Any] = {}

    def start(self) -> None:
        with self.namespace.entered():
            self.charon.start(soon())
        self.session = connect(self.charon.vici, soon())
        if self._connection:
            self._load()
        # Both families' ports, or what follows would be a matter of luck.
        self.engine.wait(lambda engine: all(engine.descriptors(f) for f in (socket.AF_INET, socket.AF_INET6)))

    def start_with(self, count: int) -> set[int]:
        """Start charon with sockets for the plugin, so many of each family; return their inodes."""
        with ExitStack() as stack:
            with self.namespace.entered():
                self.sockets += [stack.enter_context(each) for each in unbound(count)]
            inodes = {os.fstat(each.fileno()).st_ino for each in self.sockets}
            self.start()
            self.sockets.clear()
        return inodes

    def load(self, secret: str, me: str, peer: str, **child: Any) -> None:
        children = {
            "mode": "transport",
            "policies": "no",
            "reqid": REQID,
            "local_ts": ["dynamic"],
            "remote_ts": ["dynamic"],
            "esp_proposals": [PROPOSAL],
            "replay_window": 1024,
            "rekey_time": "100s",
            "life_time": "200s",
            "rand_time": "0s",
            "rekey_bytes": 10_000_000,
            "life_bytes": 20_000_000,
            "rand_bytes": 0,
            "rekey_packets": 1000,
            "life_packets": 2000,
            "rand_packets": 0,
        }
        encap = child.pop("encap", "yes")
        self._secret = secret
        self._connection = {
            "version": 2,
            "mobike": "no",
            "encap": encap,
            "remote_addrs": [peer],
            "local_addrs": [me],
            "proposals": ["aes256gcm16-prfsha384-ecp256"],
            "local": {"auth": "psk", "id": me},
            "remote": {"auth": "psk", "id": peer},
            "children": {"c": children | child},
        }
        self._load()

    def _load(self) -> None:
        assert self.session is not None
        shared = {"type": "ike", "data": self._secret, "owners": ["%any"]}
        self.session.request("load-shared", shared, soon())
        self.session.request("load-conn", {"wsasec-plugin@any/0": self._connection}, soon())

    def change(self, **connection: Any) -> None:
        self._connection.update(connection)
        self._load()

    def initiate(self) -> None:
        assert self.session is not None
        self.session.request("initiate", {"child": "c", "timeout": 10_000}, soon())
        # It says so a moment before it knows the child by its SPIs; before this answer it is done with it.
        self.ikes()

    def ikes(self) -> list[IkeSa]:
        assert self.session is not None
        return list_ike_sas(self.session, soon(), wait=True)

    def stop(self) -> None:
        if self.session is not None:
            self.session.close()
        self.charon.stop()

    def kill(self) -> None:
        pid = self.charon.pid
        assert pid is not None
        os.kill(pid, 9)
        self.stop()

    def close(self) -> None:
        self.stop()
        self.engine.close()

    def restart_engine(self, threads: int = 2) -> FakeEngine:
        before = self.engine
        before.close()
        self.engine = FakeEngine(self.charon.engine, threads)
        return before

    @property
    def log(self) -> str:
        return self.charon.log.read_text()


class Pair:
    def __init__(self, a: End, b: End, v4: tuple[str, str], v6: tuple[str, str]) -> None:
        self.a, self.b, self.v4, self.v6 = a, b, v4, v6

    def load(self, addresses: tuple[str, str] | None = None, **child: Any) -> None:
        secret = secrets.token_hex(16)
        me, peer = addresses or self.v4
        self.a.load(secret, me, peer, **child)
        self.b.load(secret, peer, me, **child)

    def settled(self, pairs: int = 1) -> None:
        for end in (self.a, self.b):
            end.engine.wait(lambda engine: len(engine.sas) == 2 * pairs)
            end.ikes()  # the engine has an SA a moment before charon knows it; before this answer it does


@pytest.fixture
def pair() -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("needs root: charon is another user's process, in a mount namespace of its own")
    plugin()
    with open_folder() as folder, Lab(keys=False) as lab, ExitStack() as ends:
        a, b = End(folder / "a", lab.a), End(folder / "b", lab.b)
        ends.callback(a.close)
        ends.callback(b.close)
        a.start()
        b.start()
        yield Pair(a, b, (lab.a.v4, lab.b.v4), (lab.a.v6, lab.b.v6))


def crosswise(one: FakeEngine, other: FakeEngine) -> bool:
    """Whether what one host sends is what the other one takes, by the same key."""

    def by_ends(engine: FakeEngine, turned: bool) -> dict[tuple[Any, ...], Any]:
        return {
            (sa.source, sa.destination, sa.inbound ^ turned, sa.spi): (
                sa.key,
                sa.algorithm,
                sa.flags,
                sa.ports,
            )
            for sa in engine.sas.values()
        }

    return by_ends(one, False) == by_ends(other, True)


@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize(
    ("proposal", "algorithm", "length", "esn"),
    [
        ("aes128gcm16", 1, 20, False),
        ("aes256gcm16-esn", 2, 36, True),
        ("chacha20poly1305-esn", 3, 36, True),
    ],
)
def test_negotiated_associations_are_the_engines(
    pair: Pair, family: str, proposal: str, algorithm: int, length: int, esn: bool
) -> None:
    addresses = pair.v4 if family == "v4" else pair.v6
    pair.load(addresses, esp_proposals=[proposal])
    pair.a.initiate()
    pair.settled()
    assert crosswise(pair.a.engine, pair.b.engine)
    for sa in pair.a.engine.sas.values():
        assert (sa.algorithm, len(sa.key), sa.esn, sa.udp) == (algorithm, length, esn, True)
        assert (sa.reqid, sa.window, sa.ports) == (REQID, 1024 if sa.inbound else 0, (4500, 4500))
        # soft and hard: bytes, packets, seconds; idle. Without a random part the inbound one says when.
        soft_seconds = 100 if sa.inbound else 0
        assert sa.limits == (10_000_000, 20_000_000, 1000, 2000, soft_seconds, 200, 0)
        assert {sa.source, sa.destination} == set(addresses)
        assert sa.inbound == (sa.destination == addresses[0])
    assert pair.a.engine.count(Type.RESERVE_SPI) == 1
    inbound = next(sa for sa in pair.a.engine.sas.values() if sa.inbound)
    assert inbound.spi == 0xC0001000
    for sa in pair.a.engine.all_added:
        assert sa.key.hex() not in pair.a.log


def test_without_encapsulation_no_ports_are_told(pair: Pair) -> None:
    pair.load(encap="no")
    pair.a.initiate()
    pair.settled()
    assert crosswise(pair.a.engine, pair.b.engine)
    assert not any(sa.udp or any(sa.ports) for sa in pair.a.engine.sas.values())


@pytest.mark.parametrize(
    ("child", "why"),
    [
        ({"esp_proposals": ["aes256-sha256"]}, "does not take SA .*: it has no AES_CBC"),
        ({"esp_proposals": ["aes256gcm12"]}, "does not take SA .*: it has no AES_GCM_12"),
        ({"mode": "tunnel"}, "does not take SA .*: it knows transport mode only"),
        ({"mark_out": "1/1"}, "does not take SA .*: it has SAs without marks"),
        ({"esp_proposals": [], "ah_proposals": ["sha256"]}, "the engine knows ESP only"),
    ],
)
def test_what_the_engine_has_not_is_refused(pair: Pair, child: dict[str, Any], why: str) -> None:
    pair.load(**child)
    with pytest.raises(CharonError):
        pair.a.initiate()
    assert re.search(why, pair.a.log + pair.b.log), pair.a.log + pair.b.log
    assert not pair.a.engine.sas
    assert not pair.b.engine.sas


def test_refusal_of_the_engine_fails_the_negotiation(pair: Pair) -> None:
    pair.load()
    pair.a.engine.refuse[Type.ADD_SA] = (errno.ENOSPC, "no room for more")
    with pytest.raises(CharonError):
        pair.a.initiate()
    assert "adding an inbound SA failed: no room for more" in pair.a.log
    pair.a.engine.refuse.clear()
    pair.a.initiate()
    pair.b.engine.wait(lambda engine: len(engine.sas) == 2)
    pair.settled()


def test_silent_engine_fails_the_negotiation_in_time(pair: Pair) -> None:
    pair.load()
    pair.a.engine.silent.add(Type.RESERVE_SPI)
    with pytest.raises(CharonError):
        pair.a.initiate()
    assert "reserving an SPI failed" in pair.a.log
    pair.a.engine.silent.clear()
    pair.a.initiate()
    pair.settled()


@pytest.mark.parametrize("breaks", [False, True])
@pytest.mark.parametrize("which", [INBOUND, OUTBOUND])
def test_association_of_which_nobody_knows_whether_it_was_added_is_deleted(
    pair: Pair, which: int, breaks: bool
) -> None:
    """It was: the engine would send by it, though charon takes it for failed."""
    pair.load()
    engine = pair.a.engine
    engine.breaks = breaks
    engine.unanswered = lambda kind, body: kind is Type.ADD_SA and body[DIRECTION] == which
    with pytest.raises(CharonError):
        pair.a.initiate()
    assert any(sa.name[DIRECTION] == which for sa in engine.all_added)
    pair.a.engine.wait(lambda engine: not engine.sas)
    engine.unanswered = lambda _kind, _body: False
    pair.b.engine.wait(lambda engine: not engine.sas)
    pair.a.initiate()
    pair.settled()
    assert crosswise(pair.a.engine, pair.b.engine)


def test_deletion_that_was_not_answered_is_tried_again(pair: Pair) -> None:
    """Also of outbound ones, whose direction charon does not say."""
    pair.load()
    pair.a.initiate()
    pair.settled()
    pair.a.engine.silent.add(Type.DELETE_SA)
    assert pair.a.session is not None
    with suppress(CharonError):
        pair.a.session.request("terminate", {"child": "c", "force": "yes", "timeout": 15_000}, soon())
    pair.b.engine.wait(lambda engine: not engine.sas)
    assert len(pair.a.engine.sas) == 2
    pair.a.engine.silent.clear()
    # charon does not ask again.
    pair.a.engine.wait(lambda engine: not engine.sas)
    asked = pair.a.engine.count(Type.DELETE_SA)
    pair.a.initiate()
    pair.settled()
    assert pair.a.engine.count(Type.DELETE_SA) == asked
    assert crosswise(pair.a.engine, pair.b.engine)


def inbound(engine: FakeEngine) -> Added:
    return next(sa for sa in engine.sas.values() if sa.inbound)


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_soft_expire_renews(pair: Pair, direction: str) -> None:
    pair.load()
    pair.a.initiate()
    pair.settled()
    before = [set(end.engine.sas) for end in (pair.a, pair.b)]
    due = next(sa for sa in pair.a.engine.sas.values() if sa.inbound == (direction == "inbound"))
    pair.a.engine.expire(due, hard=False)
    # The old pair stays for packets on their way, for a few seconds.
    for end in (pair.a, pair.b):
        end.engine.wait(lambda engine: len(engine.all_added) == 4)
    for end, old in zip((pair.a, pair.b), before, strict=True):
        end.engine.wait(lambda engine, old=old: len(engine.sas) == 2 and not old & set(engine.sas))
    assert crosswise(pair.a.engine, pair.b.engine)
    assert [ike.state for ike in pair.a.ikes()] == ["ESTABLISHED"]


def test_hard_expire_makes_new_ones(pair: Pair) -> None:
    pair.load()
    pair.a.initiate()
    pair.settled()
    before = set(pair.a.engine.sas)
    pair.a.engine.expire(inbound(pair.a.engine), hard=True)
    pair.a.engine.wait(lambda engine: len(engine.all_added) == 4 and not before & set(engine.sas))
    pair.settled()
    assert crosswise(pair.a.engine, pair.b.engine)


def test_lost_events_are_looked_up(pair: Pair) -> None:
    pair.load()
    pair.a.initiate()
    pair.settled()
    gone = inbound(pair.a.engine)
    with pair.a.engine.changed:
        del pair.a.engine.sas[gone.name]
    pair.a.engine.lose_events()
    pair.a.engine.wait(lambda engine: len(engine.all_added) == 4)
    pair.settled()
    # And what is due, but there.
    with pair.a.engine.changed:
        pair.a.engine.soft.add(inbound(pair.a.engine).name)
    pair.a.engine.lose_events()
    pair.a.engine.wait(lambda engine: len(engine.all_added) == 6)
    pair.settled()
    assert crosswise(pair.a.engine, pair.b.engine)


def test_counters_are_the_engines(pair: Pair) -> None:
    pair.load()
    pair.a.initiate()
    pair.settled()
    with pair.a.engine.changed:
        for sa in pair.a.engine.sas.values():
            pair.a.engine.counts[sa.name] = (7, 700, 3) if sa.inbound else (9, 900, 4)
    (ike,) = pair.a.ikes()
    (child,) = ike.children
    assert (child.packets_in, child.bytes_in) == (7, 700)
    assert (child.packets_out, child.bytes_out) == (9, 900)


def test_moved_peer_gets_its_packets(pair: Pair) -> None:
    pair.load()
    pair.a.initiate()
    pair.settled()
    came = inbound(pair.a.engine)
    peer = socket.inet_aton(pair.v4[1]).ljust(16, b"\0")
    pair.a.engine.tell(Type.EVENT_MAPPING, came.name + struct.pack("=I16sHH", REQID, peer, 4711, 0))
    pair.a.engine.wait(lambda engine: engine.count(Type.SET_MAPPING) >= 1)
    told = [body for kind, body in pair.a.engine.requests if kind is Type.SET_MAPPING]
    for body in told:
        assert body[44:60] == peer
        assert struct.unpack_from("=H", body, 60)[0] == 4711


def test_move_that_failed_is_made_up_for_by_new_associations(pair: Pair) -> None:
    """charon has the new port, whatever the engine says, and would never tell it again."""
    pair.load()
    pair.a.initiate()
    pair.settled()
    came = inbound(pair.a.engine)
    pair.a.engine.refuse[Type.SET_MAPPING] = (errno.ENOMEM, "no memory")
    peer = socket.inet_aton(pair.v4[1]).ljust(16, b"\0")
    pair.a.engine.tell(Type.EVENT_MAPPING, came.name + struct.pack("=I16sHH", REQID, peer, 4711, 0))
    pair.a.engine.wait(lambda engine: engine.count(Type.SET_MAPPING) >= 1)
    # No peer is at that port here: that a new one is begun is all.
    pair.a.engine.wait(lambda engine: engine.count(Type.RESERVE_SPI) == 2)


def test_another_association_with_an_spi_that_is_taken_leaves_the_first_one(pair: Pair) -> None:
    """A peer chooses the SPI by which it is sent to; two behind one address may choose the same."""
    pair.load()
    for end in (pair.a, pair.b):
        end.change(unique="never")
    pair.a.initiate()
    pair.settled()
    first = next(sa for sa in pair.a.engine.sas.values() if not sa.inbound)
    # Another host with the peer's address: its SPIs begin where the first one's did.
    pair.b.kill()
    pair.b.restart_engine()
    pair.b.start()
    with suppress(CharonError):
        pair.b.initiate()
    pair.a.engine.wait(lambda engine: engine.count(Type.ADD_SA) == 4)
    pair.a.ikes()  # what it does with one that failed is done
    assert first.name in pair.a.engine.sas


def test_end_of_an_association_that_charon_does_not_know_yet_is_told_again(pair: Pair) -> None:
    pair.load()
    engine = pair.a.engine

    def expire_in_between(kind: Type, body: bytes) -> bool:
        if kind is Type.ADD_SA and body[DIRECTION] == OUTBOUND:
            engine.unanswered = lambda _kind, _body: False
            engine.expire(inbound(engine), hard=True)
        return False

    engine.unanswered = expire_in_between
    pair.a.initiate()
    # A pair is there that is whole, of which nothing was lost.
    lost = engine.all_added[0]
    engine.wait(
        lambda engine: (
            lost.name not in engine.sas and {sa.inbound for sa in engine.sas.values()} == {True, False}
        )
    )


def test_engine_that_was_restarted_gets_new_associations(pair: Pair) -> None:
    pair.load()
    pair.a.initiate()
    pair.settled()
    before = pair.a.restart_engine()
    pair.a.engine.wait(lambda engine: len(engine.all_added) == 2)
    pair.settled()
    assert crosswise(pair.a.engine, pair.b.engine)
    # Never a key again that was used: its numbers would begin anew.
    old = {sa.key for sa in before.all_added}
    assert not old & {sa.key for sa in pair.a.engine.all_added}
    assert all(len(pair.a.engine.descriptors(family)) == 2 for family in (socket.AF_INET, socket.AF_INET6))


def test_engine_that_comes_late_is_found(pair: Pair) -> None:
    pair.load()
    pair.a.engine.close()
    with pytest.raises(CharonError):
        pair.a.initiate()
    pair.a.engine = FakeEngine(pair.a.charon.engine)
    pair.a.engine.wait(lambda engine: len(engine.transports) == 2)
    pair.a.initiate()
    pair.settled()


def received(engine: FakeEngine, family: int) -> set[bytes]:
    """Return the datagrams that wait in the engine's sockets."""
    found = set()
    for descriptor in engine.descriptors(family):
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            while True:
                try:
                    found.add(sock.recv(2048, socket.MSG_DONTWAIT))
                except BlockingIOError:
                    break
    return found


def send_esp(pair: Pair, family: int, count: int) -> set[bytes]:
    """Send datagrams to a's port as b's engine would, with as many SPIs, and some that are charon's."""
    esp = {(0xC0000000 + number).to_bytes(4, "big") + b"a packet" for number in range(count)}
    with pair.b.namespace.entered(), socket.socket(family, socket.SOCK_DGRAM) as sock:
        to = pair.v4[0] if family == socket.AF_INET else pair.v6[0]
        for each in (b"\0\0\0\0not IKE", b"\xff", b"", *esp):
            sock.sendto(each, (to, 4500))
    return esp


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_port_is_shared(pair: Pair, family: socket.AddressFamily) -> None:
    """All ESP gets to the engine and nothing else does; other tests negotiate by the same port."""
    sent = send_esp(pair, family, 32)
    each = [os.dup(descriptor) for descriptor in pair.a.engine.descriptors(family)]
    assert len(each) == pair.a.engine.threads
    counts = []
    got: set[bytes] = set()
    for descriptor in each:
        with socket.socket(fileno=descriptor) as sock:
            waiting = []
            while True:
                try:
                    waiting.append(sock.recv(2048, socket.MSG_DONTWAIT))
                except BlockingIOError:
                    break
            counts.append(len(waiting))
            got |= set(waiting)
    assert got == sent
    assert counts == [16, 16]  # SPIs that follow each other go to one after the other


@pytest.mark.parametrize("threads", [1, 3])
def test_engine_with_other_threads_has_the_port(pair: Pair, threads: int) -> None:
    """It takes as many sockets as it has threads; all of ESP comes to them, and to nobody else."""
    families = (socket.AF_INET, socket.AF_INET6)
    pair.a.restart_engine(threads)
    pair.a.engine.wait(lambda engine: all(len(engine.descriptors(each)) == threads for each in families))
    for family in families:
        sent = send_esp(pair, family, 32)
        assert received(pair.a.engine, family) == sent
    pair.load()
    pair.a.initiate()
    pair.settled()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_sockets_that_charon_is_started_with_come_first(pair: Pair, count: int) -> None:
    """They are of the port's group, so they are of charon's user; what lacks the plugin opens itself."""
    families = (socket.AF_INET, socket.AF_INET6)
    pair.a.stop()
    given = pair.a.start_with(count)
    assert pair.a.engine.threads == 2
    for family in families:
        found = {os.fstat(each).st_ino for each in pair.a.engine.descriptors(family)}
        assert len(found) == 2
        assert len(found & given) == min(count, 2)
        sent = send_esp(pair, family, 32)
        assert received(pair.a.engine, family) == sent
    pair.load()
    pair.a.initiate()
    pair.settled()
    # One that has more threads takes what is left of them.
    pair.a.restart_engine(3)
    pair.a.engine.wait(lambda engine: all(len(engine.descriptors(each)) == 3 for each in families))
    for family in families:
        found = {os.fstat(each).st_ino for each in pair.a.engine.descriptors(family)}
        assert len(found & given) == count


def test_charon_runs_as_its_own_account(pair: Pair) -> None:
    """What the one before left is that one's then; and the sockets that it is started with."""
    pair.a.stop()
    with accounts(entry("wsasec", OWN)):
        pair.a.start_with(2)
    lines = Path(f"/proc/{pair.a.charon.pid}/status").read_text().splitlines()
    assert {each.split()[1] for each in lines if each.startswith(("Uid:", "Gid:"))} == {str(OWN)}
    for family in (socket.AF_INET, socket.AF_INET6):
        sent = send_esp(pair, family, 32)
        assert received(pair.a.engine, family) == sent
        assert all(os.fstat(each).st_uid == OWN for each in pair.a.engine.descriptors(family))
    pair.load()
    pair.a.initiate()
    pair.settled()


def test_port_that_was_not_taken_is_offered_again(pair: Pair) -> None:
    """Without another start of anything."""
    before = pair.a.engine
    before.close()
    pair.a.engine = FakeEngine(pair.a.charon.engine, refuse={Type.ADD_TRANSPORT: (errno.ENOSPC, "not now")})
    pair.a.engine.wait(lambda engine: engine.count(Type.ADD_TRANSPORT) >= 2)
    assert not pair.a.engine.transports
    pair.a.engine.refuse.clear()
    pair.a.engine.wait(lambda engine: len(engine.transports) == 2)
    assert pair.a.log.count("not now") == 2  # of each family, and not at each try


def killed(end: End) -> None:
    end.kill()


def stopped(end: End) -> None:
    end.stop()


@pytest.mark.parametrize("ended", [killed, stopped])
def test_next_charon_shares_the_port_again(pair: Pair, ended: Callable[[End], None]) -> None:
    """The engine has the port in between, and goes on with what it has."""
    pair.load()
    pair.a.initiate()
    pair.settled()
    ended(pair.a)
    sent = send_esp(pair, socket.AF_INET, 4)
    # The engine's alone now: it gets all of it, also what is not its own.
    assert sent <= received(pair.a.engine, socket.AF_INET)
    left = set(pair.a.engine.sas)
    assert len(left) == (2 if ended is killed else 0)
    pair.a.start()
    assert "unable to bind" not in pair.a.log
    sent = send_esp(pair, socket.AF_INET, 8)
    assert received(pair.a.engine, socket.AF_INET) == sent
    pair.a.initiate()
    pair.a.engine.wait(lambda engine: len(set(engine.sas) - left) == 2)
    assert left <= set(pair.a.engine.sas)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def test_charon_without_its_port_does_not_come_up(pair: Pair, family: socket.AddressFamily) -> None:
    """It could negotiate with nobody, and says so nowhere but in its log."""
    pair.load()
    pair.a.stop()
    pair.a.restart_engine()
    with pair.a.namespace.socket(family, socket.SOCK_DGRAM) as other, pair.a.namespace.entered():
        if family == socket.AF_INET6:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("", 4500))
        with pytest.raises(CharonError, match=r"another process has UDP port 4500, IPv[46]:") as raised:
            pair.a.charon.start(soon())
    assert ("IPv4" in str(raised.value)) == (family == socket.AF_INET)
    assert not pair.a.charon.alive
    pair.a.start()
    pair.a.initiate()
    pair.settled()


def test_charon_does_not_come_up_while_an_engine_keeps_its_port(pair: Pair) -> None:
    """As one that does not answer: it has the port of the charon before."""
    pair.a.kill()
    pair.a.engine.refuse[Type.ADD_TRANSPORT] = (errno.EBUSY, "not now")
    with pair.a.namespace.entered(), pytest.raises(CharonError, match=r"another process has UDP port 4500"):
        pair.a.charon.start(soon())
    assert not pair.a.charon.alive
    pair.a.engine.refuse.clear()
    pair.a.start()


def test_charon_has_no_privilege_beyond_its_port(pair: Pair) -> None:
    pid = pair.a.charon.pid
    assert pid is not None
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    bind_service = 1 << 10
    for which in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
        assert int(status[f"Cap{which}"], 16) & ~bind_service == 0, which
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split()[0] != "0"


def test_plugin_is_built_anew_for_other_sources(tmp_path: Path) -> None:
    """Also for older ones: strongSwan may have been put back to a version before."""
    plugin()
    version = version_of(find_charon())
    sources = ROOT / f"build/strongswan/strongswan-{version}"
    if not sources.is_dir():
        pytest.skip("the sources of strongSwan are not here")
    others = tmp_path / "others"
    others.mkdir()
    (others / "src").symlink_to(sources / "src")
    config = others / "config.h"
    config.write_text((sources / "config.h").read_text() + '\n#undef VERSION\n#define VERSION "1.2.3"\n')
    os.utime(config, (1, 1))
    build = tmp_path / "build"
    for each, expected in ((sources, version), (others, "1.2.3"), (sources, version)):
        words = ["make", "-s", "-C", str(ROOT / "src/charon"), f"STRONGSWAN={each}", f"BUILD={build}"]
        subprocess.run([*words, "CFLAGS=-O0"], check=True, timeout=300)
        assert built_for(build / NAME) == expected
