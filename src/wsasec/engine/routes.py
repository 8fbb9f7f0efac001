"""The routes of a secure device: a table of their own, the rules that lead there, and what it holds.

A socket that is bound to the device, and a packet with the mark, look for their route in the profile's table:

- for each route of the main table one to the device, with the address that the main one would send from: a
  first connect() to any peer has its route, and its right source address, before anything is known of that
  peer. One that the next larger network gives already is left out: the table is small on a host with many.
  It names the profile's congestion control, if it has one;
- for each own address, and 127.0.0.0/8, one with that address itself;
- the last one says "unreachable": without the device nothing is sent by another way.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..kernel.links import LinkSocket
from ..kernel.route import source_of
from ..kernel.routing import MAIN, UNICAST, UNREACHABLE, Network, Route, RoutingSocket, Rule
from ..profile import Profile
from .device import device_name
from .messages import Address
from .sysctls import has_ipv6

__all__ = ["PRIORITY", "Routes", "check_support", "table_of"]

PRIORITY: Final = 57
"""Of the rules: before those that others usually make, after that of the local table (0)."""

LAST_METRIC: Final = 4278198272
_TABLES: Final = 0x57000000
_RESERVED: Final = (0, 253, 254, 255)
_ROUTES_MOST: Final = 4096
_IPV6_METRIC: Final = 1024

# Of IPv4 only: the kernel drops what comes in for ::1 by any device but its own.
_LOOPBACK: Final = ((ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_address("127.0.0.1")),)
_CONGESTION_CONTROLS: Final = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
_EVERYWHERE: Final = {
    socket.AF_INET: ipaddress.ip_network("0.0.0.0/0"),
    socket.AF_INET6: ipaddress.ip_network("::/0"),
}


def table_of(profile: Profile) -> int:
    """Return the number of a profile's routing table: another one for each reqid.

    Raises:
        ValueError: the kernel needs that number itself.
    """
    table = profile.reqid ^ _TABLES
    if table in _RESERVED:
        raise ValueError(
            f"reqid: the routing table of {profile.reqid} would be {table}, one of the kernel's own"
        )
    return table


def check_support(profile: Profile) -> None:
    """See to it that the kernel can have a profile's routes.

    Raises:
        ValueError: there is no table for its reqid, or the kernel lacks its congestion control.
        OSError: there can be no TCP socket.
    """
    table_of(profile)
    name = profile.congestion_control
    if not name:
        return
    with socket.socket() as sock:
        try:
            # The kernel loads its module for that, if it can.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
        except FileNotFoundError:
            known = ", ".join(_CONGESTION_CONTROLS.read_text().split())
            raise ValueError(
                f"congestion_control: this kernel has no {name!r}, but {known} "
                f"(net.ipv4.tcp_available_congestion_control); name one of these, or: modprobe tcp_{name}"
            ) from None


def families() -> list[socket.AddressFamily]:
    """Return the families that the kernel has."""
    return [socket.AF_INET, socket.AF_INET6] if has_ipv6() else [socket.AF_INET]


@dataclass(frozen=True, slots=True)
class _Choice:
    """A network, and the address from which this host sends there; None: the kernel chooses."""

    network: Network
    source: Address | None


def pruned(choices: Iterable[_Choice]) -> list[_Choice]:
    """Leave out networks that lie in a larger one with the same source; the first of equal ones counts."""
    kept: list[_Choice] = []
    # By the length of their prefixes, and these as numbers: networks of ipaddress are slow.
    by_length: dict[int, dict[int, Address | None]] = {}
    # Larger ones first: what remains of them is known when a smaller one is looked at.
    for choice in sorted(choices, key=lambda each: each.network.prefixlen):
        length, bits = choice.network.prefixlen, choice.network.max_prefixlen
        prefix = int(choice.network.network_address) >> (bits - length)
        around = [
            others[prefix >> (length - other)]
            for other, others in by_length.items()
            if other < length and prefix >> (length - other) in others
        ]
        same = by_length.setdefault(length, {})
        if prefix in same:
            continue
        same[prefix] = choice.source
        # The last is the smallest, as lengths came in that order.
        if not around or around[-1] != choice.source:
            kept.append(choice)
    return kept


class Routes:
    """The table of a profile and its rules in one network namespace: that of the thread that uses this."""

    def __init__(self, profile: Profile) -> None:
        """Describe them. ValueError: see `table_of`."""
        self.profile = profile
        self.table = table_of(profile)
        self._device = device_name(profile)

    def rules(self, family: int) -> list[Rule]:
        """Return the rules that lead to the table."""
        return [
            Rule(family, PRIORITY, self.table, oif=self._device),
            Rule(family, PRIORITY, self.table, self.profile.mark, self.profile.mask),
        ]

    def last(self, family: socket.AddressFamily) -> Route:
        """Return the route that says "unreachable"."""
        return Route(_EVERYWHERE[family], self.table, UNREACHABLE, metric=LAST_METRIC)

    def faults(self, device: int) -> list[str]:
        """Say what is wrong. OSError.

        Args:
            device: number of the secure device.
        """
        found = []
        with RoutingSocket() as routing:
            for family in families():
                version = 4 if family == socket.AF_INET else 6
                lack, _ = self._rule_changes(routing, family)
                if lack:
                    found.append(f"rules of routing to table {self.table} are missing (IPv{version})")
                more, less = self._route_changes(routing, family, device)
                if more or less:
                    found.append(f"routes of table {self.table} are not as they should be (IPv{version})")
        return found

    def repair(self, device: int) -> None:
        """Make it right. OSError names what cannot be done.

        Args:
            device: number of the secure device, which is up; 0: none yet, and all that needs none.
        """
        with RoutingSocket() as routing:
            for family in families():
                # The last route first: from then on nothing goes another way.
                more, less = self._route_changes(routing, family, device)
                for route in more:
                    routing.put_route(route)
                for route in less if device else ():
                    routing.remove_route(route)
                lack, _ = self._rule_changes(routing, family)
                for rule in lack:
                    routing.add_rule(rule)

    def remove(self) -> None:
        """Remove the rules, and all routes of the table. OSError."""
        with RoutingSocket() as routing:
            for family in families():
                _, there = self._rule_changes(routing, family)
                for rule in there:
                    routing.remove_rule(rule)
                for route in routing.routes(family, self.table):
                    routing.remove_route(route)

    def _rule_changes(self, routing: RoutingSocket, family: int) -> tuple[list[Rule], list[Rule]]:
        """Return those that are missing, and those that are there; each as often as it is there."""
        wanted = self.rules(family)
        there = [rule for rule in routing.rules(family) if rule in wanted]
        return [rule for rule in wanted if rule not in there], there

    def _route_changes(
        self, routing: RoutingSocket, family: socket.AddressFamily, device: int
    ) -> tuple[list[Route], list[Route]]:
        """Return what is to be put in place, in that order, and what is to be removed after that."""
        wanted = [self.last(family)]
        if device:
            wanted += [
                Route(
                    *(choice.network, self.table, UNICAST, device, choice.source),
                    metric=_metric(family),
                    congestion_control=self.profile.congestion_control,
                )
                for choice in pruned(self._choices(routing, family, device))
            ]
        there = routing.routes(family, self.table)
        known, right = set(there), set(wanted)
        more = [route for route in wanted if route not in known]
        taken = {_place(route) for route in more}
        return more, [route for route in there if route not in right and _place(route) not in taken]

    def _choices(self, routing: RoutingSocket, family: socket.AddressFamily, device: int) -> list[_Choice]:
        version = 4 if family == socket.AF_INET else 6
        with LinkSocket() as links:
            own = [
                each
                for each in links.addresses()
                if each.address.version == version and each.usable and each.index != device
            ]
        choices = [_Choice(network, source) for network, source in _LOOPBACK if network.version == version]
        choices += [
            _Choice(ipaddress.ip_network(each.address), each.address)
            for each in own
            if not each.address.is_link_local and not each.address.is_loopback
        ]
        main = [route for route in routing.routes(family, MAIN) if self._counts(route, device)]
        main.sort(key=lambda route: (route.destination.prefixlen, route.metric))
        known: dict[tuple[object, ...], Address | None] = {}
        for route in main[:_ROUTES_MOST]:
            gateway = route.gateway if version == 4 else None
            key = (route.device, route.source, gateway or (version == 6 and route.destination))
            if key not in known:
                known[key] = route.source or _source(route)
            choices.append(_Choice(route.destination, known[key]))
        return choices

    @staticmethod
    def _counts(route: Route, device: int) -> bool:
        destination = route.destination.network_address
        return (
            route.kind == UNICAST
            and not route.dead
            and route.device not in (0, device)
            and not destination.is_multicast
            and not destination.is_link_local
        )


def _place(route: Route) -> tuple[Network, int]:
    """Return by what a route takes another one's place (`RoutingSocket.put_route`)."""
    return route.destination, route.metric


def _metric(family: int) -> int:
    return _IPV6_METRIC if family == socket.AF_INET6 else 0


def _source(route: Route) -> Address | None:
    """Ask from which address the kernel sends by a route of the main table."""
    network = route.destination
    if network.version == 4:
        peer: Address = route.gateway or network[min(1, network.num_addresses - 1)]
    else:
        # Any that the route is for; of the default route one that is in use by nobody (RFC 3849).
        peer = network[1] if 0 < network.prefixlen < 128 else network[0]
        if network.prefixlen == 0:
            peer = ipaddress.IPv6Address("2001:db8::1")
    try:
        return source_of(peer, device=route.device)
    except OSError:
        return None
