"""With thousands of peers, names and SAs time and memory grow as these do, not as their square."""

from __future__ import annotations

import ipaddress
import socket
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from certificates import Authority
from fake_ike import FakeIke, FakeSas
from fake_vici import CMD_RESPONSE, CONFIRMED, EVENT, fake, packet
from growth import check_linear
from ike_hosts import certified, key_profile

from wsasec.config.model import KeyProfile, Trust
from wsasec.keys import loaded as loaded_module
from wsasec.keys.associations import Address, Event, IkeSa
from wsasec.keys.credentials import Credentials
from wsasec.keys.groups import groups
from wsasec.keys.known import Known
from wsasec.keys.listing import list_ike_sas
from wsasec.keys.loaded import Loaded
from wsasec.keys.named import Named, PeerName
from wsasec.keys.names import parse
from wsasec.keys.programs import Program
from wsasec.keys.whereabouts import Whereabouts


def address(number: int) -> Address:
    return ipaddress.IPv4Address(0x0A000001 + number)


@pytest.fixture
def profile(tmp_path: Path) -> KeyProfile:
    ca = Authority(tmp_path, "ca")
    return key_profile(certified("a.example", ca.issue("a.example")), Trust(ca=(ca.certificate,)))


def made(count: int) -> list[IkeSa]:
    """Return IKE SAs, each with a child, of as many peers."""
    ike = FakeIke(FakeSas(), {"default": 1})
    first = ike.establish("default", address(0), "b.example")
    (child,) = first.children
    return [
        replace(
            first,
            unique_id=number,
            remote=address(number),
            children=(replace(child, spi_in=number, spi_out=number),),
        )
        for number in range(1, count + 1)
    ]


def test_all_peers_go(profile: KeyProfile) -> None:
    def work(count: int) -> Callable[[], object]:
        known, whereabouts, ikes = Known(FakeIke(FakeSas(), {})), Whereabouts(), made(count)

        def run() -> None:
            renewed = [replace(ike, unique_id=ike.unique_id + count) for ike in ikes]
            for event in (
                *(Event("child-updown", True, ike) for ike in ikes),
                *(
                    Event("ike-rekey", True, new, old.unique_id)
                    for old, new in zip(ikes, renewed, strict=True)
                ),
                *(Event("ike-updown", False, ike) for ike in renewed),
            ):
                known.happened(event)
                whereabouts.happened(event)
            assert not known._inward
            assert not known._outward
            assert not known._inward_of
            assert not whereabouts._at
            assert not whereabouts._place

        return run

    check_linear(work)


def test_whereabouts() -> None:
    found = Whereabouts()
    one, two, *_ = made(2)
    for ike in (one, replace(two, remote=one.remote)):
        found.happened(Event("child-updown", True, ike))
    assert found.at("group", one.remote) == [1, 2]
    found.happened(Event("child-updown", False, one))
    found.happened(Event("ike-update", True, two))
    assert (found.at("group", one.remote), found.at("group", two.remote)) == ([1], [2])
    found.happened(Event("ike-rekey", True, replace(two, unique_id=9), 2))
    assert (found.at("group", one.remote), found.at("group", two.remote)) == ([1], [9])
    for kind in ("ike-updown", "child-updown"):
        found.happened(Event(kind, False, one))
    assert found.at("group", one.remote) == []
    assert found.at("other", two.remote) == []
    found.happened(Event("gone"))
    assert found.at("group", two.remote) == []
    found.listed([one])
    assert found.at("group", one.remote) == [1]


def named(count: int) -> tuple[Named, Any, list[PeerName], Program]:
    """Return a socket with as many names, all of one program."""
    names, program = Named(), Program(1, 1)
    sock = names.socket(7, None, 2)  # type: ignore[arg-type]
    entries = [PeerName(parse("b.example"), False, program) for _ in range(count)]
    for number, entry in enumerate(entries):
        names.add(7, sock, address(number), entry)
    return names, sock, entries, program


def test_a_socket_has_many_names() -> None:
    def work(count: int) -> Callable[[], object]:
        def run() -> None:
            names, sock, entries, program = named(count)
            for number, entry in enumerate(entries):
                assert not sock.may_send
                sock.found(entry, address(number), address(number))
            assert sock.may_send
            names.program_ended(program)
            assert names.get(7) is None
            assert not sock.names
            assert not sock.due

        return run

    check_linear(work)


def test_oldest_names_are_forgotten() -> None:
    def work(count: int) -> Callable[[], object]:
        names, sock, entries, program = named(count)
        names._limit = count
        for number, entry in enumerate(entries):
            sock.found(entry, address(number), address(number))

        def run() -> None:
            for number in range(count, 2 * count):
                entry = PeerName(parse("b.example"), False, program)
                names.add(7, sock, address(number), entry)
                sock.found(entry, address(number), address(number))
            assert len(sock.names) == count

        return run

    check_linear(work)


