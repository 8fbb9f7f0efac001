"""Names held against peers, and pins."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from fake_ike import OWN, PEER, FakeIke, FakeSas

from wsasec.config.model import Authentication, Identity, KeyProfile, Trust
from wsasec.keys.associations import Certificate, Event
from wsasec.keys.known import Known
from wsasec.keys.named import Named, PeerName, TooManyNamesError
from wsasec.keys.names import parse
from wsasec.keys.negotiations import Negotiations
from wsasec.keys.pins import Pins
from wsasec.keys.programs import Program
from wsasec.keys.query import Query
from wsasec.keys.reason import CharonError, Reason
from wsasec.keys.stale import remove_stale
from wsasec.keys.verdict import Verdict
from wsasec.keys.verifier import Verifier
from wsasec.profiles import DEFAULT

PROFILE = KeyProfile(DEFAULT, Identity("a.example", Authentication.PSK, psk=Path("psk")), Trust())
PROGRAM = Program(1, 1)
OTHER_PROGRAM = Program(2, 2)


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


def until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class World:
    def __init__(self) -> None:
        self.sas = FakeSas()
        self.ike = FakeIke(self.sas, {"default": DEFAULT.reqid})
        self.ike.identities[PEER] = "b.example"
        self.known = Known(self.ike)
        self.ike.watch(self.known.happened)
        self.pins = Pins(self.ike)
        self.negotiations = Negotiations(self.ike, self.sas, 10.0)
        self.verifier = Verifier(
            self.ike, self.sas, self.negotiations, self.known, self.pins, lambda _: {DEFAULT.reqid}
        )
        self.query = Query(self.ike, self.sas, self.known)

    def verify(self, name: PeerName, seconds: float = 20.0) -> Verdict:
        return self.verifier.verify(name, PROFILE, OWN, PEER, soon(seconds))

    def close(self) -> None:
        self.negotiations.close()
        self.pins.close()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def named(text: str, program: Program = PROGRAM) -> PeerName:
    return PeerName(parse(text), False, program)


def test_who_goes_by_the_name_is_pinned(world: World) -> None:
    name = named("b.example")
    assert world.verify(name).good
    assert world.ike.pins == {PEER: "b.example"}
    assert name.pin == ("group", PEER)


def test_who_does_not_is_not(world: World) -> None:
    world.ike.identities[PEER] = "m.example"
    verdict = world.verify(named("b.example"))
    assert verdict.reason is Reason.OTHER_IDENTITY
    assert verdict.detail == "identity is 'm.example', 'b.example' was asked for"
    assert world.ike.pins == {}


def test_a_second_time_charon_is_not_asked(world: World) -> None:
    assert world.verify(named("b.example")).good
    world.ike.calls.clear()
    for _ in range(100):
        assert world.verify(named("b.example")).good
    assert world.ike.calls == []
    assert world.verify(named("host/b.example")).good
    assert world.verify(named("m.example")).reason is Reason.OTHER_IDENTITY


def test_others_that_are_there_already_are_ended(world: World) -> None:
    world.ike.establish("default", PEER, "m.example")
    world.ike.establish("default", PEER, "b.example")
    assert len(world.sas.table) == 4
    assert world.verify(named("b.example")).good
    assert {ike.remote_id for ike in world.ike.ikes} == {"b.example"}
    assert len(world.sas.table) == 2


def test_the_newest_counts(world: World) -> None:
    world.ike.establish("default", PEER, "b.example")
    world.ike.establish("default", PEER, "m.example")
    assert world.verify(named("b.example")).reason is Reason.OTHER_IDENTITY


@pytest.mark.parametrize("state", ["ESTABLISHED", "REKEYED", "DELETING"])
def test_who_comes_while_the_pin_is_put_up_is_ended(world: World, monkeypatch, state: str) -> None:
    pin = world.ike.pin

    def late(group, peer, identity, deadline) -> None:
        pin(group, peer, identity, deadline)
        if identity == "b.example":
            monkeypatch.setattr(world.ike, "pin", pin)
            stranger = world.ike.establish("default", PEER, "m.example")
            world.ike.ikes[-1] = replace(stranger, state=state)

    monkeypatch.setattr(world.ike, "pin", late)
    assert world.verify(named("b.example")).good
    assert {ike.remote_id for ike in world.ike.ikes} == {"b.example"}
    assert len(world.sas.table) == 2


def test_sas_that_charon_does_not_know_are_removed(world: World) -> None:
    world.sas.add(DEFAULT.reqid, OWN, PEER, 1, 2)
    assert world.verify(named("b.example")).good
    assert {sa.spi for sa in world.sas.table} == {1001, 2001}
    world.sas.add(DEFAULT.reqid, OWN, PEER, 3, 4)
    assert world.verify(named("b.example")).good
    assert {sa.spi for sa in world.sas.table} == {1001, 2001}


def test_whoever_is_pinned_stays_so_for_others(world: World) -> None:
    assert world.verify(named("b.example")).good
    (ike,) = world.ike.ikes
    world.ike.terminate(ike.unique_id, soon())
    world.ike.identities[PEER] = "m.example"
    for asked in ("m.example", "b.example"):
        verdict = world.verify(named(asked, OTHER_PROGRAM))
        assert verdict.reason is Reason.OTHER_IDENTITY
        assert "b.example" in verdict.detail
    assert world.ike.pins == {PEER: "b.example"}


def test_a_pin_lasts_as_long_as_the_last_name(world: World) -> None:
    first, second, other = named("b.example"), named("b.example"), named("b.example", OTHER_PROGRAM)
    for name in (first, second, other):
        assert world.verify(name).good
    for name in (first, second):
        assert name.pin is not None
        world.pins.release(name.pin, PROGRAM)
    assert world.verify(named("b.example", OTHER_PROGRAM)).good
    assert world.ike.pins == {PEER: "b.example"}
    world.pins.program_ended(PROGRAM)
    world.pins.program_ended(OTHER_PROGRAM)
    until(lambda: world.ike.pins == {})
    world.ike.identities[PEER] = "c.example"
    for ike in list(world.ike.ikes):
        world.ike.terminate(ike.unique_id, soon())
    assert world.verify(named("c.example")).good
    assert world.ike.pins == {PEER: "c.example"}


def test_a_name_has_one_pin_however_often_it_is_verified(world: World) -> None:
    name = named("b.example")
    for _ in range(5):
        assert world.verify(name).good
    assert name.pin is not None
    world.pins.release(name.pin, PROGRAM)
    until(lambda: world.ike.pins == {})


def test_a_pin_that_could_not_be_taken_out_is_later(world: World) -> None:
    assert world.verify(named("b.example")).good
    world.ike.alive = False
    world.pins.program_ended(PROGRAM)

    def ownerless() -> bool:
        with world.pins.at(("group", PEER), soon()) as pin:
            return not pin.owners

    until(ownerless)
    assert world.ike.pins == {PEER: "b.example"}
    world.ike.alive = True
    world.pins.try_again()
    until(lambda: world.ike.pins == {})


def test_a_pin_that_charon_forgot_is_put_up_again(world: World) -> None:
    assert world.verify(named("b.example")).good
    world.ike.pins.clear()
    world.pins.check()
    assert world.verify(named("b.example")).good
    assert world.ike.pins == {PEER: "b.example"}


def test_pins_wait_for_each_other_until_the_deadline(world: World) -> None:
    with world.pins.at(("group", PEER), soon()) as pin:
        with pytest.raises(CharonError) as caught, world.pins.at(("group", PEER), soon(0.05)):
            pass
        assert caught.value.reason is Reason.TIMED_OUT
        pin.principal = "x"
        pin.owners[PROGRAM] += 1
    with world.pins.at(("group", PEER), soon()) as again:
        assert again is pin


def test_without_charon_no_name_is_verified(world: World) -> None:
    world.ike.establish("default", PEER, "b.example")
    world.ike.alive = False
    assert world.verify(named("b.example")).reason is Reason.NO_CHARON
    world.ike.alive = True
    assert world.verify(named("b.example")).good


def test_nobody_is_pinned_at_a_link_local_address(world: World) -> None:
    peer = ip_address("fe80::1%2")
    world.ike.identities[peer] = "b.example"
    verdict = world.verifier.verify(named("b.example"), PROFILE, OWN, peer, soon())
    assert verdict.reason is Reason.NO_IDENTITY
    assert world.ike.pins == {}


def test_many_names_at_once(world: World) -> None:
    found: list[Reason] = []

    def work(number: int) -> None:
        name = named("b.example" if number % 2 else "m.example", Program(number, number))
        found.append(world.verify(name).reason)
        if name.pin:
            world.pins.release(name.pin, name.program)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [Reason.NONE] * 25 + [Reason.OTHER_IDENTITY] * 25
    until(lambda: world.ike.pins == {})
    assert len(world.ike.initiated) == 1


# What is known of who made the SAs


def test_events_keep_it_fresh(world: World) -> None:
    ike = world.ike.establish("default", PEER, "b.example")
    pair = world.sas.find(DEFAULT.reqid, OWN, PEER)
    assert pair is not None
    assert world.known.cached(pair) is None
    for event, expected in [
        (Event("child-updown", True, ike), True),
        (Event("child-updown", False, ike), False),
        (Event("child-rekey", True, ike), True),
        (Event("ike-updown", False, ike), False),
        (Event("child-updown", True, ike), True),
        (Event("gone"), False),
    ]:
        world.known.happened(event)
        assert (world.known.cached(pair) is not None) is expected
    world.ike.calls.clear()
    for _ in range(3):
        maker = world.known.maker(pair, PEER, soon())
        assert maker is not None
        assert maker[0].remote_id == "b.example"
    assert world.ike.calls == ["list-sas"]


def test_rekeyed_ike_sas_have_another_number(world: World) -> None:
    ike = world.ike.establish("default", PEER, "b.example")
    pair = world.sas.find(DEFAULT.reqid, OWN, PEER)
    assert pair is not None
    world.known.happened(Event("child-updown", True, ike))
    world.known.happened(Event("ike-rekey", True, replace(ike, unique_id=77, children=()), ike.unique_id))
    maker = world.known.cached(pair)
    assert maker is not None
    assert maker[0].unique_id == 77
    world.known.happened(Event("ike-updown", False, ike))
    assert world.known.cached(pair) is not None


def test_in_the_middle_of_a_renewal(world: World) -> None:
    """What comes in is the new one already, what goes out still the old."""
    ike = world.ike.establish("default", PEER, "b.example")
    world.ike.establish("default", PEER, "b.example")
    world.sas.table = [sa for sa in world.sas.table if sa.spi not in (1001, 2002)]
    assert ike.children[0].spi_out == 2001
    found = world.query.association(PROFILE, OWN, PEER, soon())
    assert (found.identity, found.spi_in, found.spi_out) == ("b.example", 1002, 2001)
    world.ike.establish("default", PEER, "m.example")
    world.sas.table = [sa for sa in world.sas.table if sa.spi != 2003]
    found = world.query.association(PROFILE, OWN, PEER, soon())
    assert (found.identity, found.spi_in, found.spi_out) == ("", 1003, 2001)


def test_who_has_not_been_proven_is_not_known(world: World) -> None:
    ike = world.ike.establish("default", PEER, "b.example")
    world.ike.ikes = [replace(ike, state="CONNECTING")]
    pair = world.sas.find(DEFAULT.reqid, OWN, PEER)
    assert pair is not None
    assert world.known.maker(pair, PEER, soon()) is None


def test_several_identities_at_an_address_are_no_identity(world: World) -> None:
    world.ike.establish("default", PEER, "m.example")
    world.ike.establish("default", PEER, "b.example")
    found = world.query.association(PROFILE, OWN, PEER, soon())
    assert found.identity == "b.example"
    assert world.query.one_identity(found, PEER, soon()).reason is Reason.NO_IDENTITY
    world.ike.terminate(world.ike.ikes[0].unique_id, soon())
    assert world.query.one_identity(found, PEER, soon()).good


def test_without_sas_there_is_no_association(world: World) -> None:
    found = world.query.association(PROFILE, OWN, PEER, soon())
    assert found.verdict.reason is Reason.NO_ASSOCIATION
    assert not found.secured


def test_of_several_certificates_none_is_the_peers(world: World) -> None:
    world.ike.establish("default", PEER, "b.example")
    world.ike.shown = [
        Certificate(der=b"ca", ca=True, own=False),
        Certificate(der=b"one", ca=False, own=False),
    ]
    assert world.query.association(PROFILE, OWN, PEER, soon()).certificate == b"one"
    world.known.happened(Event("gone"))
    world.ike.shown.append(Certificate(der=b"two", ca=False, own=False))
    assert world.query.association(PROFILE, OWN, PEER, soon()).certificate == b""


def test_stale_sas_are_removed(world: World) -> None:
    world.ike.establish("default", PEER, "b.example")
    world.sas.add(DEFAULT.reqid, OWN, PEER, 1, 2)
    world.sas.add(DEFAULT.reqid + 1, OWN, PEER, 3, 4)
    assert remove_stale(world.known, world.sas, {DEFAULT.reqid}, soon()) == 2
    assert {sa.spi for sa in world.sas.table} == {1001, 2001, 3, 4}
    assert remove_stale(world.known, world.sas, {DEFAULT.reqid}, soon()) == 0


def test_a_listing_may_lack_what_is_being_renewed(world: World, monkeypatch) -> None:
    """charon moves associations from the old IKE SA to the new, and may list neither of them."""
    world.ike.establish("default", PEER, "b.example")
    listing = world.ike.associations
    listed: list[int] = []

    def associations(deadline: float, peer=None):
        listed.append(1)
        return listing(deadline, peer) if len(listed) % 2 == 0 else []

    monkeypatch.setattr(world.ike, "associations", associations)
    found = world.query.association(PROFILE, OWN, PEER, soon())
    assert found.identity == "b.example"
    assert world.query.one_identity(found, PEER, soon()).good
    assert remove_stale(world.known, world.sas, {DEFAULT.reqid}, soon()) == 0
    world.known.happened(Event("gone"))
    assert world.verify(named("b.example")).good
    assert {sa.spi for sa in world.sas.table} == {1001, 2001}


# Names of sockets


def test_names_of_a_program_go_with_it() -> None:
    names = Named()
    mine, others = named("a.example"), named("b.example", OTHER_PROGRAM)
    sock = names.socket(1, PROFILE, 2)
    assert names.add(1, sock, None, mine) is None
    assert names.add(1, sock, PEER, others) is None
    names.program_ended(PROGRAM)
    assert mine.gone
    assert list(sock.names) == [PEER]
    assert names.get(1) is sock
    names.program_ended(OTHER_PROGRAM)
    assert names.get(1) is None
    assert names.programs() == {}


def test_a_name_replaces_another_and_can_be_deleted() -> None:
    names = Named()
    first, second = named("a.example"), named("b.example")
    sock = names.socket(1, PROFILE, 2)
    names.add(1, sock, None, first)
    assert names.add(1, sock, None, second) is first
    assert first.gone
    assert names.programs() == {PROGRAM: 1}
    assert names.delete(1, PEER) is None
    assert names.delete(2, None) is None
    assert names.delete(1, None) is second
    names.forget_if_nameless(1)
    assert names.get(1) is None
    assert names.programs() == {}


def test_of_too_many_the_oldest_that_was_verified_goes() -> None:
    names = Named(limit=3)
    made = [named(f"n{number}.example") for number in range(5)]
    made[1].verified = PEER
    for number in range(4):
        names.add(number, names.socket(number, PROFILE, 2), None, made[number])
    assert names.get(1) is None
    assert [names.get(number) is not None for number in (0, 2, 3)] == [True] * 3
    with pytest.raises(TooManyNamesError):
        names.add(4, names.socket(4, PROFILE, 2), None, made[4])
    names.forget_if_nameless(4)
    assert names.get(4) is None
