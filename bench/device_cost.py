"""What it costs to secure a socket, carried by a secure device and by policies of the kernel, in turn."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import wsasec
from wsasec import profiles
from wsasec.engine import device_name
from wsasec.engine.one_call import DONE, OneCall
from wsasec.profiles import DEFAULT, Profile

from .baselines import _floor
from .calls import FAMILIES, Calls, prepare
from .clock import pinned, timed
from .descriptor_limit import raise_descriptor_limit, room_for
from .events import emit
from .methods import Runner, batch
from .stages import Stage, Work, fresh, nothing

__all__ = ["CASES", "can_one_call", "run_set_up", "samples_of"]

_CARRIERS: Final = ("device", "policy")
_WHATS: Final = {
    "options": _CARRIERS,
    "secure_many": _CARRIERS,
    "secure": _CARRIERS,
    "batch": (*_CARRIERS, "plain"),
}
"""What has to be set on a socket, from C; the whole call for many sockets, plain loop; one by one; sockets
that SocketBatch makes, beside plain ones."""
_SEVERAL: Final = ("several", "policy")
CASES: Final = tuple(
    (family, what, kind) for family in FAMILIES for what, kinds in _WHATS.items() for kind in kinds
)
"""The family of the sockets, what is done, and the carrier, or "plain"."""
_CASES_OF_SEVERAL: Final = tuple(
    (family, what, kind) for family in FAMILIES for what in _WHATS if what != "batch" for kind in _SEVERAL
)
"""Of devices without the program by which one call secures a socket; where there can be none the others are
so, too. Apart from those: for a second after nobody answered that call, nobody is asked."""

_NO_WATCH: Final = -1

Sample = dict[str, Any]


def _one_call_of(device: Profile) -> OneCall:
    """Have sockets on a device secured by one call, in this thread's namespace. OSError: it cannot be."""
    return OneCall(device, socket.if_nametoindex(device_name(device)))


def can_one_call(device: Profile) -> bool:
    """Whether they can be; it is said why not."""
    try:
        _one_call_of(device).close()
    except OSError as error:
        emit("note", text=f"a socket is secured by several calls: {error}")
        return False
    return True


def _runner(what: str, profile: Profile | None, calls: Calls, one_call: OneCall | None) -> Runner:
    settings = None if profile is None else wsasec.IpsecSettings(qm_policy=profile)
    if what == "batch":
        return batch("plain", secure=profile is not None, settings=settings)(calls, _NO_WATCH)
    if what == "options":
        options = tuple(wsasec.socket_options(settings, family=calls.family))
        if one_call is not None:
            option = one_call.option(calls.family)
            return lambda work: _floor.effective(work.numbers, (option,), DONE)
        return lambda work: _floor.effective(work.numbers, options)
    if what == "secure_many":
        return lambda work: wsasec.secure_many(work.numbers, settings, method="plain")

    def each(work: Work) -> None:
        secure = wsasec.secure
        for sock in work.sockets:
            secure(sock, settings)

    return each


def _sample(what: str, profile: Profile | None, calls: Calls, count: int, *, one_call: bool) -> Sample:
    with ExitStack() as stack:
        # Only then: without devices it is no part of each setsockopt(), as it is here.
        has = stack.enter_context(_one_call_of(profile)) if one_call and profile is not None else None
        runner = _runner(what, profile, calls, has)
        stage: Stage = nothing if what == "batch" else fresh
        work = stack.enter_context(stage(calls, count))
        stack.enter_context(pinned())
        wall, cpu = timed(lambda: runner(work))
    return {"sockets": count, "ns": wall, "cpu_ns": cpu}


def samples_of(repeats: int, *, one_call: bool) -> int:
    """Return how many samples there will be."""
    return (repeats + 1) * (len(CASES) + (len(_CASES_OF_SEVERAL) if one_call else 0))


def run_set_up(device: Profile, sockets: int, repeats: int, *, one_call: bool) -> Iterator[Sample]:
    """Measure TCP sockets in the thread's network namespace, where the device is vouched for.

    Each sample is of sockets that are made anew; the first repeat is thrown away.

    Args:
        device: its profile; its keeper has no program by which one call secures a socket.
        sockets: of a sample.
        repeats: of each.
        one_call: whether there can be such a program (`can_one_call`); it is there for samples of the device.

    Raises:
        wsasec.SecurityError: sockets cannot be secured here.
        OSError: there is no room for a single one.
    """
    before = profiles.active()
    carriers = {"device": device, "several": device, "policy": DEFAULT}
    profiles.use(profiles.Profiles({device.name: device, DEFAULT.name: DEFAULT}, DEFAULT))
    try:
        calls = {family: prepare(family) for family in FAMILIES}
        count = room_for(sockets, raise_descriptor_limit())
        passes = (CASES, _CASES_OF_SEVERAL) if one_call else (CASES,)
        for first, wanted in zip((0, repeats), passes, strict=False):
            for repeat in range(repeats + 1):
                cases = list(wanted)
                # As in setup_cost.order_of: alike ones together, none always after the same other one.
                chance = random.Random(repeat)  # noqa: S311 - not for secrets
                chance.shuffle(cases)
                cases.sort(key=lambda case: list(_WHATS).index(case[1]))
                for family, what, kind in cases:
                    has = one_call and kind == "device"
                    sample = _sample(what, carriers.get(kind), calls[family], count, one_call=has)
                    named = {"family": family, "what": what, "kind": kind}
                    yield {**named, **sample, "repeat": first + repeat - 1, "warm_up": repeat == 0}
    finally:
        profiles.use(before)
