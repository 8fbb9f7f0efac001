"""Routes, and the rules by which the kernel chooses a table of them, over netlink."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

from .netlink import CREATE, REPLACE, Message, NetlinkSocket, attribute, attributes
from .notifications import NETLINK_ROUTE

__all__ = ["MAIN", "UNICAST", "UNREACHABLE", "Network", "Route", "RoutingSocket", "Rule", "table_of_change"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAIN: Final = 254
UNICAST: Final = 1
UNREACHABLE: Final = 7

_MSG_NEWROUTE: Final = 24
_MSG_DELROUTE: Final = 25
_MSG_GETROUTE: Final = 26
_MSG_NEWRULE: Final = 32
_MSG_DELRULE: Final = 33
_MSG_GETRULE: Final = 34

_DST: Final = 1
_OIF: Final = 4
_GATEWAY: Final = 5
_PRIORITY: Final = 6
_PREFSRC: Final = 7
_METRICS: Final = 8
_MULTIPATH: Final = 9
_TABLE: Final = 15

_METRIC_CONGESTION: Final = 16  # RTAX_CC_ALGO

_RULE_DST: Final = 1
_RULE_SRC: Final = 2
_RULE_IIF: Final = 3
_RULE_PRIORITY: Final = 6
_RULE_MARK: Final = 10
_RULE_TABLE: Final = 15
_RULE_MASK: Final = 16
_RULE_OIF: Final = 17
_RULE_TO_TABLE: Final = 1
# What narrows a rule beyond what is asked for here: TUN_ID, L3MDEV, UID_RANGE, IP_PROTO and the ports.
_RULE_NARROW: Final = frozenset({_RULE_DST, _RULE_SRC, _RULE_IIF, 12, 19, 20, 22, 23, 24})

_SCOPE_UNIVERSE: Final = 0
_SCOPE_LINK: Final = 253
_SCOPE_NOWHERE: Final = 255  # of one that is to be removed: any
_COMPAT_TABLE: Final = 252  # in the header, where the table's number has more than eight bits
_CLONED: Final = 0x200
_NEXT_HOP_DEAD: Final = 1

# struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags; fib_rule_hdr is alike.
_HEADER: Final = struct.Struct("=8BI")
_NEXT_HOP: Final = struct.Struct("=HBBi")


@dataclass(frozen=True, slots=True)
class Route:
    """A route.

    Attributes:
        destination: for which addresses.
        table: of which table.
        kind: UNICAST, UNREACHABLE, or another of the kernel's numbers (RTN_).
        device: index of the device; of several next hops that of the first; 0 for none.
        source: the address to send from; None: the kernel chooses.
        gateway: of the same family; None for none such.
        metric: the lower one wins. (IPv6: 0 stands for 1024.)
        dead: whether its next hop cannot be used.
        congestion_control: of TCP connections that are made by it; "" for that of the namespace.
    """

    destination: Network
    table: int
    kind: int = UNICAST
    device: int = 0
    source: _Address | None = None
    gateway: _Address | None = None
    metric: int = 0
    dead: bool = False
    congestion_control: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that sends to a table.

    Attributes:
        family: AF_INET or AF_INET6.
        priority: the lower one is asked first.
        table: where to look.
        mark: what the packet's mark is, within `mask`.
        mask: 0 for any mark.
        oif: name of the device that the packet is bound to; "" for any.
        plain: whether nothing else narrows it, and it does send to a table.
    """

    family: int
    priority: int
    table: int
    mark: int = 0
    mask: int = 0
    oif: str = ""
    plain: bool = True


def _u32(value: int) -> bytes:
    return struct.pack("=I", value)


def _number(values: dict[int, memoryview], which: int, default: int = 0) -> int:
    value = values.get(which)
    return struct.unpack("=I", value)[0] if value is not None and len(value) == 4 else default


def _take_route(kind: int, payload: memoryview) -> Route | None:
    if kind != _MSG_NEWROUTE or len(payload) < _HEADER.size:
        return None
    family, length, _, _, table, _, _, route_kind, flags = _HEADER.unpack_from(payload)
    if flags & _CLONED or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    values = dict(attributes(payload[_HEADER.size :]))
    size = 4 if family == socket.AF_INET else 16
    device, gateway, hop_flags = _number(values, _OIF), values.get(_GATEWAY), flags
    if (several := values.get(_MULTIPATH)) is not None and len(several) >= _NEXT_HOP.size:
        hop_size, hop_flags, _, device = _NEXT_HOP.unpack_from(several)
        gateway = dict(attributes(several[_NEXT_HOP.size : hop_size])).get(_GATEWAY)
    if route_kind != UNICAST:
        device = 0  # IPv6 names the loopback device
    packed = bytes(values.get(_DST, b"")).ljust(size, b"\0")
    if len(packed) != size:
        return None
    return Route(
        ipaddress.ip_network((packed, length), strict=False),
        _number(values, _TABLE, table),
        route_kind,
        device,
        _address(values.get(_PREFSRC), size),
        _address(gateway, size),
        _number(values, _PRIORITY),
        bool(hop_flags & _NEXT_HOP_DEAD),
        _text(dict(attributes(values.get(_METRICS, memoryview(b"")))), _METRIC_CONGESTION),
    )


def _text(values: dict[int, memoryview], which: int) -> str:
    return os.fsdecode(bytes(values.get(which, b"")).rstrip(b"\0"))


def _address(value: memoryview | None, size: int) -> _Address | None:
    return ipaddress.ip_address(bytes(value)) if value is not None and len(value) == size else None


