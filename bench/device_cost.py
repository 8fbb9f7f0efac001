"""What it costs to secure a socket, carried by a secure device and by policies of the kernel, in turn."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import wsasec
from wsasec import profiles
from wsasec.profiles import DEFAULT, Profile

from .baselines import _floor
from .calls import Calls, prepare
from .clock import pinned, timed
from .descriptor_limit import raise_descriptor_limit, room_for
from .stages import Work, fresh

__all__ = ["CARRIERS", "WHATS", "run_set_up"]

WHATS: Final = ("options", "secure_many", "secure")
"""The options that are set on a socket, from C; the whole call for many sockets, plain loop; one by one."""
CARRIERS: Final = ("device", "policy")

Sample = dict[str, Any]
Runner = Callable[[Work], None]


def _runner(what: str, profile: Profile, family: int) -> Runner:
    settings = wsasec.IpsecSettings(qm_policy=profile)
    if what == "options":
        options = tuple(wsasec.socket_options(settings, family=family))
        return lambda work: _floor.effective(work.numbers, options)
    if what == "secure_many":
        return lambda work: wsasec.secure_many(work.numbers, settings, method="plain")

    def each(work: Work) -> None:
        secure = wsasec.secure
        for sock in work.sockets:
            secure(sock, settings)

    return each


def _sample(what: str, carrier: str, profile: Profile, calls: Calls, count: int) -> Sample:
    runner = _runner(what, profile, calls.family)
    with fresh(calls, count) as work, pinned():
        wall, cpu = timed(lambda: runner(work))
    return {"kind": carrier, "what": what, "sockets": count, "ns": wall, "cpu_ns": cpu}


def run_set_up(device: Profile, sockets: int, repeats: int) -> Iterator[Sample]:
    """Measure TCP sockets over IPv4 in the thread's network namespace, where the device is vouched for.

    Each sample is of sockets that are made anew; the first repeat is thrown away.

    Raises:
        wsasec.SecurityError: sockets cannot be secured here.
        OSError: there is no room for a single one.
    """
    before = profiles.active()
    known = {"device": device, "policy": DEFAULT}
    profiles.use(profiles.Profiles({profile.name: profile for profile in known.values()}, DEFAULT))
    try:
        calls = prepare()
        count = room_for(sockets, raise_descriptor_limit())
        for repeat in range(repeats + 1):
            cases = [(what, carrier) for what in WHATS for carrier in CARRIERS]
            # As in setup_cost.order_of: alike ones together, none always after the same other one.
            chance = random.Random(repeat)  # noqa: S311 - not for secrets
            chance.shuffle(cases)
            cases.sort(key=lambda case: WHATS.index(case[0]))
            for what, carrier in cases:
                sample = _sample(what, carrier, known[carrier], calls, count)
                yield {**sample, "repeat": repeat - 1, "warm_up": repeat == 0}
    finally:
        profiles.use(before)
