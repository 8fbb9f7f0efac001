"""A translator of addresses and ports (NAT) in the path: who has the keys is found by what it sends."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from routed_wire import PATIENCE, RoutedWire, TranslatedLab, cannot_translate, routed_wire
from wire import Stream, is_readable, receive, run_streams, wait_for

from wsasec.engine import Direction
from wsasec.engine.messages import Mapping


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def family(request: pytest.FixtureRequest) -> socket.AddressFamily:
    return socket.AddressFamily(request.param)


@pytest.fixture(autouse=True)
def translating(realm) -> None:
    if lack := cannot_translate(realm):
        pytest.skip(lack)


def told(wire: RoutedWire, ports: range) -> Mapping:
    """Wait until b's engine says that a's packets come from one of these ports."""
    control = wire.lab.end(wire.b).engine.control

    def found() -> Mapping | None:
        event = control.event(PATIENCE)
        assert isinstance(event, Mapping), event
        return event if event.port in ports else None

    event = wait_for(found, "it says where the peer is", PATIENCE)
    assert event.name.direction is Direction.INBOUND
    assert str(event.name.destination) == wire.host(wire.b)
    assert str(event.address) == wire.host(wire.lab.r)
    return event


def move(wire: RoutedWire, mapping: Mapping) -> None:
    """Do what a key daemon does."""
    wire.lab.end(wire.b).engine.control.set_mapping(mapping)


def test_the_peer_is_behind_it(family):
    """Nothing comes back before the engine is told where to; what was sent meanwhile went nowhere, in ESP."""
    with routed_wire(family, TranslatedLab) as wire:
        wire.lab.end(wire.b).engine.control.subscribe()
        listener = wire.secured(wire.b)
        listener.listen(4)
        client = wire.secured(wire.a)
        client.setblocking(False)
        assert client.connect_ex(listener.getsockname()) == errno.EINPROGRESS
        mapping = told(wire, range(6000, 7000))
        assert not is_readable(listener)
        move(wire, mapping)
        server = wire.sockets.enter_context(listener.accept()[0])
        assert server.getpeername()[0] == wire.host(wire.lab.r)
        server.settimeout(PATIENCE)
        client.settimeout(PATIENCE)
        run_streams(Stream(client, server, 1 << 20), Stream(server, client, 1 << 20), timeout=PATIENCE)
        # It forgets: packets come from another port from the next one on.
        wire.lab.translate("7000-7999")
        client.sendall(b"from elsewhere")
        assert receive(server, 14) == b"from elsewhere"
        move(wire, told(wire, range(7000, 8000)))
        run_streams(Stream(server, client, 1 << 20), Stream(client, server, 1 << 20), timeout=PATIENCE)


def test_datagrams(family):
    with routed_wire(family, TranslatedLab) as wire:
        wire.lab.end(wire.b).engine.control.subscribe()
        first, second = (wire.secured(end, socket.SOCK_DGRAM) for end in (wire.a, wire.b))
        first.connect(second.getsockname())
        first.send(b"here I am")
        data, peer = second.recvfrom(100)
        assert (data, peer[0]) == (b"here I am", wire.host(wire.lab.r))
        move(wire, told(wire, range(6000, 7000)))
        second.connect(peer)
        for size in (0, 1, 1400, 4000, 20_000):
            for sender, receiver in ((second, first), (first, second)):
                data = os.urandom(size)
                sender.send(data)
                assert receiver.recv(1 << 17) == data
