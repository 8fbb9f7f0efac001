"""UDP by secure devices: datagrams, and the errors that answer them; nothing on the wire but ESP."""

from __future__ import annotations

import os
import socket
from collections import Counter
from contextlib import suppress

import pytest
from device_wire import device_wire
from disconnected import disconnect
from esp_packets import is_fragment, outer_packets
from frames import Sniffer
from wire import is_readable, wait_for

from wsasec.lab import parse

PATIENCE = 60.0
DGRAM = socket.SOCK_DGRAM


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def family(request: pytest.FixtureRequest) -> socket.AddressFamily:
    return socket.AddressFamily(request.param)


@pytest.mark.parametrize("encapsulation", ["udp", "raw"])
def test_sizes(realm, family, encapsulation):
    """Of ESP in UDP that is cut into fragments, only the whole tells that it is ESP."""
    with (
        device_wire(family, encapsulation=encapsulation) as wire,
        Sniffer(wire.a) as sniffer,
    ):
        first, second = wire.datagram_pair()
        for sock in (first, second):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        for size in (0, 1, 100, 1300, 1400, 1452, 1500, 5000, 60_000):
            for sender, receiver in ((first, second), (second, first)):
                data = os.urandom(size)
                sender.send(data)
                assert receiver.recv(1 << 17) == data
        found, others = outer_packets(sniffer.frames())
        assert found
        assert {(outer.ports is not None) for outer in found} == {encapsulation == "udp"}
        spis = {state.name.spi for end in wire.engines.ends.values() for state in end.engine.control.sas()}
        assert {int.from_bytes(outer.esp[:4], "big") for outer in found} <= spis
        assert all(parse(frame).group == "neighbour" for frame in others)
        if encapsulation == "udp":
            pieces = [frame for frame in sniffer.frames() if is_fragment(frame)]
            wire.expected_clear = Counter(parse(frame).state for frame in pieces)


def test_port_unreachable(realm, family):
    """The answer quotes what was sent, decrypted: in clear it would give away the datagram."""
    with device_wire(family) as wire:
        closed = wire.datagram(wire.b)
        address = closed.getsockname()
        closed.close()
        sender = wire.secured(wire.a, DGRAM)
        wire.connect(sender, address)
        sender.send(b"nobody listens")
        assert is_readable(sender, PATIENCE)
        with pytest.raises(ConnectionRefusedError):
            sender.recv(100)


def test_a_plain_server_is_not_reached(realm, family):
    """It is rejected, not answered in clear by a server that nobody secured."""
    with device_wire(family) as wire:
        plain = wire.bind(wire.plain(wire.b, DGRAM), wire.b)
        sender = wire.connect(wire.secured(wire.a, DGRAM), plain.getsockname())
        sender.send(b"secret")
        assert is_readable(sender, PATIENCE)
        with pytest.raises(ConnectionRefusedError):
            sender.recv(100)
        assert not is_readable(plain)


def test_clear_datagrams_are_not_taken(realm, family):
    with device_wire(family) as wire:
        first, second = wire.datagram_pair()
        stranger = wire.bind(wire.plain(wire.a, DGRAM), wire.a)
        for _ in range(5):
            stranger.sendto(b"clear", second.getsockname())
        first.send(b"in ESP")
        assert second.recv(100) == b"in ESP"
        wait_for(lambda: wire.capture.snapshot().clear_by_state["UDP"] == 5, "they passed", PATIENCE)
        assert not is_readable(second)
        # The kernel answers the stranger, in clear, that there is nobody; it quotes what was clear.
        icmp = "ICMP" if family == socket.AF_INET else "ICMPV6"
        wire.capture.wait(lambda counts: counts.clear_by_state[icmp] >= 5, 1.0)
        wire.expected_clear = {"UDP": 5, icmp: wire.capture.snapshot().clear_by_state[icmp]}


def test_unconnected_again(realm, family):
    """connect(AF_UNSPEC) undoes a binding to a device that was made without privilege; the mark stays."""
    with device_wire(family) as wire:
        first, second = wire.datagram_pair()
        first.send(b"before")
        assert second.recv(100) == b"before"
        disconnect(first)
        try:
            first.sendto(b"after", second.getsockname())
        except OSError:
            return
        # If the kernel took it, it went by the device or nowhere; the capture says that it was not clear.


def test_multicast_stays_at_home(realm, family):
    with device_wire(family, esp=None) as wire:
        sender = wire.datagram(wire.a)
        if family == socket.AF_INET:
            group = ("239.1.2.3", 4711)
            with suppress(OSError):  # a socket on a device has no other for groups
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(wire.a.v4))
        else:
            with wire.a.entered():
                group = ("ff02::4711", 4711, 0, socket.if_nametoindex(wire.a.device))
        for _ in range(3):
            try:
                sender.sendto(b"to all", group)
            except OSError:
                break
        first, second = wire.datagram_pair()
        first.send(b"in ESP")
        assert second.recv(100) == b"in ESP"
