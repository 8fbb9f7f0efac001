"""What it costs to secure a socket, carried by a secure device and by policies of the kernel, in turn."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

import wsasec
from wsasec import profiles
from wsasec.profiles import DEFAULT, Profile

from .baselines import _floor
from .calls import FAMILIES, Calls, prepare
from .clock import pinned, timed
from .descriptor_limit import raise_descriptor_limit, room_for
from .methods import Runner, batch
from .stages import Stage, Work, fresh, nothing

__all__ = ["CASES", "run_set_up"]

_CARRIERS: Final = ("device", "policy")
_WHATS: Final = {
    "options": _CARRIERS,
    "secure_many": _CARRIERS,
    "secure": _CARRIERS,
    "batch": (*_CARRIERS, "plain"),
}
"""The options that are set on a socket, from C; the whole call for many sockets, plain loop; one by one;
sockets that SocketBatch makes, beside plain ones."""
CASES: Final = tuple(
    (family, what, kind) for family in FAMILIES for what, kinds in _WHATS.items() for kind in kinds
)
"""The family of the sockets, what is done, and the carrier, or "plain"."""

_NO_WATCH: Final = -1

Sample = dict[str, Any]


def _runner(what: str, profile: Profile | None, calls: Calls) -> Runner:
    settings = None if profile is None else wsasec.IpsecSettings(qm_policy=profile)
    if what == "batch":
        return batch("plain", secure=profile is not None, settings=settings)(calls, _NO_WATCH)
    if what == "options":
        options = tuple(wsasec.socket_options(settings, family=calls.family))
        return lambda work: _floor.effective(work.numbers, options)
    if what == "secure_many":
        return lambda work: wsasec.secure_many(work.numbers, settings, method="plain")

    def each(work: Work) -> None:
        secure = wsasec.secure
        for sock in work.sockets:
            secure(sock, settings)

    return each


def _sample(what: str, profile: Profile | None, calls: Calls, count: int) -> Sample:
    runner = _runner(what, profile, calls)
    stage: Stage = nothing if what == "batch" else fresh
    with stage(calls, count) as work, pinned():
        wall, cpu = timed(lambda: runner(work))
    return {"sockets": count, "ns": wall, "cpu_ns": cpu}


def run_set_up(device: Profile, sockets: int, repeats: int) -> Iterator[Sample]:
    """Measure TCP sockets in the thread's network namespace, where the device is vouched for.

    Each sample is of sockets that are made anew; the first repeat is thrown away.

    Raises:
        wsasec.SecurityError: sockets cannot be secured here.
        OSError: there is no room for a single one.
    """
    before = profiles.active()
    carriers = {"device": device, "policy": DEFAULT}
    profiles.use(profiles.Profiles({profile.name: profile for profile in carriers.values()}, DEFAULT))
    try:
        calls = {family: prepare(family) for family in FAMILIES}
        count = room_for(sockets, raise_descriptor_limit())
        for repeat in range(repeats + 1):
            cases = list(CASES)
            # As in setup_cost.order_of: alike ones together, none always after the same other one.
            chance = random.Random(repeat)  # noqa: S311 - not for secrets
            chance.shuffle(cases)
            cases.sort(key=lambda case: list(_WHATS).index(case[1]))
            for family, what, kind in cases:
                sample = _sample(what, carriers.get(kind), calls[family], count)
                named = {"family": family, "what": what, "kind": kind}
                yield {**named, **sample, "repeat": repeat - 1, "warm_up": repeat == 0}
    finally:
        profiles.use(before)
