"""The associations of an engine in the form of the kernel's, and what it tells."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

import pytest
from fake_engine import FakeEngine

from wsasec.engine import Algorithm, Association, AssociationName, Control, Direction, Secret, Type
from wsasec.keys import engine_table
from wsasec.keys.acquire import Acquire
from wsasec.keys.carrier import EngineCarrier
from wsasec.keys.engine_events import EngineAcquires, EngineChanges
from wsasec.keys.engine_table import EngineTable

OWN, PEER, OTHER = (ip_address(f"10.9.0.{number}") for number in (1, 2, 3))
SIX = ip_address("fd00:9::1"), ip_address("fd00:9::2")
LONG = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def engine(path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(path) as made:
        yield made


def add(engine: FakeEngine, *names: AssociationName, reqid: int = 201) -> None:
    with Control(engine.path) as control:
        for number, name in enumerate(names):
            algorithm = list(Algorithm)[number % len(Algorithm)]
            key = Secret(bytes([number + 1]) * algorithm.key_length)
            control.add_sa(Association(name, reqid, algorithm, key, (4500, 4500)))


def pair(own=OWN, peer=PEER, spi: int = 0x1000) -> tuple[AssociationName, AssociationName]:
    return (
        AssociationName(own, peer, spi, Direction.OUTBOUND),
        AssociationName(peer, own, spi + 1, Direction.INBOUND),
    )


def test_pair_is_found(engine: FakeEngine) -> None:
    add(engine, *pair(), *pair(*SIX), *pair(peer=OTHER))
    carrier = EngineCarrier(engine.path)
    sas = carrier.sas()
    found = sas.find(201, OWN, PEER)
    assert found is not None
    assert (found.outward.spi, found.inward.spi) == (0x1000, 0x1001)
    assert (found.outward.src, found.outward.dst, found.outward.mode) == ("10.9.0.1", "10.9.0.2", "transport")
    assert (found.outward.algorithm, found.outward.encryption_bits) == ("rfc4106(gcm(aes))", 128)
    assert (found.inward.encryption_bits, found.inward.integrity_bits) == (256, 128)
    assert sas.find(202, OWN, PEER) is None
    six = sas.find(201, *SIX)
    assert six is not None
    assert (six.outward.dst, six.outward.algorithm) == ("fd00:9::2", "rfc7539esp(chacha20,poly1305)")
    assert len(sas.of([201])) == 6
    assert len(sas.every([201], PEER)) == 2
    installed = carrier.installed()
    assert installed.any(201, OWN, PEER)
    assert not installed.any(201, OWN, ip_address("10.9.0.9"))
    installed.close()
    carrier.close()


def test_only_what_is_asked_for_is_listed(engine: FakeEngine) -> None:
    """Thousands of associations with others cost a question about one peer nothing."""
    add(engine, *pair(), *pair(*SIX), *pair(peer=OTHER), *pair(spi=0x2000))
    table = EngineTable(engine.path)
    sent, came = table.between("10.9.0.1", "10.9.0.2"), table.between("10.9.0.2", "10.9.0.1")
    assert [sa.spi for sa in sent] == [0x2000, 0x1000]  # the newest first
    assert [sa.spi for sa in came] == [0x2001, 0x1001]
    assert {sa.dst for sa in table.between("10.9.0.1", None)} == {"10.9.0.2", "10.9.0.3"}
    assert [sa.src for sa in table.between(None, "fd00:9::2")] == ["fd00:9::1"]
    assert engine.count(Type.LIST_BETWEEN) == 4
    assert engine.count(Type.LIST_SAS) == 0
    assert len(table.between(None, None)) == 8
    table.close()


def test_what_has_gone_is_not_said_to_be_there(engine: FakeEngine) -> None:
    """Whoever took it away, and though the engine tells nobody."""
    add(engine, *pair())
    carrier = EngineCarrier(engine.path)
    sas, installed = carrier.sas(), carrier.installed()
    assert sas.find(201, OWN, PEER) is not None
    assert installed.any(201, OWN, PEER)
    with Control(engine.path) as another:
        another.delete_sa(pair()[0])
    assert sas.find(201, OWN, PEER) is None
    assert not installed.any(201, OWN, PEER)
    carrier.close()


def test_removed_ones_are_gone(engine: FakeEngine) -> None:
    add(engine, *pair(), *pair(peer=OTHER))
    carrier = EngineCarrier(engine.path)
    sas = carrier.sas()
    found = sas.every([201], PEER)
    sas.remove(found)
    assert [sa.spi for sa in sas.every([201], PEER)] == []
    assert len(sas.of([201])) == 2
    sas.remove(found)  # gone already
    carrier.close()


def test_next_engine_is_waited_for(engine: FakeEngine, path: Path) -> None:
    add(engine, *pair())
    table = EngineTable(path)
    assert len(table.associations()) == 2
    engine.close()
    made: list[FakeEngine] = []
    starter = threading.Timer(0.1, lambda: made.append(FakeEngine(path)))
    starter.start()
    try:
        assert table.associations() == []  # the next one has none of it
    finally:
        starter.join()
        made[0].close()
        table.close()


def test_connection_of_another_thread_is_left(engine: FakeEngine) -> None:
    """Who finds late that the old one has ended does not take the new one from who asks by it."""
    table = EngineTable(engine.path)
    asked: list[Control] = []
    new: list[Control | None] = []

    def ask(control: Control) -> int:
        asked.append(control)
        if not new:
            control.close()
            assert table.associations() == []  # another thread's, by a new one
            new.append(table._control)
            raise ConnectionResetError
        return control.hello().pid

    assert table._ask(ask) == os.getpid()
    assert asked[1] is new[0]
    table.close()


def test_no_engine_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_table, "_PATIENCE", 0.05)
    with pytest.raises(OSError, match="the engine does not answer"):
        EngineTable(path).associations()


def test_next_engine_is_waited_for_also_in_a_queue_that_is_full(path: Path) -> None:
    """While there is none, its socket may listen, and those who wait fill the queue."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, ExitStack() as waiting:
        listener.bind(str(path))
        listener.listen(1)
        results = [0]
        while results[-1] == 0:
            another = waiting.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            another.setblocking(False)
            results.append(another.connect_ex(str(path)))
        assert results[-1] == errno.EAGAIN
        made: list[FakeEngine] = []
        starter = threading.Timer(0.1, lambda: made.append(FakeEngine(path)))
        starter.start()
        table = EngineTable(path)
        try:
            assert table.associations() == []
        finally:
            starter.join()
            made[0].close()
            table.close()


