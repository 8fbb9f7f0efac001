"""What binding a socket to the device alone leaves open: with the whole set, nothing is on the wire in clear.

The test is the engine: what it writes into the queue of the device comes in, and what the kernel sends into
the device comes out there. All that is on the wire is counted.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from device_queue import Inner, inject, wait_for
from disconnected import disconnect
from engine_host import Host
from esp_packets import echo_request, ip_packet, tcp, udp

from wsasec.kernel.links import LinkSocket
from wsasec.lab import Capture, Lab
from wsasec.profiles import DEFAULT

SO_MARK = 36
SO_BINDTOIFINDEX = 62
IP_PKTINFO = 8
IPV6_PKTINFO = 50
PORT = 7000
FIN, SYN, RST, ACK = 1, 2, 4, 16
TCP, UDP, ICMP, ICMPV6 = socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6
SECRET = b"what nobody else may read"


@dataclass
class Ends:
    """A host with a device, in one family."""

    host: Host
    family: int
    own: str
    peer: str

    @property
    def queue(self) -> int:
        return self.host.queue

    def socket(self, kind: int, *, bound: bool = True, marked: bool = True) -> socket.socket:
        sock = socket.socket(self.family, kind)
        if bound:
            sock.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, self.host.device.ifindex)
        if marked:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, DEFAULT.mark)
        sock.settimeout(20)
        return sock

    def arrives(
        self, protocol: int, payload: bytes, destination: str | None = None, fragment: int = 0
    ) -> None:
        """A packet of the peer's comes out of the engine."""
        inject(
            self.queue, ip_packet(self.peer, destination or self.own, protocol, payload, fragment=fragment)
        )

    def segment(self, flags: int, seq: int = 1000, ack: int = 0, data: bytes = b"", port: int = PORT) -> None:
        self.arrives(TCP, tcp((self.peer, 5000), (self.own, port), seq, ack, flags, data))

    def datagram(self, data: bytes, port: int = PORT) -> None:
        self.arrives(UDP, udp((self.peer, 5000), (self.own, port), data))

    def sent(self, protocol: int, flags: int = 0) -> Inner:
        """Wait for what the kernel sends to the peer by the device."""
        return wait_for(
            self.queue,
            lambda each: (
                each.destination == self.peer
                and each.protocol == protocol
                and (not flags or each.flags & (SYN | RST | FIN | ACK) == flags)
            ),
        )

    @property
    def icmp(self) -> int:
        return ICMP if self.family == socket.AF_INET else ICMPV6


@contextmanager
def silence(lab: Lab, *, but: int = 0) -> Iterator[Capture]:
    """Nothing is on the wire meanwhile, `but` so many packets that the other end itself sends in clear."""
    with lab.capture() as capture:
        yield capture
    counts = capture.counts
    assert counts.dropped == 0
    assert counts.clear == but, (counts.clear_by_state, [frame.hex() for frame in counts.first_clear])


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def ends(request: pytest.FixtureRequest, host: Host) -> Ends:
    a, b = host.lab.a, host.lab.b
    own, peer = (a.v4, b.v4) if request.param == socket.AF_INET else (a.v6, b.v6)
    return Ends(host, request.param, own, peer)


