"""Who turns up where another is pinned."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from fake_ike import PEER, FakeIke, FakeSas

from wsasec.keys import strangers
from wsasec.keys.associations import Address, Event, IkeSa
from wsasec.keys.strangers import Strangers


class World:
    """A pin for b.example at PEER.

    Attributes:
        ended: where others were ended.
        failures: how often they cannot be.
        at: reached whenever they are; whoever ends them waits there.
    """

    def __init__(self) -> None:
        self.ended: list[tuple[str, Address]] = []
        self.failures = 0
        self.at = threading.Barrier(2, timeout=10)
        self.strangers = Strangers(self._pinned, self._end)
        self.ike = FakeIke(FakeSas(), {"default": 1})

    def _pinned(self, group: str, peer: Address) -> str | None:
        return "b.example" if (group, peer) == ("group", PEER) else None

    def _end(self, group: str, peer: Address) -> bool:
        self.at.wait()
        self.ended.append((group, peer))
        self.at.wait()
        self.failures -= 1
        return self.failures < 0

    def of(self, identity: str, at: Address = PEER) -> IkeSa:
        return self.ike.establish("default", at, identity)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.at.abort()
    world.strangers.close()
    world.strangers.happened(Event("ike-update", True, world.of("m.example")))


@pytest.mark.parametrize("kind", ["ike-updown", "child-updown", "ike-rekey", "ike-update", "child-rekey"])
def test_stranger_is_ended(world: World, kind: str) -> None:
    world.strangers.happened(Event(kind, True, world.of("m.example")))
    world.at.wait()
    world.at.wait()
    assert world.ended == [("group", PEER)]


def test_who_comes_meanwhile_is_looked_for_again(world: World) -> None:
    stranger = world.of("m.example")
    world.strangers.happened(Event("ike-rekey", True, stranger))
    world.at.wait()
    for _ in range(5):
        world.strangers.happened(Event("ike-rekey", True, stranger))
    for _ in range(3):
        world.at.wait()
    assert len(world.ended) == 2
    assert not world.strangers._waiting


@pytest.mark.parametrize(("pause", "times"), [(0.001, 3), (3600.0, 1)], ids=["again", "until it is closed"])
def test_who_could_not_be_ended_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, pause: float, times: int
) -> None:
    monkeypatch.setattr(strangers, "_AGAIN_SECONDS", pause)
    world.failures = 2
    world.strangers.happened(Event("ike-rekey", True, world.of("m.example")))
    for _ in range(2 * times):
        world.at.wait()
    world.strangers.close()
    assert world.ended == times * [("group", PEER)]


def test_others_are_left_alone(world: World) -> None:
    elsewhere = ip_address("10.9.0.3")
    for event in (
        Event("gone"),
        Event("ike-updown", False, world.of("m.example")),
        Event("ike-updown", True, world.of("b.example")),
        Event("ike-updown", True, world.of("m.example", elsewhere)),
        Event("ike-updown", True, replace(world.of("m.example"), group="other")),
    ):
        world.strangers.happened(event)
    assert not world.strangers._waiting
    assert not world.ended
