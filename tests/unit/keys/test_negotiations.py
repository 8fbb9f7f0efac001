"""One negotiation for all, failures that are remembered, ACQUIREs in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from daemon_talk import until
from fake_ike import OWN, PEER, FakeIke, FakeSas

from wsasec.config.model import Authentication, Identity, KeyProfile, Trust
from wsasec.keys.acquire import Acquire
from wsasec.keys.associations import Outcome
from wsasec.keys.background import Background
from wsasec.keys.negotiations import Negotiations, _at_once
from wsasec.keys.reason import Reason
from wsasec.profiles import DEFAULT

PROFILE = KeyProfile(DEFAULT, Identity("a.example", Authentication.PSK, psk=Path("psk")), Trust())


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def sas() -> FakeSas:
    return FakeSas()


@pytest.fixture
def ike(sas: FakeSas) -> FakeIke:
    ike = FakeIke(sas, {"default": DEFAULT.reqid})
    ike.identities[PEER] = "b.example"
    return ike


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def negotiations(ike: FakeIke, sas: FakeSas, clock: Clock) -> Iterator[Negotiations]:
    made = Negotiations(ike, sas, 10.0, clock)
    yield made
    ike.gate.set()
    made.close()


def test_what_is_there_is_not_negotiated(negotiations: Negotiations, ike: FakeIke) -> None:
    ike.establish("default", PEER, "whoever")
    ike.alive = False
    assert negotiations.run(PROFILE, None, PEER, soon()).good
    assert ike.initiated == []


def test_many_make_one(negotiations: Negotiations, ike: FakeIke) -> None:
    ike.gate.clear()
    found: list[Reason] = []
    threads = [
        threading.Thread(target=lambda: found.append(negotiations.run(PROFILE, OWN, PEER, soon()).reason))
        for _ in range(200)
    ]
    for thread in threads:
        thread.start()
    assert not found
    ike.gate.set()
    for thread in threads:
        thread.join()
    assert found == [Reason.NONE] * 200
    assert ike.initiated == [("default", PEER)]


def test_each_has_a_deadline_of_its_own(negotiations: Negotiations, ike: FakeIke) -> None:
    ike.gate.clear()
    found: list[Reason] = []
    patient = threading.Thread(
        target=lambda: found.append(negotiations.run(PROFILE, OWN, PEER, soon()).reason)
    )
    patient.start()
    assert negotiations.run(PROFILE, OWN, PEER, soon(0.05)).reason is Reason.TIMED_OUT
    assert negotiations.run(PROFILE, OWN, PEER, soon(-1)).reason is Reason.TIMED_OUT
    ike.gate.set()
    patient.join()
    assert found == [Reason.NONE]
    assert len(ike.initiated) == 1


def test_failures_are_remembered_for_a_moment(negotiations: Negotiations, ike: FakeIke, clock: Clock) -> None:
    del ike.identities[PEER]
    for _ in range(1000):
        verdict = negotiations.run(PROFILE, OWN, PEER, clock() + 5)
        assert (verdict.reason, verdict.detail) == (Reason.PEER_SILENT, "no answer")
    assert len(ike.initiated) == 1
    clock.ahead = 1.5
    assert negotiations.run(PROFILE, OWN, PEER, clock() + 5).reason is Reason.PEER_SILENT
    assert len(ike.initiated) == 2
    ike.identities[PEER] = "b.example"
    negotiations.forget_failures()
    assert negotiations.run(PROFILE, OWN, PEER, clock() + 5).good
    assert len(ike.initiated) == 3


def test_silence_that_began_before_the_question_is_looked_into_once_more(
    negotiations: Negotiations, ike: FakeIke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last packet may have been sent before the peer came up."""
    begun, over, joined = threading.Event(), threading.Event(), threading.Event()
    initiate, join = ike.initiate, negotiations._join

    def silent_once(*arguments: Any) -> Outcome:
        if begun.is_set():
            return initiate(*arguments)
        begun.set()
        assert over.wait(20)
        return Outcome(Reason.PEER_SILENT, "no answer")

    def note(*arguments: Any, **options: Any) -> Any:
        found = join(*arguments, **options)
        if begun.is_set():
            joined.set()
        return found

    monkeypatch.setattr(ike, "initiate", silent_once)
    monkeypatch.setattr(negotiations, "_join", note)
    found: dict[str, Reason] = {}

    def ask(who: str) -> None:
        found[who] = negotiations.run(PROFILE, OWN, PEER, soon()).reason

    first, second = (threading.Thread(target=ask, args=[who]) for who in ("first", "second"))
    first.start()
    assert begun.wait(20)
    second.start()
    assert joined.wait(20)
    over.set()
    first.join()
    second.join()
    assert found == {"first": Reason.PEER_SILENT, "second": Reason.NONE}


def test_what_nobody_waits_for_does_not_keep_others_waiting(
    negotiations: Negotiations, ike: FakeIke, clock: Clock
) -> None:
    """Whoever may ask can ask for thousands of silent peers, and not wait."""
    ike.gate.clear()
    busy = _at_once()
    silent = [ip_address(f"198.51.100.{number}") for number in range(busy + 200)]
    for peer in silent:
        assert negotiations.run(PROFILE, OWN, peer, clock()).reason is Reason.TIMED_OUT
    until(lambda: len(ike.initiated) == busy)
    found: list[Reason] = []
    honest = threading.Thread(
        target=lambda: found.append(negotiations.run(PROFILE, OWN, PEER, clock() + 20).reason)
    )
    clock.ahead = 1.5
    honest.start()
    ike.gate.set()
    honest.join()
    assert found == [Reason.NONE]
    assert len(ike.initiated) == busy + 1