def test_the_first_packets_of_a_connection(ends: Ends) -> None:
    with silence(ends.host.lab), ends.socket(socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        assert sock.connect_ex((ends.peer, PORT)) == errno.EINPROGRESS
        assert ends.sent(TCP, SYN).ports[1] == PORT
        assert sock.getsockname()[0] == ends.own


def test_a_closed_port_answers_by_the_device(ends: Ends) -> None:
    with silence(ends.host.lab):
        ends.segment(SYN)
        assert ends.sent(TCP, RST | ACK).ports == (PORT, 5000)


def test_a_segment_of_no_connection_is_answered_by_the_device(ends: Ends) -> None:
    with silence(ends.host.lab):
        ends.segment(ACK, 5, 77, SECRET)
        assert ends.sent(TCP, RST).sequence == 77


def test_an_error_that_quotes_a_datagram_goes_by_the_device(ends: Ends) -> None:
    with silence(ends.host.lab):
        ends.datagram(SECRET)
        assert SECRET in ends.sent(ends.icmp).payload


def test_an_echo_goes_by_the_device(ends: Ends) -> None:
    with silence(ends.host.lab):
        ends.arrives(*echo_request(ends.peer, ends.own, 5, 1, SECRET))
        reply = ends.sent(ends.icmp)
        assert reply.payload[0] == (0 if ends.family == socket.AF_INET else 129)
        assert SECRET in reply.payload


@contextmanager
def listening(ends: Ends) -> Iterator[socket.socket]:
    with ends.socket(socket.SOCK_STREAM) as listener:
        listener.bind((ends.own, PORT))
        listener.listen()
        yield listener


def accepted(ends: Ends, listener: socket.socket) -> tuple[socket.socket, int]:
    """A connection of the peer's, and the number of what is sent on it next."""
    ends.segment(SYN)
    number = ends.sent(TCP, SYN | ACK).sequence + 1
    ends.segment(ACK, 1001, number)
    return listener.accept()[0], number


def test_a_connection_and_its_end(ends: Ends) -> None:
    with silence(ends.host.lab), listening(ends) as listener:
        sock, number = accepted(ends, listener)
        with sock:
            assert sock.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX) == ends.host.device.ifindex
            assert sock.getsockopt(socket.SOL_SOCKET, SO_MARK) == DEFAULT.mark
            sock.send(SECRET)
            assert SECRET in wait_for(ends.queue, lambda each: SECRET in each.payload).payload
        number += len(SECRET)
        fin = wait_for(ends.queue, lambda each: bool(each.flags & FIN))
        assert fin.destination == ends.peer
        ends.segment(FIN | ACK, 1001, number + 1)
        # Now it is in TIME_WAIT: an old segment is answered without any socket.
        ends.sent(TCP, ACK)
        ends.segment(FIN | ACK, 1001, number + 1)
        ends.sent(TCP, ACK)


def test_the_answer_of_a_half_open_connection(ends: Ends) -> None:
    with silence(ends.host.lab), listening(ends):
        ends.segment(SYN)
        number = ends.sent(TCP, SYN | ACK).sequence + 1
        ends.segment(ACK, 1001 + (1 << 30), number, SECRET)  # outside the window: an ACK of the request
        ends.sent(TCP, ACK)


def test_a_cookie_goes_by_the_device(ends: Ends) -> None:
    ends.host.lab.a.sysctl("net.ipv4.tcp_syncookies", 2)
    with silence(ends.host.lab), listening(ends) as listener:
        sock, _ = accepted(ends, listener)
        sock.close()


def test_an_abort_goes_by_the_device(ends: Ends) -> None:
    with silence(ends.host.lab), listening(ends) as listener:
        sock, _ = accepted(ends, listener)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
        sock.close()
        wait_for(ends.queue, lambda each: bool(each.flags & RST))


def test_a_plain_listener_does_not_answer_the_device(ends: Ends) -> None:
    with (
        silence(ends.host.lab),
        ends.socket(socket.SOCK_STREAM, bound=False, marked=False) as listener,
    ):
        listener.bind((ends.own, PORT))
        listener.listen()
        ends.segment(SYN)
        ends.sent(TCP, RST | ACK)


def test_a_plain_server_does_not_hear_the_device(ends: Ends) -> None:
    with silence(ends.host.lab), ends.socket(socket.SOCK_DGRAM, bound=False, marked=False) as server:
        server.bind((ends.own, PORT))
        ends.datagram(SECRET)
        assert SECRET in ends.sent(ends.icmp).payload  # refused, by the device
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.recv(100)


def test_a_datagram_socket_that_left_its_binding(ends: Ends) -> None:
    with silence(ends.host.lab), ends.socket(socket.SOCK_DGRAM) as sock:
        sock.connect((ends.peer, PORT))
        # This takes the binding away, without any privilege; not the mark.
        disconnect(sock)
        sock.sendto(SECRET, (ends.peer, PORT))
        assert SECRET in ends.sent(UDP).payload


