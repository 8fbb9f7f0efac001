"""Connections that are aborted when an id that was asked for is another, and those that are not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from fake_ike import OWN, PEER, FakeIke, FakeSas

from wsasec.kernel.sockdiag import TcpConnection
from wsasec.keys.appended import Appended
from wsasec.keys.associations import Address, Event, IkeSa
from wsasec.keys.known import Known
from wsasec.keys.pairs import Pair
from wsasec.keys.reason import CharonError, Reason
from wsasec.keys.tied import Ids, Route, Tied
from wsasec.keys.ties_file import TiesFile, abort_left
from wsasec.profiles import DEFAULT

OTHER = ip_address("10.9.0.3")


def until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class FakeTable:
    """The kernel's connections."""

    def __init__(self) -> None:
        self.gone: set[int] = set()
        self.aborted: list[int] = []
        self.able = True
        self.refuses = 0
        self.closed = False

    def has(self, connection: TcpConnection) -> bool:
        return connection.cookie not in self.gone

    def can_destroy(self, connection: TcpConnection) -> bool:
        return self.able

    def destroy(self, connection: TcpConnection) -> bool:
        assert not self.closed
        if self.refuses:
            self.refuses -= 1
            raise OSError(105, "no buffers")
        self.aborted.append(connection.cookie)
        return connection.cookie not in self.gone

    def close(self) -> None:
        self.closed = True