def test_what_is_due() -> None:
    """A name that was taken away while it was held against a peer is nothing that the socket waits for."""
    names, sock, (first, second), program = named(2)
    third = PeerName(first.name, True, program)
    names.add(7, sock, address(2), third)
    assert list(sock.due) == [first, second, third]
    sock.found(first, address(0), address(0))
    assert not sock.may_send
    names.delete(7, address(1))
    sock.found(second, address(1), None)
    assert sock.may_send
    assert list(sock.due) == [third]
    sock.found(first, address(0), None)
    assert not sock.may_send
    names.add(7, sock, address(0), PeerName(first.name, True, program))
    assert sock.may_send


class Counting:
    """charon, which counts what it is asked for.

    Attributes:
        connections: names of those that it has.
        loaded: how many were loaded.
    """

    broken = False

    def __init__(self) -> None:
        self.connections: set[str] = set()
        self.loaded = 0

    def request(self, command: str, message: Any, _: float) -> dict[str, Any]:
        if command == "load-conn":
            self.loaded += 1
            self.connections |= set(message)
        elif command == "unload-conn":
            self.connections.remove(message["name"])
        elif command == "get-conns":
            return {"conns": [name.encode() for name in self.connections]}
        elif command == "load-key":
            return {"id": b"1"}
        return {}


def test_connections_for_many_peers(profile: KeyProfile) -> None:
    """A connection a peer is loaded, once, and as many stay as are of use; the pinned all do."""
    session: Any = Counting()
    loaded = Loaded()
    found = groups({"default": profile})
    soon = time.monotonic() + 600
    loaded.load(session, found, Credentials(found), soon)
    (way,) = found[0].ways()
    loaded.pin(session, "default", address(0), "b.example", soon)
    before, count = session.loaded, loaded_module._PEERS + 500
    tracemalloc.start()
    try:
        for number in range(1, count + 1):
            for _ in range(2):
                loaded.peer(session, found[0], address(number), None, way, soon)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert session.loaded - before == count
    # One that answers, one of the pinned peer.
    assert len(session.connections) == loaded_module._PEERS + 2
    assert f"wsasec-default@{address(0)}/0" in session.connections
    assert f"wsasec-default@{address(1)}/0" not in session.connections
    assert most < 2000 * loaded_module._PEERS
    loaded.peer(session, found[0], address(1), None, way, soon)
    assert f"wsasec-default@{address(1)}/0" in session.connections


def listed(number: int, peer: str = "") -> bytes:
    sa = {"uniqueid": number, "state": "ESTABLISHED", "version": 2, "local-host": "10.9.0.1"}
    sa |= {"remote-host": peer or str(address(number)), "remote-id": "b.example", "child-sas": {}}
    return packet(EVENT, {"wsasec-default@any/0": sa}, "list-sa")


def test_one_peers_associations_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those are read."""
    stream = b"".join(listed(number) for number in range(1, 2001)) + packet(CMD_RESPONSE)
    decoded = []
    plain = loaded_module.Session._decoded
    monkeypatch.setattr(
        loaded_module.Session, "_decoded", lambda self, data: decoded.append(1) or plain(self, data)
    )
    with fake(lambda daemon: daemon.answer(CONFIRMED, stream, CONFIRMED)) as (session, _):
        (ike,) = list_ike_sas(session, time.monotonic() + 60, wait=True, peer=address(1))
        assert (ike.unique_id, ike.remote) == (1, address(1))
    assert len(decoded) == 2  # and the end of the list


@pytest.mark.parametrize("peer", ["2001:db8::1:0:0:1", "::ffff:10.9.0.2", "fe80::1"])
def test_addresses_are_those_that_charon_writes(peer: str) -> None:
    written = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, peer))
    stream = listed(5, written) + packet(CMD_RESPONSE)
    with fake(lambda daemon: daemon.answer(CONFIRMED, stream, CONFIRMED)) as (session, _):
        where = ipaddress.ip_address(peer)
        assert len(list_ike_sas(session, time.monotonic() + 60, wait=True, peer=where)) == 1


def test_status_of_many() -> None:
    """Their list is read in a time that grows as they do."""

    def work(count: int) -> Callable[[], object]:
        stream = b"".join(listed(number) for number in range(1, count + 1)) + packet(CMD_RESPONSE)

        def run() -> None:
            with fake(lambda daemon: daemon.answer(CONFIRMED, stream, CONFIRMED)) as (session, _):
                assert len(list_ike_sas(session, time.monotonic() + 60, wait=True)) == count

        return run

    check_linear(work)
