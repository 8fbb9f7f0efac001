"""A router in the path takes smaller packets than the hosts know of: what is sent goes through, in ESP."""

from __future__ import annotations

import socket

import pytest
from frames import source_of
from routed_wire import ETHERNET, PATIENCE, RoutedWire, routed_wire
from wire import Stream, exchange_datagrams, run_streams

SIZES = (100, 1200, 1300, 1400, 1452, 4000, 20_000, 60_000)
MTUS = pytest.mark.parametrize("narrow", [1400, 1280])
WAYS = pytest.mark.parametrize(
    ("family", "encapsulation"),
    [(socket.AF_INET, "udp"), (socket.AF_INET, "raw"), (socket.AF_INET6, "udp"), (socket.AF_INET6, "raw")],
    ids=["v4-udp", "v4-raw", "v6-udp", "v6-raw"],
)


def was_too_wide(wire: RoutedWire, narrow: int) -> None:
    """Both hosts sent what the wire between the routers does not take, which nobody told them."""
    for host in (wire.a, wire.b):
        sent = [len(each) for each in wire.edges[host.name].frames() if source_of(each) == wire.host(host)]
        assert max(sent) > ETHERNET + narrow
    assert max(len(frame) for frame in wire.middle.frames()) <= ETHERNET + narrow


@MTUS
@WAYS
def test_streams(realm, family, narrow, encapsulation):
    with routed_wire(family, narrow=narrow, encapsulation=encapsulation) as wire:
        client, server = wire.connection()
        run_streams(Stream(client, server, 1 << 20), Stream(server, client, 1 << 20), timeout=PATIENCE)
        was_too_wide(wire, narrow)


@MTUS
@WAYS
def test_datagrams(realm, family, narrow, encapsulation):
    """The first ones may be lost for teaching their sender; then each size arrives."""
    with routed_wire(family, narrow=narrow, encapsulation=encapsulation) as wire:
        exchange_datagrams(*wire.datagrams(), SIZES)
        was_too_wide(wire, narrow)