def test_a_datagram_with_a_device_of_its_own(ends: Ends) -> None:
    other = socket.if_nametoindex(ends.host.lab.a.device)
    with silence(ends.host.lab), ends.socket(socket.SOCK_DGRAM) as sock:
        if ends.family == socket.AF_INET:
            control = (socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", other, b"", b""))
        else:
            control = (socket.IPPROTO_IPV6, IPV6_PKTINFO, bytes(16) + struct.pack("=I", other))
        with pytest.raises(OSError):
            sock.sendmsg([SECRET], [control], 0, (ends.peer, PORT))


def test_addresses_of_a_scope_do_not_leave_by_another_device(host: Host) -> None:
    other = socket.if_nametoindex(host.lab.a.device)
    for address in ("fe80::2", "ff02::1"):
        with silence(host.lab), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, host.device.ifindex)
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, DEFAULT.mark)
            with pytest.raises(OSError):
                sock.sendto(SECRET, (address, PORT, 0, other))


def test_multicast_does_not_leave_by_another_device(host: Host) -> None:
    own = socket.inet_aton(host.lab.a.v4)
    with silence(host.lab), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, DEFAULT.mark)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        with pytest.raises(OSError):
            sock.sendto(SECRET, ("224.0.0.251", PORT))


def test_a_mark_alone_is_enough(ends: Ends) -> None:
    with silence(ends.host.lab), ends.socket(socket.SOCK_DGRAM, bound=False) as sock:
        sock.sendto(SECRET, (ends.peer, PORT))
        assert SECRET in ends.sent(UDP).payload


# What firewalls do that keep a mark for each connection, as `CONNMARK --restore-mark` in the table "mangle".
WITHOUT_MARK = {
    "output": "type route hook output priority mangle; meta mark set ct mark",
    "output, late": "type route hook output priority 1000; meta mark set 0",
    "prerouting, late": "type filter hook prerouting priority 1000; meta mark set 0",
    "input": "type filter hook input priority mangle; meta mark set ct mark",
}


def add_chain(lab: Lab, chain: str) -> None:
    lab.a.run(["nft", "-f", "-"], input=f"table inet others {{\nchain marks {{\n{chain}\n}}\n}}\n")


@pytest.mark.parametrize("chain", WITHOUT_MARK.values(), ids=WITHOUT_MARK.keys())
def test_rules_of_others_that_take_the_mark_away(ends: Ends, chain: str) -> None:
    add_chain(ends.host.lab, chain)
    with silence(ends.host.lab), ends.socket(socket.SOCK_DGRAM, bound=False) as sock:
        sock.sendto(SECRET, (ends.peer, PORT))
        assert SECRET in ends.sent(UDP).payload
        # Answers of the kernel itself.
        ends.datagram(SECRET)
        assert SECRET in ends.sent(ends.icmp).payload
        ends.arrives(*echo_request(ends.peer, ends.own, 5, 1, SECRET))
        assert SECRET in ends.sent(ends.icmp).payload
        ends.segment(SYN)
        ends.sent(TCP, RST | ACK)


LINK_LOCAL = "fe80::b2"


def scoped(lab: Lab) -> None:
    """The wire has a link-local address, and a neighbour that needs not be looked for."""
    lab.a.run(["ip", "addr", "add", "fe80::a1/64", "dev", lab.a.device, "nodad"])
    with LinkSocket() as links:
        links.add_neighbour(lab.a.device, LINK_LOCAL, b"\2\0\0\0\0\2")


def named(ends: Ends, destination: str) -> tuple[list[tuple[int, int, bytes]], tuple[object, ...]]:
    """How a datagram names the device of the wire: ancillary data, or the scope of an address."""
    other = socket.if_nametoindex(ends.host.lab.a.device)
    if ends.family == socket.AF_INET:
        info = struct.pack("=i4s4s", other, b"", b"")
        return [(socket.IPPROTO_IP, IP_PKTINFO, info)], (destination, PORT)
    if destination.startswith("f") and not destination.startswith("fd"):
        return [], (destination, PORT, 0, other)
    return [(socket.IPPROTO_IPV6, IPV6_PKTINFO, bytes(16) + struct.pack("=I", other))], (destination, PORT)