def test_a_failure_is_none_if_the_other_end_was_faster(negotiations: Negotiations, ike: FakeIke) -> None:
    ike.gate.clear()
    ike.failure = Outcome(Reason.NEGOTIATION, "existing duplicate")
    found: list[Reason] = []
    thread = threading.Thread(
        target=lambda: found.append(negotiations.run(PROFILE, OWN, PEER, soon()).reason)
    )
    thread.start()
    ike.establish("default", PEER, "b.example")
    ike.gate.set()
    thread.join()
    assert found == [Reason.NONE]


def test_without_charon_the_answer_comes_at_once(negotiations: Negotiations, ike: FakeIke) -> None:
    ike.alive = False
    assert negotiations.run(PROFILE, OWN, PEER, soon()).reason is Reason.NO_CHARON
    ike.alive = True
    assert negotiations.run(PROFILE, OWN, PEER, soon()).good


def test_who_is_pinned_is_named(negotiations: Negotiations, ike: FakeIke) -> None:
    ike.pins[PEER] = "c.example"
    verdict = negotiations.run(PROFILE, OWN, PEER, soon())
    assert verdict.reason is Reason.OTHER_IDENTITY
    assert "'c.example'" in verdict.detail


@pytest.mark.parametrize("address", ["224.0.0.1", "0.0.0.0", "ff02::1", "::"])
def test_no_host_has_such_an_address(negotiations: Negotiations, ike: FakeIke, address: str) -> None:
    assert negotiations.run(PROFILE, OWN, ip_address(address), soon()).reason is Reason.NEGOTIATION
    assert ike.initiated == []


def test_no_address_of_this_host(negotiations: Negotiations, sas: FakeSas) -> None:
    sas.sources[PEER] = None
    assert negotiations.run(PROFILE, None, PEER, soon()).reason is Reason.UNREACHABLE


def test_addresses_of_this_host_are_told_apart(negotiations: Negotiations, ike: FakeIke) -> None:
    for own in (OWN, ip_address("10.9.0.7")):
        assert negotiations.run(PROFILE, own, PEER, soon()).good
    assert len(ike.initiated) == 2


def test_profiles_that_are_not_loaded(negotiations: Negotiations, ike: FakeIke, monkeypatch) -> None:
    def initiate(*_: object) -> Outcome:
        raise KeyError("default")

    monkeypatch.setattr(ike, "initiate", initiate)
    assert negotiations.run(PROFILE, OWN, PEER, soon()).reason is Reason.NO_CHARON


def test_an_unexpected_end_leaves_nobody_waiting(
    negotiations: Negotiations, ike: FakeIke, monkeypatch
) -> None:
    def initiate(*_: object) -> Outcome:
        raise RuntimeError

    monkeypatch.setattr(ike, "initiate", initiate)
    assert negotiations.run(PROFILE, OWN, PEER, soon()).reason is Reason.SYSTEM


def test_those_who_wait_are_told_of_the_end(ike: FakeIke, sas: FakeSas) -> None:
    negotiations = Negotiations(ike, sas, 10.0)
    ike.gate.clear()
    found: list[Reason] = []
    thread = threading.Thread(
        target=lambda: found.append(negotiations.run(PROFILE, OWN, PEER, soon()).reason)
    )
    thread.start()
    while not ike.initiated:
        time.sleep(0.001)
    gate = threading.Timer(0.05, ike.gate.set)
    gate.start()
    negotiations.close()
    negotiations.close()
    thread.join()
    gate.join()
    assert found == [Reason.NO_CHARON]
    ike.sas.table.clear()
    assert negotiations.run(PROFILE, OWN, PEER, soon()).reason is Reason.NO_CHARON


def acquire(number: int) -> Acquire:
    return Acquire(DEFAULT.reqid, OWN, ip_address(0x0A000000 + number))


def test_the_background_works_on_eight_at_a_time_and_each_once() -> None:
    begun: list[Acquire] = []
    most = 0
    running = 0
    lock = threading.Lock()
    go_on = threading.Event()

    def work(what: Acquire) -> None:
        nonlocal running, most
        with lock:
            begun.append(what)
            running += 1
            most = max(most, running)
        go_on.wait(10)
        with lock:
            running -= 1

    background = Background(work, lambda: None)
    for _ in range(3):
        for number in range(100):
            background.add(acquire(number))
    go_on.set()
    while len(begun) < 100:
        time.sleep(0.001)
    background.close()
    assert most == 8
    assert sorted(begun, key=lambda a: int(a.destination)) == [acquire(n) for n in range(100)]


def test_what_there_was_no_room_for_is_told_again() -> None:
    done: set[Acquire] = set()
    told = threading.Event()
    go_on = threading.Event()

    def work(what: Acquire) -> None:
        go_on.wait(10)
        done.add(what)

    background = Background(work, told.set)
    for number in range(5000):
        background.add(acquire(number))
    go_on.set()
    assert told.wait(10)
    assert len(done) >= 4096
    while len(done) < 5000:
        told.clear()
        # Whoever is told tells all that still waits; of which again more may wait than there is room for.
        for number in range(5000):
            if acquire(number) not in done:
                background.add(acquire(number))
        while len(done) < 5000 and not told.wait(0.001):
            pass
    background.close()
    background.close()


def test_what_fails_unexpectedly_stops_nothing() -> None:
    done: list[Acquire] = []

    def work(what: Acquire) -> None:
        if int(what.destination) % 2:
            raise RuntimeError
        done.append(what)

    background = Background(work, lambda: None)
    for number in range(50):
        background.add(acquire(number))
    while len(done) < 25:
        time.sleep(0.001)
    background.close()