def acquire(engine: FakeEngine, source: str, destination: str, family: int, reqid: int = 201) -> None:
    ends = [socket.inet_pton(family, each).ljust(16, b"\0") for each in (source, destination)]
    engine.tell(Type.EVENT_ACQUIRE, struct.pack("=16s16sIHBBHHI", *ends, reqid, family, 6, 0, 1, 2, 0))


def listening(engine: FakeEngine, count: int = 1) -> None:
    engine.wait(lambda each: each.count(Type.SUBSCRIBE) == count, LONG)


def test_acquires_are_told(engine: FakeEngine, path: Path) -> None:
    told: list[Acquire] = []
    changed = threading.Condition()

    def tell(one: Acquire) -> None:
        with changed:
            told.append(one)
            changed.notify_all()

    listener = EngineAcquires(path, tell)
    listener.start()
    try:
        listening(engine)
        acquire(engine, "0.0.0.0", "10.9.0.2", socket.AF_INET)
        acquire(engine, "fe80::1", "fe80::2", socket.AF_INET6)  # on which link, it does not say
        acquire(engine, "fd00:9::1", "fd00:9::2", socket.AF_INET6)
        with changed:
            assert changed.wait_for(lambda: len(told) == 2, LONG)
        assert told[0].destination == PEER
        assert told[1] == Acquire(201, *SIX)
        # And those of the next one.
        engine.close()
        with FakeEngine(path) as following:
            listening(following)
            acquire(following, "10.9.0.1", "10.9.0.3", socket.AF_INET)
            with changed:
                assert changed.wait_for(lambda: len(told) == 3, LONG)
            assert told[2] == Acquire(201, OWN, OTHER)
            listener.close()
    finally:
        listener.close()


def is_told(changes: EngineChanges) -> bool:
    poll = select.poll()
    poll.register(changes.fileno(), select.POLLIN)
    return bool(poll.poll(LONG * 1000))


def test_changes_are_told(engine: FakeEngine, path: Path) -> None:
    """What expired, by its ends; and that it may be any where something was missed."""
    changes = EngineChanges(path)
    try:
        assert is_told(changes)
        assert changes.read() is None  # it has only just begun to listen
        assert changes.read() == set()
        listening(engine)
        add(engine, *pair())
        engine.expire(next(iter(engine.sas.values())), hard=True)
        assert is_told(changes)
        assert changes.read() == {OWN, PEER}
        engine.lose_events()
        assert is_told(changes)
        assert changes.read() is None
        engine.close()
        with FakeEngine(path):
            assert is_told(changes)
            assert changes.read() is None
            changes.close()
    finally:
        changes.close()