@pytest.mark.parametrize("chain_type", ["route", "filter"])
def test_no_other_device_can_be_named_where_the_mark_is_taken_away(ends: Ends, chain_type: str) -> None:
    """Rules of others come before our last ones: what goes another way does not get that far."""
    lab = ends.host.lab
    add_chain(lab, f"type {chain_type} hook output priority mangle; meta mark set 0")
    scoped(lab)
    multicast = "224.0.0.251" if ends.family == socket.AF_INET else "ff02::1"
    everywhere = [ends.peer, multicast] + ([LINK_LOCAL] if ends.family == socket.AF_INET6 else [])
    with silence(lab):
        for destination in everywhere:
            for left in (False, True):
                with ends.socket(socket.SOCK_DGRAM) as sock:
                    if left:
                        sock.connect((ends.peer, PORT))
                        disconnect(sock)
                    ancillary, address = named(ends, destination)
                    with pytest.raises(OSError):
                        sock.sendmsg([SECRET], ancillary, 0, address)
        with ends.socket(socket.SOCK_DGRAM, bound=False) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, lab.a.device.encode())
            with pytest.raises(OSError):
                sock.sendto(SECRET, (ends.peer, PORT))
        with ends.socket(socket.SOCK_DGRAM) as sock:  # what names none still goes
            sock.connect((ends.peer, PORT))
            disconnect(sock)
            sock.sendto(SECRET, (ends.peer, PORT))
            assert SECRET in ends.sent(UDP).payload


@pytest.mark.parametrize("chain_type", ["route", "filter"])
def test_a_connection_by_link_local_addresses_where_the_mark_is_taken_away(
    host: Host, chain_type: str
) -> None:
    """bind() to an address of a scope moves a socket to its device, as it is bound to none by privilege."""
    lab, other = host.lab, socket.if_nametoindex(host.lab.a.device)
    add_chain(lab, f"type {chain_type} hook output priority mangle; meta mark set 0")
    scoped(lab)
    with silence(lab), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, host.device.ifindex)
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, DEFAULT.mark)
        sock.settimeout(1)
        sock.bind(("fe80::a1", 0, 0, other))
        with pytest.raises(OSError):
            sock.connect((LINK_LOCAL, PORT, 0, other))


def test_clear_packets_do_not_come_to_a_secured_socket(ends: Ends) -> None:
    with (
        silence(ends.host.lab, but=2),  # both are the other end's
        ends.socket(socket.SOCK_DGRAM, bound=False) as server,
        ends.host.lab.b.socket(ends.family, socket.SOCK_DGRAM) as other,
        ends.host.lab.b.socket(ends.family, socket.SOCK_STREAM) as stream,
        ends.socket(socket.SOCK_STREAM, bound=False) as listener,
    ):
        server.bind((ends.own, PORT))
        listener.bind((ends.own, PORT + 1))
        listener.listen()
        other.sendto(b"clear", (ends.own, PORT))
        stream.setblocking(False)
        assert stream.connect_ex((ends.own, PORT + 1)) == errno.EINPROGRESS
        stream.close()
        ends.datagram(SECRET)
        assert server.recv(100) == SECRET
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.recv(100)


def halves(ends: Ends) -> list[tuple[bytes, int]]:
    """A datagram in two fragments: payloads of IP, and their fragment words."""
    whole = udp((ends.peer, 5000), (ends.own, PORT), bytes(1000) + SECRET * 20)
    if ends.family == socket.AF_INET:
        return [(whole[:1000], 0x2000), (whole[1000:], 125)]
    heads = [struct.pack(">BBHI", UDP, 0, offset, 77) for offset in (1, 1000)]
    return [(heads[0] + whole[:1000], 0), (heads[1] + whole[1000:], 0)]


@pytest.mark.parametrize("first", [0, 1], ids=["first half", "second half"])
def test_no_datagram_is_made_of_both(ends: Ends, first: int) -> None:
    """One fragment comes in clear, the other out of the device: neither is taken for part of the other."""
    lab, parts = ends.host.lab, halves(ends)
    protocol = UDP if ends.family == socket.AF_INET else 44
    with (
        silence(lab, but=1),
        ends.socket(socket.SOCK_DGRAM, bound=False) as secured,
        lab.b.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as wire,
    ):
        secured.bind((ends.own, PORT))
        payload, word = parts[1 - first]
        packet = ip_packet(ends.peer, ends.own, protocol, payload, fragment=word)
        kind = 0x0800 if ends.family == socket.AF_INET else 0x86DD
        with lab.a.socket(socket.AF_PACKET, socket.SOCK_RAW) as probe:
            probe.bind((lab.a.device, 0))
            hardware = probe.getsockname()[4]
        wire.sendto(packet, (lab.b.device, kind, 0, 0, hardware))
        payload, word = parts[first]
        ends.arrives(protocol, payload, fragment=word)
        ends.datagram(b"whole")
        assert secured.recv(2000) == b"whole"
        secured.setblocking(False)
        with pytest.raises(BlockingIOError):
            secured.recv(2000)


