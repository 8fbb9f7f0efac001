"""What the kernel says of devices, routes, rules and nftables: any bytes are read, or passed over."""

from __future__ import annotations

import ipaddress
import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from wsasec.kernel.links import _take_address, _take_link
from wsasec.kernel.netlink import attribute
from wsasec.kernel.nftables import _OF_RULE, FAMILY_INET, _taker
from wsasec.kernel.routing import UNICAST, UNREACHABLE, Route, RoutingSocket, Rule, _take_route, _take_rule

kinds = st.sampled_from([16, 20, 24, 32, 0x0A06])
attributes = st.lists(
    st.tuples(st.integers(0, 60), st.binary(max_size=20)).map(lambda each: attribute(*each)), max_size=8
).map(b"".join)


@given(kinds, st.binary(max_size=12) | st.binary(min_size=12, max_size=16), attributes)
def test_any_bytes_are_read_or_passed_over(kind: int, head: bytes, rest: bytes) -> None:
    for take in (_take_link, _take_address, _take_route, _take_rule, _taker(0x0A06, 1, b"t\0", _OF_RULE)):
        take(kind, memoryview(head + rest))


@st.composite
def routes(draw: st.DrawFn) -> Route:
    version = draw(st.sampled_from([4, 6]))
    address = st.ip_addresses(v=version)
    length = draw(st.integers(0, 32 if version == 4 else 128))
    network = ipaddress.ip_network((draw(address), length), strict=False)
    table = draw(st.integers(1, 0xFFFFFFFF))
    metric = draw(st.integers(0, 0xFFFFFFFF))
    if draw(st.booleans()):
        return Route(network, table, UNREACHABLE, metric=metric)
    source, gateway = draw(st.none() | address), draw(st.none() | address)
    device = draw(st.integers(1, 2**31 - 1))
    congestion = draw(st.sampled_from(["", "bbr", "cubic", "a" * 15]))
    return Route(*(network, table, UNICAST, device, source, gateway, metric), congestion_control=congestion)


@given(routes())
def test_a_route_is_packed_and_read(route: Route) -> None:
    message = RoutingSocket._route(route, protocol=87, scope=RoutingSocket._scope(route))
    assert _take_route(24, memoryview(bytes(message))[16:]) == route


@given(
    st.sampled_from([int(socket.AF_INET), int(socket.AF_INET6)]),
    *(st.integers(1, 0xFFFFFFFF),) * 4,
    st.sampled_from(["", "ws1", "ws4294967295"]),
)
def test_a_rule_is_packed_and_read(
    family: int, priority: int, table: int, mark: int, mask: int, oif: str
) -> None:
    rule = Rule(family, priority, table, mark, mask, oif)
    assert _take_rule(32, memoryview(bytes(RoutingSocket._rule(rule)))[16:]) == rule


def test_what_narrows_a_rule_makes_it_another() -> None:
    rule = Rule(int(socket.AF_INET), 57, 1000, 1, 1)
    message = RoutingSocket._rule(rule)
    message.attribute(22, struct.pack("=B", 6))  # FRA_IP_PROTO
    found = _take_rule(32, memoryview(bytes(message))[16:])
    assert found != rule
    assert found is not None
    assert not found.plain
    inverted = bytearray(RoutingSocket._rule(rule))
    inverted[16 + 8] |= 2  # FIB_RULE_INVERT
    assert _take_rule(32, memoryview(bytes(inverted))[16:]) != rule


def test_handles_and_counts_do_not_matter() -> None:
    def rule(handle: int, expressions: bytes) -> memoryview:
        body = attribute(1, b"t\0") + attribute(2, b"c\0") + attribute(3, handle.to_bytes(8, "big"))
        return memoryview(struct.pack("=BBH", FAMILY_INET, 0, 0) + body + attribute(4, expressions))

    take = _taker(0x0A06, FAMILY_INET, b"t\0", _OF_RULE)
    assert take(0x0A06, rule(1, b"one")) == take(0x0A06, rule(2, b"one"))
    assert take(0x0A06, rule(1, b"one")) != take(0x0A06, rule(1, b"two"))
    assert _taker(0x0A06, FAMILY_INET, b"other\0", _OF_RULE)(0x0A06, rule(1, b"one")) is None
