"""UDP: datagrams, their fragments, and the errors that answer them."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from frames import quoted_protocol, source_of
from wire import TIMEOUT, is_readable

pytestmark = pytest.mark.lab

DGRAM = socket.SOCK_DGRAM


def test_data_both_ways(make_wire):
    with make_wire() as wire:
        first, second = wire.datagram(wire.a), wire.datagram(wire.b)
        for size in (0, 1, 100, 1000, 1400):
            data = os.urandom(size)
            first.sendto(data, second.getsockname())
            received, sender = second.recvfrom(2000)
            assert (received, sender) == (data, first.getsockname())
            second.sendto(received[::-1], sender)
            assert first.recv(2000) == data[::-1]


def test_connected(make_wire):
    with make_wire() as wire:
        first, second = wire.datagram_pair()
        for number in range(200):
            first.send(number.to_bytes(4, "big"))
            assert int.from_bytes(second.recv(100), "big") == number
            second.send(number.to_bytes(5, "big"))
            assert int.from_bytes(first.recv(100), "big") == number


def test_port_unreachable(make_wire):
    """The answer quotes what was sent, decrypted: in clear it would give away the datagram."""
    with make_wire(integrity_only=True) as wire:
        closed = wire.datagram(wire.b)
        address = closed.getsockname()
        closed.close()
        sender = wire.secured(wire.a, DGRAM)
        wire.connect(sender, address)
        sender.send(b"nobody listens")
        assert is_readable(sender, TIMEOUT)
        with pytest.raises(ConnectionRefusedError):
            sender.recv(100)
        state = "ICMP" if wire.family == socket.AF_INET else "ICMPV6"
        assert wire.capture.wait(lambda counts: counts.inner[state] == 1, TIMEOUT)


def test_losses(make_wire):
    """What is lost is lost, and nothing of it is sent again in another way."""
    sent = 400
    with make_wire() as wire:
        first, second = wire.datagram_pair()
        second.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        with wire.netem(wire.a, "loss", "5%"):
            for number in range(sent):
                first.send(number.to_bytes(4, "big"))
        first.send(b"last")
        received = []
        while (data := second.recv(100)) != b"last":
            received.append(int.from_bytes(data, "big"))
        assert sent * 0.8 < len(received) < sent
        assert received == sorted(set(received))
        second.send(b"thanks")
        assert first.recv(100) == b"thanks"


def test_largest_datagrams(make_wire):
    """64 kB in one datagram: ESP first, then fragments, none of which may be read."""
    with make_wire() as wire:
        first, second = wire.datagram_pair()
        for sock in (first, second):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        fragments = 0
        # 65,507 is what UDP can carry over IPv4; ESP takes at most 8 + 8 + 16 + 2 bytes and the padding.
        for size in (20_000, 65_000, 65_507 - 64):
            for sender, receiver in ((first, second), (second, first)):
                data = os.urandom(size)
                assert sender.send(data) == size
                assert receiver.recv(1 << 17) == data
                fragments += size // 1500
    assert wire.capture.counts.esp >= fragments
    assert wire.capture.counts.esp_bytes > 2 * (20_000 + 65_000 + 65_507 - 64)


def test_too_large_for_esp(make_wire):
    """UDP's own limit leaves no room for ESP: the datagram is refused or lost, never sent in another form."""
    with make_wire(esp=None) as wire:
        first, second = wire.datagram_pair()
        refused = 0
        try:
            first.send(os.urandom(65_507))
        except OSError as error:
            refused = error.errno
        assert refused in (0, errno.EMSGSIZE)
        if wire.family == socket.AF_INET6 and not refused:
            # The receiver complains that the fragments make more than 64 kB, and quotes what it got.
            assert wire.capture.wait(lambda counts: counts.clear > 0, TIMEOUT)
            wire.expected_clear = {"ICMPV6": 1}
        first.send(b"next")
        assert second.recv(1 << 17) == b"next"
    for frame in wire.capture.counts.first_clear:
        assert (source_of(frame), quoted_protocol(frame)) == (wire.b.v6, socket.IPPROTO_ESP)


def test_multicast_stays_at_home(make_wire):
    """There is no association with a group: EAGAIN, and nothing on the wire."""
    with make_wire(esp=False) as wire:
        sender = wire.bind(wire.secured(wire.a, DGRAM), wire.a)
        sender.setblocking(False)
        if wire.family == socket.AF_INET:
            group = ("239.1.2.3", 4711)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(wire.a.v4))
        else:
            with wire.a.entered():
                group = ("ff02::4711", 4711, 0, socket.if_nametoindex(wire.a.device))
        with pytest.raises(OSError) as caught:
            sender.sendto(b"to all", group)
        assert caught.value.errno == errno.EAGAIN
