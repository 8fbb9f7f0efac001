"""Secure devices, and the ways of traffic that they are compared with: made once, measured in turn.

Plain traffic and TLS take the same wire as the device's. An engine with OpenSSL and each tunnel have a lab of
their own, so that none is in another's way: what is not measured sleeps.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from wsasec.engine import Control, Direction, EngineStartError, NotSecureError
from wsasec.engine.routes import check_support, families
from wsasec.kernel.routing import MAIN, RoutingSocket
from wsasec.lab import EngineLab, Lab, LabError, Namespace
from wsasec.profile import Profile

from .baselines.libipsec import libipsec
from .baselines.tls_in_c import tls_in_c
from .baselines.tls_pair import During, tls_pairs
from .baselines.tunnel import AbsentError, Tunnel
from .baselines.wireguard import wireguard
from .ends import Hosts
from .events import emit
from .kinds import CUBIC
from .proof import Account

__all__ = ["PROFILE", "Pair", "Way", "Ways", "account_of", "ways"]

PROFILE: Final = Profile(
    name="bench-device",
    guid=uuid.UUID("7c1f6d0e-52c4-4b8e-9a9b-3a1f1d6f2b11"),
    reqid=22290,
    mark=0x59000000,
    mask=0xFF000000,
    carrier="device",
)
_OTHER: Final = "OpenSSL"
_CUBIC: Final = "cubic"
_CONGESTION_CONTROL: Final = "net.ipv4.tcp_congestion_control"
_TUNNELS: Final[dict[str, Callable[[Lab], AbstractContextManager[Tunnel]]]] = {
    "wireguard": wireguard,
    "libipsec": libipsec,
}


class Pair(Protocol):
    """Two processes that speak TLS."""

    def stream(
        self, streams: int, *, message_bytes: int, warm: float, seconds: float, during: During = ...
    ) -> tuple[int, float]:
        """Send as much as goes through; return the payload that came in, and the seconds in which it did."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way from one host to the other.

    Attributes:
        hosts: the two.
        pids: of the processes that carry the traffic, beside this one, which makes it.
        account: of the associations; None where there are none.
        tls: what makes the traffic instead; None for this process.
    """

    hosts: Hosts
    pids: tuple[int, ...] = ()
    account: Account | None = None
    tls: Pair | None = None

    @property
    def all_pids(self) -> tuple[int, ...]:
        """Those of all processes that take part."""
        return (os.getpid(), *self.pids)


@dataclass(frozen=True, slots=True)
class Ways:
    """What can be measured here.

    Attributes:
        lab: that of the device.
        found: the ways, by kind of traffic.
        absent: why others cannot be measured, by kind.
        crypto: of the engines, by kind.
    """

    lab: EngineLab
    found: dict[str, Way] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    crypto: dict[str, str] = field(default_factory=dict)

    def leave_out(self, kinds: Iterable[str], reason: str) -> None:
        """Do without some, and say why."""
        for kind in kinds:
            self.absent[kind] = reason
        emit("note", text=f"left out: {', '.join(kinds)}: {reason}")

    def present(self, kinds: Iterable[str]) -> tuple[str, ...]:
        """Return those that can be measured."""
        return tuple(kind for kind in kinds if kind in self.found)


def _received(control: Control) -> int:
    return sum(sa.bytes for sa in control.sas() if sa.name.direction == Direction.INBOUND)


def account_of(lab: EngineLab) -> Account:
    """Return the account of the two engines of a lab."""
    receiver, sender = lab.ends["b"].engine.control, lab.ends["a"].engine.control
    spis = tuple(dict.fromkeys(sa.name.spi for sa in receiver.sas()))
    return Account(lambda: (_received(receiver), _received(sender)), spis)


def _way(lab: EngineLab) -> Way:
    pids = tuple(end.engine.hello().pid for end in lab.ends.values())
    return Way(lab, pids, account_of(lab))


def _entered(stack: ExitStack, crypto: str | None = None, profile: Profile = PROFILE) -> EngineLab:
    """Make a lab. LabError: there can be no engine or no device."""
    try:
        return stack.enter_context(EngineLab(profile, crypto=crypto, one_call=False))
    except (EngineStartError, NotSecureError) as error:
        raise LabError(str(error)) from error


def _have_cubic(host: Namespace) -> None:
    """Give CUBIC to what takes the wire.

    By its routes: net.ipv4.tcp_congestion_control of a namespace takes only what the whole system allows.
    """
    with host.entered(), RoutingSocket() as routing:
        wire = socket.if_nametoindex(host.device)
        for family in families():
            for route in routing.routes(family, MAIN):
                if route.device == wire:
                    routing.put_route(replace(route, congestion_control=_CUBIC))


def _add_cubic(stack: ExitStack, found: Ways, kinds: Sequence[str]) -> None:
    """Add ways by CUBIC, in a lab of their own: the device's by its profile, others by the wire's routes."""
    profile = replace(PROFILE, congestion_control=_CUBIC)
    if found.lab.a.sysctl(_CONGESTION_CONTROL) == _CUBIC:
        found.leave_out(kinds, f"{_CONGESTION_CONTROL} is {_CUBIC} here anyway")
        return
    try:
        check_support(profile)
    except ValueError as error:
        found.leave_out(kinds, str(error))
        return
    other = _entered(stack, profile=profile)
    found.found["device" + CUBIC] = _way(other)
    found.crypto["device" + CUBIC] = other.ends["a"].engine.hello().crypto
    for host in (other.a, other.b):
        _have_cubic(host)
    found.found["plain" + CUBIC] = Way(other)
    if any(kind.startswith("tls") for kind in kinds):
        pairs = stack.enter_context(tls_pairs(other))
        found.found.update((kind + CUBIC, Way(other, tls=pair)) for kind, pair in pairs.items())


def _add_tunnel(stack: ExitStack, found: Ways, kind: str) -> None:
    """Add a tunnel in a lab of its own; what was begun is taken down at once if there can be none."""
    with ExitStack() as own:
        lab = own.enter_context(Lab(keys=False))
        try:
            tunnel = own.enter_context(_TUNNELS[kind](lab))
        except AbsentError as error:
            found.leave_out([kind], str(error))
            return
        found.found[kind] = Way(tunnel, tunnel.pids)
        stack.push(own.pop_all())


@contextmanager
def ways(kinds: Iterable[str]) -> Iterator[Ways]:
    """Make what the kinds of traffic need; those that cannot be had are left out.

    Raises:
        LabError: there can be no secure device here.
        OSError: the kernel refused a step.
    """
    wanted = frozenset(kinds)
    with ExitStack() as stack:
        lab = _entered(stack)
        found = Ways(lab)
        found.found.update(device=_way(lab), plain=Way(lab))
        found.crypto["device"] = lab.ends["a"].engine.hello().crypto
        if "device_openssl" in wanted:
            if found.crypto["device"].startswith(_OTHER):
                found.leave_out(
                    ["device_openssl"], f"the engine has {_OTHER} only: apt-get install libipsec-mb-dev"
                )
            else:
                other = _entered(stack, _OTHER)
                found.found["device_openssl"] = _way(other)
                found.crypto["device_openssl"] = other.ends["a"].engine.hello().crypto
        if by_cubic := sorted(kind for kind in wanted if kind.endswith(CUBIC)):
            _add_cubic(stack, found, by_cubic)
        if wanted & {"tls128", "tls256"}:
            pairs = stack.enter_context(tls_pairs(lab))
            found.found.update((kind, Way(lab, tls=pair)) for kind, pair in pairs.items())
        if in_c := sorted(kind for kind in wanted if kind.startswith("tls") and kind.endswith("_c")):
            try:
                found.found.update((kind, Way(lab, tls=pair)) for kind, pair in tls_in_c(lab).items())
            except AbsentError as error:
                found.leave_out(in_c, str(error))
        for kind in _TUNNELS:
            if kind in wanted:
                _add_tunnel(stack, found, kind)
        yield found