def test_nothing_is_forwarded(ends: Ends) -> None:
    a = ends.host.lab.a
    ends.host.keeper.stop()  # or it would turn forwarding off for the device
    a.sysctl("net.ipv4.ip_forward", 1)
    a.sysctl("net.ipv6.conf.all.forwarding", 1)
    third = "10.9.0.77" if ends.family == socket.AF_INET else "fd00:9::77"
    source = "10.9.0.78" if ends.family == socket.AF_INET else "fd00:9::78"
    with silence(ends.host.lab):
        inject(ends.queue, ip_packet(source, ends.peer, UDP, udp((source, 1), (ends.peer, 2), SECRET)))
        ends.arrives(UDP, udp((ends.peer, 1), (third, 2), SECRET), destination=third)
        ends.segment(SYN)
        seen: list[Inner] = []

        def is_answer(each: Inner) -> bool:
            seen.append(each)
            return bool(each.flags & RST)

        wait_for(ends.queue, is_answer)  # so both were looked at before
    # An ICMP message that quotes it may: it goes to who sent it, as ESP.
    assert not any(SECRET in each.payload for each in seen if each.protocol == UDP), "it was sent back"


def test_device_down(ends: Ends) -> None:
    ends.host.keeper.stop()
    with silence(ends.host.lab), ends.socket(socket.SOCK_DGRAM) as sock:
        sock.sendto(SECRET, (ends.peer, PORT))
        with LinkSocket() as links:
            links.set_up(ends.host.device.name, up=False)
        with pytest.raises(OSError):
            sock.sendto(SECRET, (ends.peer, PORT))
        with ends.socket(socket.SOCK_STREAM, bound=False) as stream, pytest.raises(OSError):
            stream.connect((ends.peer, PORT))


def test_device_gone(ends: Ends) -> None:
    with silence(ends.host.lab), listening(ends) as listener:
        sock, _ = accepted(ends, listener)
        with sock, ends.socket(socket.SOCK_DGRAM, bound=False) as marked:
            ends.host.keeper.stop()
            with LinkSocket() as links:
                links.remove(ends.host.device.name)
            sock.setblocking(False)
            sock.send(SECRET)  # buffered, and retransmitted: TCP says nothing
            with pytest.raises(OSError):
                marked.sendto(SECRET, (ends.peer, PORT))
            with ends.socket(socket.SOCK_STREAM, bound=False) as stream, pytest.raises(OSError):
                stream.connect((ends.peer, PORT))
            # Now it aborts, as there is unread data or linger.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))


def test_another_device_with_its_number(ends: Ends) -> None:
    """Who makes a device with the number of one that is gone has its sockets; the rules go by the name."""
    lab = ends.host.lab
    with silence(lab), ends.socket(socket.SOCK_DGRAM) as sock:
        sock.connect((ends.peer, PORT))
        ends.host.keeper.stop()
        number = str(ends.host.device.ifindex)
        with LinkSocket() as links:
            links.remove(ends.host.device.name)
        lab.a.run(["ip", "link", "add", "thief", "index", number, "type", "veth", "peer", "name", "far"])
        for words in ("addr add 10.88.0.1/24 dev thief", "addr add fd00:88::1/64 dev thief nodad"):
            lab.a.run(["ip", *words.split()])
        lab.a.run(["ip", "link", "set", "thief", "up"])
        lab.a.run(["ip", "link", "set", "far", "up"])
        peer = "10.88.0.2" if ends.family == socket.AF_INET else "fd00:88::2"
        lab.a.run(["ip", "neigh", "add", peer, "lladdr", "02:00:00:00:00:01", "dev", "thief"])
        with lab.a.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as far:
            far.bind(("far", 3))
            far.setblocking(False)
            with pytest.raises(OSError):
                sock.sendto(SECRET, (peer, PORT))
            seen = []
            while True:
                try:
                    seen.append(far.recv(2000))
                except BlockingIOError:
                    break
            assert not any(SECRET in each for each in seen)
