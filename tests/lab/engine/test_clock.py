"""The time of day jumps: associations are as old as they are, and end when they are due."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from wire import Stream, run_streams

from wsasec.engine import Algorithm, Association, AssociationName, Direction, Limits, Secret
from wsasec.engine.control import Control
from wsasec.engine.messages import Expire

pytestmark = pytest.mark.lab

DAY = 86_400.0
HOUR = 3_600
PATIENCE = 60.0


@pytest.fixture
def jump() -> Iterator[Callable[[float], None]]:
    """Return what sets the clock forward, or back, by so many seconds; afterwards it is right again."""
    if "User Mode Linux" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("sets the clock: run through `wsasec lab run -- pytest -m lab`, in a guest")
    ahead = time.time() - time.monotonic()

    def by(seconds: float) -> None:
        now = time.time()
        time.clock_settime(time.CLOCK_REALTIME, now + seconds)
        assert abs(time.time() - now) > abs(seconds) / 2, "the clock did not jump"

    try:
        yield by
    finally:
        time.clock_settime(time.CLOCK_REALTIME, time.monotonic() + ahead)


def add(control: Control, reqid: int, direction: Direction, limits: Limits) -> AssociationName:
    """Add an association with a peer that says nothing."""
    here, there = ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("192.0.2.2")
    ends = (here, there) if direction is Direction.OUTBOUND else (there, here)
    name = AssociationName(*ends, control.reserve_spi(), direction)
    key = Secret(os.urandom(Algorithm.AES_256_GCM.key_length))
    control.add_sa(Association(name, reqid, Algorithm.AES_256_GCM, key, ports=(4500, 4500), limits=limits))
    key.wipe()
    return name


def ended(control: Control) -> tuple[AssociationName, bool]:
    event = control.event(PATIENCE)
    assert isinstance(event, Expire), event
    return event.name, event.hard


@pytest.mark.parametrize("days", [1, -1])
def test_nothing_ends_by_it_nor_is_late(make_pair, jump, days):
    """Traffic goes on in ESP, before and after, under the same associations."""
    with make_pair() as pair:
        control, reqid = pair.lab.end.engine.control, pair.lab.profile.reqid
        control.subscribe()
        long = Limits(soft_seconds=HOUR, hard_seconds=2 * HOUR, idle_seconds=HOUR)
        stays = [add(control, reqid, each, long) for each in Direction]
        client, server = pair.connection(pair.lab.b)
        first, second = pair.datagrams()
        run_streams(Stream(client, server, 100_000), Stream(server, client, 100_000))
        before = {state.name for state in control.sas()}
        # Due in a while: the clock jumps before that.
        short = Limits(soft_seconds=2, hard_seconds=3)
        idle = Limits(idle_seconds=2)
        due = [add(control, reqid, each, short) for each in Direction]
        left = [add(control, reqid, each, idle) for each in Direction]
        jump(days * DAY)
        run_streams(Stream(client, server, 100_000), Stream(server, client, 100_000))
        for sender, receiver in ((first, second), (second, first)):
            sender.send(b"on another day")
            assert receiver.recv(100) == b"on another day"
        events = [ended(control) for _ in range(6)]
        for name in due:
            assert [hard for which, hard in events if which == name] == [False, True]
        for name in left:
            assert [hard for which, hard in events if which == name] == [True]
        # And back, with what has a long life still there.
        jump(-days * DAY)
        run_streams(Stream(client, server, 100_000), Stream(server, client, 100_000))
        states = {state.name: state for state in control.sas()}
        assert set(states) == before
        assert all(not states[name].soft_expired for name in stays)
        assert all(states[name].age_seconds < HOUR for name in states)
        assert control.event(0) is None
        for name in stays:
            control.delete_sa(name)