class FakeHeard:
    """The kernel's messages."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.peers: set[Address] | None = set()
        self.broken = False

    def fileno(self) -> int:
        return self.fd

    def tell(self, *peers: Address) -> None:
        self.peers = set(peers) or None
        os.eventfd_write(self.fd, 1)

    def read(self) -> set[Address] | None:
        os.eventfd_read(self.fd)
        if self.broken:
            raise OSError(9, "broken")
        return self.peers

    def close(self) -> None:
        os.close(self.fd)


class World:
    def __init__(self, limit: int = 1000, file: TiesFile | None = None) -> None:
        self.sas = FakeSas()
        self.ike = FakeIke(self.sas, {"default": DEFAULT.reqid})
        self.known = Known(self.ike)
        self.table = FakeTable()
        self.heard = FakeHeard()
        self.tied = Tied(self.sas, self.known, self.table, self.heard, file, limit)  # type: ignore[arg-type]
        self.ike.watch(self.known.happened)
        self.ike.watch(self.tied.happened)
        self.first = self.establish()
        self.marker: IkeSa | None = None
        self.tied.start()

    def establish(self, peer: Address = PEER) -> IkeSa:
        ike = self.ike.establish("default", peer, "b.example")
        self.ike.happen(Event("child-updown", True, ike))
        return ike

    def flush(self) -> None:
        """Remove the SAs with the peer."""
        self.sas.remove(self.sas.every([DEFAULT.reqid], PEER))

    def tie(self, cookie: int, main: int | None = None, quick: int | None = None, peer=PEER) -> Reason:
        connection = TcpConnection(cookie, 2, OWN.packed, 1, peer.packed, 2, 0)
        return self.tied.tie(connection, Route(DEFAULT.reqid, OWN, peer), Ids(main, quick)).reason

    def tie_all(self) -> None:
        """1: main mode, 2: quick mode, 3: both, 4: of another peer."""
        quick = self.first.children[0].unique_id
        assert self.tie(1, main=self.first.unique_id) is Reason.NONE
        assert self.tie(2, quick=quick) is Reason.NONE
        assert self.tie(3, main=self.first.unique_id, quick=quick) is Reason.NONE
        other = self.establish(OTHER)
        assert self.tie(4, other.unique_id, other.children[0].unique_id, OTHER) is Reason.NONE

    def settled(self, *aborted: int) -> None:
        """These are aborted, and no others when the next one is."""
        self.tie(99, main=12345)
        until(lambda: 99 in self.table.aborted)
        until(lambda: set(self.table.aborted) >= set(aborted))
        self.look()
        # Whoever ties and who looks may both abort one: the second time there is none.
        assert sorted(set(self.table.aborted)) == [*aborted, 99]

    def look(self) -> None:
        """Have all looked at, and wait for that."""
        looked = threading.Event()
        find = self.sas.find

        def last(reqid, own, peer) -> Pair | None:
            if peer == ip_address("10.9.0.9"):
                looked.set()
            return find(reqid, own, peer)

        self.sas.find = last  # type: ignore[method-assign]
        if self.marker is None:
            self.marker = self.establish(ip_address("10.9.0.9"))
        assert self.tie(98, self.marker.unique_id, None, ip_address("10.9.0.9")) is Reason.NONE
        looked.clear()
        self.heard.tell()
        assert looked.wait(10)
        self.sas.find = find  # type: ignore[method-assign]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.tied.close()


def test_nothing_happens(world: World) -> None:
    world.tie_all()
    world.ike.happen(Event("child-updown", True, world.first))
    world.heard.tell(PEER)
    world.settled()
    assert world.ike.calls == []  # what is known is not asked for


def rekey_child(world: World) -> None:
    old = world.first
    new = replace(old.children[0], unique_id=777, spi_in=5001, spi_out=5002)
    world.ike.ikes[0] = replace(old, children=(new,))
    world.sas.add(DEFAULT.reqid, OWN, PEER, 5001, 5002)
    world.ike.happen(Event("child-rekey", True, world.ike.ikes[0], 0, old.children))


def test_a_quick_mode_rekey(world: World) -> None:
    world.tie_all()
    rekey_child(world)
    world.settled(2, 3)


def test_a_main_mode_rekey(world: World) -> None:
    world.tie_all()
    world.ike.ikes[0] = replace(world.first, unique_id=777)
    event = Event("ike-rekey", True, replace(world.first, unique_id=777, children=()), world.first.unique_id)
    world.ike.happen(event)
    world.settled(1, 3)


def test_the_kernel_takes_the_new_one_later_than_charon_tells(world: World) -> None:
    """As with the one who answers: the new SA goes out when the old is deleted."""
    world.tie_all()
    new = replace(world.first.children[0], unique_id=777, spi_in=5001, spi_out=5002)
    world.ike.ikes[0] = replace(world.first, children=(*world.first.children, new))
    renewed = replace(world.first, children=(new,))
    world.ike.happen(Event("child-rekey", True, renewed, 0, world.first.children))
    world.look()
    assert world.table.aborted == []
    world.sas.add(DEFAULT.reqid, OWN, PEER, 5001, 5002)
    world.heard.tell(PEER)
    world.settled(2, 3)


def test_the_ike_sa_ends(world: World) -> None:
    world.tie_all()
    assert world.ike.terminate(world.first.unique_id, time.monotonic() + 5)
    world.settled(1, 2, 3)


def test_somebody_flushes(world: World) -> None:
    """The IKE SA is still the one: its next pair is of the same main mode."""
    world.tie_all()
    world.flush()
    world.heard.tell(PEER)
    world.settled(2, 3)


def test_others_have_installed_sas(world: World) -> None:
    world.tie_all()
    world.sas.add(DEFAULT.reqid, OWN, PEER, 1, 2)
    world.heard.tell()
    world.settled(1, 2, 3)


def test_charon_is_gone(world: World) -> None:
    """Its successor may use the same numbers."""
    world.tie_all()
    world.ike.happen(Event("gone"))
    until(lambda: sorted(world.table.aborted) == [1, 2, 3, 4])
    assert len(world.tied) == 0


def test_charon_does_not_tell(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.tie_all()

    def silent(*_: object) -> list[IkeSa]:
        raise CharonError(Reason.NO_CHARON, "no answer")

    monkeypatch.setattr(world.ike, "associations", silent)
    world.sas.add(DEFAULT.reqid, OWN, PEER, 1, 2)
    world.heard.tell(PEER)
    until(lambda: sorted(world.table.aborted) == [1, 2, 3])


def test_it_has_changed_before_it_is_tied(world: World) -> None:
    assert world.tie(1, main=world.first.unique_id + 1) is Reason.NONE
    assert world.table.aborted == [1]
    assert len(world.tied) == 0


def test_a_second_time_adds(world: World) -> None:
    main, quick = world.first.unique_id, world.first.children[0].unique_id
    assert world.tie(1, main=main) is Reason.NONE
    rekey_child(world)
    assert world.tie(1, main=main, quick=777) is Reason.NONE
    assert world.tie(2, main=main) is Reason.NONE
    assert (world.table.aborted, quick) == ([], quick)
    assert len(world.tied) == 2
    world.flush()
    world.heard.tell(PEER)
    world.settled(1)


def test_what_is_tied_to_one_cannot_be_tied_to_another(world: World) -> None:
    main = world.first.unique_id
    assert world.tie(1, main=main) is Reason.NONE
    world.ike.happen(Event("ike-rekey", True, replace(world.first, unique_id=777, children=()), main))
    world.tie(1, main=777)
    until(lambda: world.table.aborted == [1])


def test_a_table_that_cannot_be_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no change; and it is looked at again."""
    world.tie_all()
    tried = threading.Event()

    def busy(*_: object) -> Pair | None:
        tried.set()
        raise OSError(16, "it changes all the time")

    with monkeypatch.context() as patch:
        patch.setattr(world.sas, "find", busy)
        world.heard.tell(PEER)
        assert tried.wait(10)
        tried.clear()
        assert tried.wait(10)
        assert world.table.aborted == []
        world.flush()
    until(lambda: sorted(world.table.aborted) == [2, 3])