def _take_rule(kind: int, payload: memoryview) -> Rule | None:
    if kind != _MSG_NEWRULE or len(payload) < _HEADER.size:
        return None
    family, to, origin, tos, table, _, _, action, flags = _HEADER.unpack_from(payload)
    values = dict(attributes(payload[_HEADER.size :]))
    inverted = flags & 0x2  # FIB_RULE_INVERT; the others say what the kernel found
    mark = _number(values, _RULE_MARK)
    return Rule(
        family,
        _number(values, _RULE_PRIORITY),
        _number(values, _RULE_TABLE, table),
        mark,
        _number(values, _RULE_MASK, 0xFFFFFFFF if mark else 0),
        _text(values, _RULE_OIF),
        plain=action == _RULE_TO_TABLE
        and not (inverted or to or origin or tos or _RULE_NARROW & values.keys()),
    )


def table_of_change(kind: int, payload: memoryview) -> int | None:
    """Return the table of the route that a notification is about; None if it is about something else."""
    if kind not in (_MSG_NEWROUTE, _MSG_DELROUTE) or len(payload) < _HEADER.size:
        return None
    return _number(dict(attributes(payload[_HEADER.size :])), _TABLE, payload[4])


class RoutingSocket:
    """The routes of one network namespace: that of the thread that makes this. All methods raise OSError."""

    def __init__(self) -> None:
        self._netlink = NetlinkSocket(NETLINK_ROUTE)
        try:
            self._netlink.choose()
        except BaseException:
            self._netlink.close()
            raise

    def __enter__(self) -> RoutingSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._netlink.close()

    def routes(self, family: int, table: int) -> list[Route]:
        """Return the routes of a table; none, if there is no such table."""
        body = Message(_HEADER.pack(family, 0, 0, 0, table if table < 256 else 0, 0, 0, 0, 0))
        body.attribute(_TABLE, _u32(table))
        try:
            found = self._netlink.listing(_MSG_GETROUTE, "listing routes", _take_route, bytes(body[16:]))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return []
            raise
        # A kernel that cannot choose lists all of them.
        return [route for route in found if route.table == table]

    def add_route(self, route: Route) -> None:
        """Add a route. OSError: EEXIST, or what of it is not there."""
        self._put(route, CREATE, "adding")

    def put_route(self, route: Route) -> None:
        """Add a route, in one step with the end of that with its destination and metric, if any. OSError."""
        self._put(route, REPLACE, "putting in place")

    def _put(self, route: Route, flags: int, what: str) -> None:
        message = self._route(route, protocol=_PROTOCOL, scope=self._scope(route))
        self._netlink.request(message, _MSG_NEWROUTE, flags, f"{what} {_described(route)}")

    def remove_route(self, route: Route) -> None:
        """Remove a route, whoever made it. OSError (ESRCH): there is none such."""
        message = self._route(route, protocol=0, scope=_SCOPE_NOWHERE)
        self._netlink.request(message, _MSG_DELROUTE, 0, f"removing {_described(route)}")

    @staticmethod
    def _scope(route: Route) -> int:
        """IPv4: neighbours are within reach of the device. An unreachable route has no device."""
        near = route.destination.version == 4 and route.kind == UNICAST and route.gateway is None
        return _SCOPE_LINK if near else _SCOPE_UNIVERSE

    @staticmethod
    def _route(route: Route, *, protocol: int, scope: int) -> Message:
        four = route.destination.version == 4
        message = Message(
            _HEADER.pack(
                *(socket.AF_INET if four else socket.AF_INET6, route.destination.prefixlen, 0, 0),
                *(route.table if route.table < 256 else _COMPAT_TABLE, protocol, scope, route.kind, 0),
            )
        )
        message.attribute(_DST, route.destination.network_address.packed)
        message.attribute(_TABLE, _u32(route.table))
        if route.device:
            message.attribute(_OIF, _u32(route.device))
        if route.gateway is not None:
            message.attribute(_GATEWAY, route.gateway.packed)
        if route.source is not None:
            message.attribute(_PREFSRC, route.source.packed)
        if route.metric:
            message.attribute(_PRIORITY, _u32(route.metric))
        if route.congestion_control:
            name = os.fsencode(route.congestion_control) + b"\0"
            message.attribute(_METRICS, attribute(_METRIC_CONGESTION, name))
        return message

    def rules(self, family: int) -> list[Rule]:
        """Return the rules of a family, in the order in which they are asked."""
        body = _HEADER.pack(family, *(0,) * 8)
        return self._netlink.listing(_MSG_GETRULE, "listing rules of routing", _take_rule, body)

    def add_rule(self, rule: Rule) -> None:
        """Add a rule. OSError (EEXIST): there is one like it."""
        self._netlink.request(self._rule(rule), _MSG_NEWRULE, CREATE, "adding a rule of routing")

    def remove_rule(self, rule: Rule) -> None:
        """Remove a rule. OSError (ENOENT): there is none such."""
        self._netlink.request(self._rule(rule), _MSG_DELRULE, 0, "removing a rule of routing")

    @staticmethod
    def _rule(rule: Rule) -> Message:
        table = rule.table if rule.table < 256 else _COMPAT_TABLE
        message = Message(_HEADER.pack(rule.family, 0, 0, 0, table, 0, 0, _RULE_TO_TABLE, 0))
        message.attribute(_RULE_TABLE, _u32(rule.table))
        message.attribute(_RULE_PRIORITY, _u32(rule.priority))
        if rule.mask:
            message.attribute(_RULE_MARK, _u32(rule.mark))
            message.attribute(_RULE_MASK, _u32(rule.mask))
        if rule.oif:
            message.attribute(_RULE_OIF, os.fsencode(rule.oif) + b"\0")
        return message


_PROTOCOL: Final = 87
"""Who made the routes (RTPROT_): a number that nobody else is known to have."""


def _described(route: Route) -> str:
    return f"the route to {route.destination} of table {route.table}"
