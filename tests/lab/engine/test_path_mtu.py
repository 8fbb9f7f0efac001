"""A path that gets narrower under traffic: what is too large for it is cut, behind ESP."""

from __future__ import annotations

import os
import socket

import pytest
from esp_packets import NO_NEXT_HEADER, esp_offset
from frames import source_of
from wire import Stream, exchange_datagrams, run_streams, wait_for

from wsasec.lab import parse

pytestmark = pytest.mark.lab

ETHERNET = 14
DONT_FRAGMENT = 0x40


@pytest.mark.parametrize("mtu", [1400, 1280])
def test_narrower_under_traffic(make_pair, encapsulation, mtu):
    """No packet is lost for good, none on the wire is larger than it takes."""
    with make_pair(encapsulation=encapsulation, agree=False) as pair:
        client, server = pair.connection(pair.lab.b)
        run_streams(Stream(client, server, 100_000), Stream(server, client, 100_000))
        for end in (pair.lab.a, pair.lab.b):
            end.run(["ip", "link", "set", end.device, "mtu", str(mtu)])
        already = len(pair.sniffer.frames())
        run_streams(Stream(client, server, 100_000), Stream(server, client, 100_000))
        assert max(len(frame) for frame in pair.sniffer.frames()[already:]) <= 14 + mtu
        # Datagrams that are larger than the path arrive in pieces of ESP.
        exchange_datagrams(*pair.datagrams(), (1000, 1300, 1400, 4000))
        assert pair.strays() == 0


def test_datagrams_that_may_not_be_cut(make_pair, encapsulation):
    """The program hears how much there is room for (RFC 1191, RFC 8201)."""
    with make_pair(encapsulation=encapsulation, agree=False) as pair:
        sock = pair.socket(pair.lab.a, socket.SOCK_DGRAM)
        v4 = pair.family == socket.AF_INET
        level, discover, mtu_of = (socket.IPPROTO_IP, 10, 14) if v4 else (socket.IPPROTO_IPV6, 23, 24)
        sock.setsockopt(level, discover, 2)
        target = pair.socket(pair.lab.b, socket.SOCK_DGRAM)
        sock.connect(target.getsockname())
        device = pair.lab.end.device
        headers = 28 if v4 else 48
        sock.send(bytes(device.mtu - headers))
        assert len(target.recv(1 << 17)) == device.mtu - headers
        with pytest.raises(OSError):
            sock.send(bytes(device.mtu - headers + 1))
        assert sock.getsockopt(level, mtu_of) == device.mtu


def test_how_it_is_looked_at(make_pair, encapsulation):
    """A dummy packet (RFC 4303 section 2.6) that may not be cut goes behind data, and no more comes of it."""
    with make_pair(encapsulation=encapsulation) as pair:
        first, second = pair.datagrams()
        data = os.urandom(1000)
        first.send(data)
        assert second.recv(2000) == data

        def sent() -> list[bytes]:
            frames = pair.sniffer.frames()
            return [
                f for f in frames if source_of(f) == pair.host(pair.lab.a) and parse(f).group != "neighbour"
            ]

        wait_for(lambda: len(sent()) == 2, "the path is looked at")
        carried, dummy = sent()
        packet = dummy[esp_offset(dummy) :]
        opened = pair.association(int.from_bytes(packet[:4], "big")).open(packet)
        assert opened.next_header == NO_NEXT_HEADER
        assert not any(opened.payload)
        # As large as the wire takes, which is what the device's MTU is made for.
        assert len(dummy) == ETHERNET + pair.lab.mtu
        if pair.family == socket.AF_INET:
            assert dummy[ETHERNET + 6] & DONT_FRAGMENT
            assert not carried[ETHERNET + 6] & DONT_FRAGMENT
        # Less than any path takes says nothing of it.
        for sender, receiver in ((first, second), (second, first)):
            sender.send(data[:100])
            assert receiver.recv(2000) == data[:100]
        assert len(sent()) == 3