def test_an_abort_that_fails_is_tried_again(world: World) -> None:
    world.tie_all()
    world.table.refuses = 5
    world.flush()
    world.heard.tell(PEER)
    until(lambda: sorted(world.table.aborted) == [2, 3])


def test_the_kernel_is_not_heard_any_more(world: World) -> None:
    world.tie_all()
    world.heard.broken = True
    world.heard.tell(PEER)
    until(lambda: sorted(world.table.aborted) == [1, 2, 3, 4])


def test_those_that_are_gone_are_forgotten() -> None:
    world = World(limit=100)
    main = world.first.unique_id
    for cookie in range(1000):
        assert world.tie(cookie, main=main) is Reason.NONE
        world.table.gone.add(cookie - 10)
        assert len(world.tied) <= 100
    for cookie in range(1000, 1090):
        assert world.tie(cookie, main=main) is Reason.NONE
    assert world.tie(2000, main=main) is Reason.DAEMON_BUSY
    assert world.tie(1089, main=main) is Reason.NONE  # it has its place
    world.table.gone.add(1000)
    assert world.tie(2000, main=main) is Reason.NONE
    world.tied.close()


def test_its_end(world: World) -> None:
    world.tie_all()
    world.tied.close()
    world.tied.close()
    assert sorted(world.table.aborted) == [1, 2, 3, 4]
    assert world.tie(5, main=world.first.unique_id) is Reason.NO_CHARON
    world.tied.happened(Event("gone"))


def test_what_a_killed_daemon_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ties"
    world = World(file=TiesFile(path))
    assert path.stat().st_mode & 0o777 == 0o600
    for cookie in range(3000):
        assert world.tie(cookie, main=world.first.unique_id) is Reason.NONE
        world.table.gone.add(cookie - 5)
    # It holds no more than a few of those that are gone, and all that are there.
    assert path.stat().st_size < 2000 * 52
    left = FakeTable()
    monkeypatch.setattr("wsasec.keys.ties_file.TcpTable", lambda: left)
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes() + b"half a record")
    left.gone = world.table.gone
    assert abort_left(copy) == 5
    assert set(left.aborted) >= set(range(2995, 3000))
    assert left.closed
    assert not copy.exists()
    assert abort_left(copy) == 0
    world.tied.close()
    assert not path.exists()


def test_what_is_left_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ties"
    file = TiesFile(path)
    own, peer = ip_address("fd00::1").packed, ip_address("fd00::2").packed
    wanted = [
        TcpConnection(2**63, 10, own, 65535, peer, 1, 7),
        TcpConnection(1, 2, OWN.packed, 2, PEER.packed, 3, 0),
    ]
    for each in wanted:
        file.add(each)
    found: list[TcpConnection] = []
    left = FakeTable()
    monkeypatch.setattr(left, "destroy", lambda each: bool(found.append(each)) or True)
    monkeypatch.setattr("wsasec.keys.ties_file.TcpTable", lambda: left)
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    assert abort_left(copy) == 2
    assert found == wanted
    refusing = FakeTable()
    refusing.refuses = 1
    monkeypatch.setattr("wsasec.keys.ties_file.TcpTable", lambda: refusing)
    with pytest.raises(OSError):
        abort_left(path)
    assert path.exists()
    file.close()


def test_what_cannot_be_written_down_is_not_tied(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb") as full:
        written = Appended.__new__(Appended)
        written._file = full.fileno()
        file = TiesFile.__new__(TiesFile)
        file._file, file.records = written, 0
        monkeypatch.setattr(world.tied, "_file", file)
        with pytest.raises(OSError):
            world.tie(1, main=world.first.unique_id)
        assert len(world.tied) == 0
        monkeypatch.setattr(world.tied, "_file", None)


def test_what_can_be_aborted(world: World) -> None:
    connection = TcpConnection(1, 2, OWN.packed, 1, PEER.packed, 2, 0)
    assert world.tied.possible(connection).good
    assert world.tied.possible(None).reason is Reason.NO_ABORT
    world.table.able = False
    verdict = world.tied.possible(connection)
    assert verdict.reason is Reason.NO_ABORT
    assert "CONFIG_INET_DIAG_DESTROY" in verdict.detail


def test_a_listing_that_is_older_than_the_event(world: World) -> None:
    """It does not undo what the event said."""
    old = world.first
    listing = world.ike.associations

    def late(deadline: float, peer: Address | None = None) -> list[IkeSa]:
        found = listing(deadline, peer)
        world.ike.happen(Event("ike-rekey", True, replace(old, unique_id=777, children=()), old.unique_id))
        return found

    world.ike.associations = late  # type: ignore[method-assign]
    world.known.ask(PEER, time.monotonic() + 5)
    pair = world.sas.find(DEFAULT.reqid, OWN, PEER)
    assert pair is not None
    maker = world.known.cached(pair)
    assert maker is not None
    assert maker[0].unique_id == 777
