"""Packets as the engine cuts, merges, reassembles and answers them, against scapy and plain models."""

from __future__ import annotations

import random
import socket
from collections import defaultdict
from dataclasses import dataclass, replace

import pytest
from engine_packets import MERGE_TCP, NEEDS_CHECKSUM, TCP4, TCP6, UDP_L4, Frame, Packets, RefusedError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR, fragment
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    fragment6,
)
from scapy.packet import Packet, Raw
from scapy.utils import checksum as scapy_checksum

SOURCE = {4: "192.0.2.1", 6: "2001:db8::1"}
DESTINATION = {4: "192.0.2.2", 6: "2001:db8::2"}
MOST = 65535


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> Packets:
    return Packets(tmp_path_factory.mktemp("packets"))


def several(count: int) -> settings:
    return settings(
        max_examples=count, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


def ip_of(version: int, **fields: int) -> Packet:
    if version == 4:
        return IP(src=SOURCE[4], dst=DESTINATION[4], flags="DF", **fields)
    names = {"tos": "tc", "ttl": "hlim"}
    return IPv6(
        src=SOURCE[6],
        dst=DESTINATION[6],
        **{names[name]: value for name, value in fields.items() if name in names},
    )


def parsed(packet: bytes) -> Packet:
    return (IP if packet[0] >> 4 == 4 else IPv6)(packet)


def pseudo(packet: bytes, length: int) -> int:
    """The folded sum of the pseudo header."""
    four = packet[0] >> 4 == 4
    addresses = packet[12:20] if four else packet[8:40]
    protocol = packet[9 if four else 6]
    return scapy_checksum(addresses + length.to_bytes(4, "big") + bytes([0, protocol])) ^ 0xFFFF


def header_length(packet: bytes) -> int:
    return 20 if packet[0] >> 4 == 4 else 40


def with_partial_checksum(packet: bytes, gso: int = 0, size: int = 0) -> Frame:
    """The packet as the kernel hands it to a TUN device: only the pseudo header is in the checksum."""
    start = header_length(packet)
    offset = 16 if isinstance(parsed(packet).payload, TCP) else 6
    changed = bytearray(packet)
    changed[start + offset : start + offset + 2] = pseudo(packet, len(packet) - start).to_bytes(2, "big")
    return Frame(bytes(changed), NEEDS_CHECKSUM, gso, 0, size, start, offset)


def checksums_made_anew(packet: bytes) -> bytes:
    """The packet with all lengths and checksums by scapy."""
    read = parsed(packet)
    for layer in (read, read.payload):
        for name in ("chksum", "cksum", "len", "plen"):
            if name in layer.fields and not (name == "len" and isinstance(layer, ICMP)):
                layer.delfieldval(name)
    return bytes(read)


# Most are short, as scapy is slow.
payloads = st.one_of(
    st.binary(max_size=200), st.integers(0, 20_000).map(lambda n: random.Random(n).randbytes(n))
)
tcp_options = st.sampled_from(
    [
        [],
        [("NOP", None), ("NOP", None), ("Timestamp", (7, 9))],
        [("SAck", (1, 2, 3, 4)), ("NOP", None), ("NOP", None)],
    ]
)


@dataclass(frozen=True)
class Sender:
    """Model of what TCP's and UDP's segmentation does, with scapy's layers."""

    version: int
    tos: int
    ttl: int
    ident: int

    def ip(self, index: int) -> Packet:
        return ip_of(self.version, tos=self.tos, ttl=self.ttl, id=(self.ident + index) & 0xFFFF)

    def segments(self, transport: Packet, data: bytes, size: int) -> list[bytes]:
        parts = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
        made = []
        for index, part in enumerate(parts):
            layer = transport.copy()
            if isinstance(layer, TCP):
                layer.seq = (layer.seq + index * size) % 2**32
                if index:
                    layer.flags &= ~0x80
                if index + 1 < len(parts):
                    layer.flags &= ~0x09
            made.append(bytes(self.ip(index) / layer / Raw(part)))
        return made


senders = st.builds(
    Sender, st.sampled_from([4, 6]), st.integers(0, 255), st.integers(1, 255), st.integers(0, 0xFFFF)
)


@several(60)
@given(
    sender=senders,
    data=payloads,
    size=st.integers(50, 9000),
    sequence=st.integers(0, 2**32 - 1),
    flags=st.integers(0, 255),
    options=tcp_options,
)
@example(Sender(4, 0, 64, 0xFFFF), b"x" * 200, 100, 2**32 - 100, 0x99, [])
def test_tcp_is_cut_as_scapy_would(
    packets: Packets, sender: Sender, data: bytes, size: int, sequence: int, flags: int, options: list[object]
) -> None:
    transport = TCP(sport=1234, dport=80, seq=sequence, ack=77, flags=flags, window=500, options=options)
    whole = bytes(sender.ip(0) / transport / Raw(data))
    frame = with_partial_checksum(whole, TCP4 if sender.version == 4 else TCP6, size)
    assert packets.cut(frame) == sender.segments(transport, data, size)
    # The same without an offload is one packet.
    assert packets.cut(with_partial_checksum(whole)) == [whole]


@several(50)
@given(sender=senders, data=payloads, size=st.integers(50, 9000))
def test_udp_is_cut_as_scapy_would(packets: Packets, sender: Sender, data: bytes, size: int) -> None:
    transport = UDP(sport=1234, dport=53)
    whole = bytes(sender.ip(0) / transport / Raw(data))
    assert packets.cut(with_partial_checksum(whole, UDP_L4, size)) == sender.segments(transport, data, size)
    assert packets.cut(with_partial_checksum(whole)) == [whole]


def uncut(frame: Frame) -> list[bytes]:
    """What the kernel makes of a frame that is written to a TUN device, as IP packets."""
    read = parsed(frame.packet)
    transport = read.payload
    data = bytes(transport.payload)
    if frame.flags & NEEDS_CHECKSUM:
        start = header_length(frame.packet)
        assert frame.start == start
        at = start + frame.offset
        assert frame.packet[at : at + 2] == pseudo(frame.packet, len(frame.packet) - start).to_bytes(2, "big")
    else:
        assert frame.gso == 0
        return [frame.packet]
    transport.remove_payload()
    for name in ("chksum", "len"):
        if name in transport.fields:
            transport.delfieldval(name)
    sender = Sender(
        read.version,
        read.tos if read.version == 4 else read.tc,
        frame.packet[8 if read.version == 4 else 7],
        0,
    )
    if not frame.gso:
        return sender.segments(transport, data, max(len(data), 1))
    assert len(data) > frame.size
    assert frame.gso == (UDP_L4 if isinstance(transport, UDP) else TCP4 if read.version == 4 else TCP6)
    assert frame.header == len(frame.packet) - len(data)
    assert len(frame.packet) <= MOST + (0 if read.version == 4 else 40)
    return sender.segments(transport, data, frame.size)


def flow_of(packet: bytes) -> tuple[object, ...]:
    start = header_length(packet)
    return packet[0] >> 4, packet[start : start + 4]


@dataclass(frozen=True)
class Burst:
    """Data of one flow in segments of equal size but for the last."""

    flow: int
    count: int
    size: int
    last: int
    flags: int
    odd: int  # a segment that is not like the others, and how


bursts = st.builds(
    Burst,
    st.integers(0, 90),
    st.integers(1, 20),
    st.integers(1, 1400),
    st.integers(0, 1400),
    st.sampled_from([0x10, 0x18, 0x11, 0x14, 0x50]),
    st.integers(0, 20),
)


def sent_by(all_bursts: list[Burst], mix: int) -> list[bytes]:
    """Packets of bursts, of which each flow's are in order; flows are mixed."""
    waiting: dict[int, list[bytes]] = defaultdict(list)
    sequences: dict[int, int] = defaultdict(lambda: 2**32 - 3000)
    for burst in all_bursts:
        for index in range(burst.count):
            length = min(burst.last, burst.size) if index + 1 == burst.count else burst.size
            ttl, ack = 64, 1
            if index == burst.odd:
                ttl = 63
            if index + 3 == burst.odd:
                ack = 2
            ip = ip_of(4 if burst.flow % 2 else 6, ttl=ttl, id=0)
            data = random.Random(index * 91 + burst.flow).randbytes(length)
            if burst.flow % 5 == 0:
                layer: Packet = UDP(sport=burst.flow, dport=9)
            else:
                flags = burst.flags if index + 1 == burst.count else 0x10
                layer = TCP(
                    sport=burst.flow, dport=9, seq=sequences[burst.flow] % 2**32, ack=ack, flags=flags
                )
            sequences[burst.flow] += length
            waiting[burst.flow].append(bytes(ip / layer / Raw(data)))
    mixed, chosen = [], random.Random(mix)
    while waiting:
        flow = chosen.choice(list(waiting))
        for _ in range(chosen.choice([1, 1, 8])):
            mixed += waiting[flow][:1]
            del waiting[flow][:1]
        if not waiting[flow]:
            del waiting[flow]
    return mixed


@several(40)
@given(all_bursts=st.lists(bursts, min_size=1, max_size=4), mix=st.integers(0, 1000), udp=st.booleans())
def test_what_is_merged_and_cut_again_is_the_same(
    packets: Packets, all_bursts: list[Burst], mix: int, udp: bool
) -> None:
    sent = sent_by(all_bursts, mix)
    frames = packets.receive(sent, offloads=3 if udp else MERGE_TCP)
    before: dict[object, list[bytes]] = defaultdict(list)
    after: dict[object, list[bytes]] = defaultdict(list)
    for packet in sent:
        before[flow_of(packet)].append(packet)
    for frame in frames:
        # The peer's segmentation has IDs that count; ours are told by the outer header alone: 0.
        for packet in uncut(frame):
            read = parsed(packet)
            if read.version == 4:
                read.id = 0
            after[flow_of(packet)].append(checksums_made_anew(bytes(read)))
    assert after == before
    assert udp or all(frame.gso != UDP_L4 for frame in frames)


@several(15)
@given(
    version=st.sampled_from([4, 6]),
    streams=st.sampled_from([1, 2, 30, 64]),
    count=st.integers(2, 5),
    size=st.integers(1, 1400),
    protocol=st.sampled_from([TCP, UDP]),
)
def test_flows_in_turns_become_one_packet_each(
    packets: Packets, version: int, streams: int, count: int, size: int, protocol: type[Packet]
) -> None:
    sent = []
    for index in range(count):
        for stream in range(streams):
            layer = protocol(sport=stream + 1, dport=9)
            if protocol is TCP:
                layer.seq, layer.flags = index * size, "A"
            sent.append(bytes(ip_of(version, id=0) / layer / Raw(bytes(size))))
    frames = packets.receive(sent)
    assert len(frames) == streams
    assert all(frame.size == size for frame in frames)


@several(60)
@given(
    version=st.sampled_from([4, 6]),
    data=st.binary(min_size=1, max_size=300),
    protocol=st.sampled_from([TCP, UDP]),
    other=st.integers(1, 254),
    anew=st.booleans(),
)
def test_checksum_behind_address_translation(
    packets: Packets, version: int, data: bytes, protocol: type[Packet], other: int, anew: bool
) -> None:
    sent = bytearray(bytes(ip_of(version, id=0) / protocol(sport=1, dport=2) / Raw(data)))
    sent[(12 if version == 4 else 8) + 3] ^= other  # the checksum is of another source
    (frame,) = packets.receive([bytes(sent)], anew=anew)
    (packet,) = uncut(frame)
    assert (packet == checksums_made_anew(packet)) is anew


@st.composite
def transported(draw: st.DrawFn) -> tuple[int, Packet]:
    version = draw(st.sampled_from([4, 6]))
    echo = ICMP(id=1, seq=2) if version == 4 else ICMPv6EchoRequest(id=1, seq=2)
    layer = draw(st.sampled_from([TCP(sport=1, dport=2), UDP(sport=1, dport=2), echo]))
    return version, ip_of(version, id=0) / layer / Raw(draw(st.binary(max_size=3000)))


@several(60)
@given(made=transported(), corrupt=st.integers(0, 10_000))
def test_wrong_checksums_reach_the_kernel_as_they_are(
    packets: Packets, made: tuple[int, Packet], corrupt: int
) -> None:
    _, packet = made
    raw = bytearray(bytes(packet))
    start = header_length(raw)
    raw[start + 16 + corrupt % max(len(raw) - start - 16, 1) if len(raw) > start + 16 else start + 4] ^= 1
    if isinstance(packet.payload, UDP) and len(raw) <= start + 16:
        return  # that would be its length
    (frame,) = packets.receive([bytes(raw)])
    assert frame.packet == bytes(raw)
    assert (frame.flags, frame.gso) == (0, 0)


# Fragments.


def fragments_of(packet: Packet, size: int, ident: int) -> list[bytes]:
    if packet.version == 4:
        packet = packet.copy()
        packet.flags, packet.id = 0, ident % 65536
        return [bytes(part) for part in fragment(packet, size)]
    whole = packet.copy()
    payload = whole.payload
    whole.remove_payload()
    parts = fragment6(whole / IPv6ExtHdrFragment(id=ident) / payload, size + 48)
    return [bytes(part) for part in parts]


def sent_whole(packet: Packet, ident: int) -> bytes:
    packet = packet.copy()
    if packet.version == 4:
        packet.flags, packet.id = 0, ident % 65536
    return bytes(packet)


@several(80)
@given(
    made=st.lists(
        st.tuples(st.sampled_from([4, 6]), st.integers(1300, 30_000), st.integers(1280, 4000)),
        min_size=1,
        max_size=6,
    ),
    order=st.randoms(use_true_random=False),
    doubled=st.booleans(),
)
def test_fragments_in_any_order(
    packets: Packets, made: list[tuple[int, int, int]], order: random.Random, doubled: bool
) -> None:
    given_in: list[tuple[int, bytes]] = []
    expected = []
    for ident, (version, length, size) in enumerate(made):
        packet = ip_of(version) / UDP(sport=1, dport=2) / Raw(random.Random(ident).randbytes(length))
        parts = fragments_of(packet, size, ident)
        if len(parts) == 1:
            continue
        expected.append(sent_whole(packet, ident))
        given_in += [(0, part) for part in parts]
    order.shuffle(given_in)
    if doubled:
        given_in = [part for part in given_in for _ in range(2)][:-1]
    done, lost = packets.reassemble(given_in)
    found = sorted(packet for _, packet in done)
    assert found == sorted(expected)
    assert not lost or doubled


@dataclass
class Datagram:
    """A datagram that is put together, in the plainest way: a set of what is there, byte by byte."""

    there: dict[int, int]
    until: int
    total: int | None = None
    dead: bool = False
    first: bytes | None = None


def model(pieces: list[tuple[int, int, bytes, bool, int]], seconds: int = 30) -> list[tuple[int, bytes]]:
    """Datagrams of (ID, offset, data, more, time): which piece completed each, and its data."""
    kept: dict[int, Datagram] = {}
    done = []
    for number, (ident, offset, data, more, now) in enumerate(pieces):
        for known in [known for known, each in kept.items() if now >= each.until]:
            del kept[known]
        if not data or (more and len(data) % 8) or offset + len(data) > MOST - 20:
            continue
        each = kept.setdefault(ident, Datagram({}, now + seconds * 1000))
        end = offset + len(data)
        if each.dead:
            continue
        wrong = each.total is not None and (end > each.total or (not more and end != each.total))
        wrong |= not more and any(place >= end for place in each.there)
        # A unit of eight bytes is there or not, as that is what can be told: an end within one is the end.
        places = range(offset, (end + 7) // 8 * 8)
        overlap = [place for place in places if place // 8 * 8 in each.there]
        if not wrong and len(overlap) == len(places):
            if all(each.there.get(offset + i) == byte for i, byte in enumerate(data)):
                continue
            wrong = True
        if wrong or overlap:
            each.dead = True
            each.there = {}
            continue
        each.there.update({offset + i: byte for i, byte in enumerate(data)})
        if not more:
            each.total = end
        if each.total is not None and len(each.there) == each.total:
            done.append((number, bytes(each.there[place] for place in range(each.total))))
            del kept[ident]
    return done


@several(200)
@given(
    pieces=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 5).map(lambda unit: unit * 8),
            st.tuples(st.integers(0, 26), st.sampled_from([b"a", b"a", b"a", b"b"])).map(
                lambda two: two[1] * two[0]
            ),
            st.booleans(),
            st.integers(0, 12_000),
        ),
        max_size=40,
    )
)
def test_reassembly_is_as_the_model(
    packets: Packets, pieces: list[tuple[int, int, bytes, bool, int]]
) -> None:
    now, raw, timed = 0, [], []
    for ident, offset, data, more, later in pieces:
        if not offset and not more:
            more, data = True, data[: len(data) // 8 * 8]  # a fragment it is to be
        now += later
        timed.append((ident, offset, data, more, now))
        header = IP(
            src=SOURCE[4], dst=DESTINATION[4], id=ident, flags="MF" if more else 0, frag=offset // 8, proto=17
        )
        raw.append((now, bytes(header / Raw(data))))
    done, _ = packets.reassemble(raw)
    expected = [(number, data) for number, data in model(timed) if len(data) >= 8]
    assert [(number, packet[20:]) for number, packet in done] == expected


# What is refused, and what is said.


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (IP(src=SOURCE[4], dst=DESTINATION[4], options=[IPOption_NOP()] * 4) / UDP(), "options"),
        (IP(src=SOURCE[4], dst=DESTINATION[4], options=[IPOption_RR()]) / UDP(), "options"),
        (IP(src=SOURCE[4], dst="224.0.0.251") / UDP(), "address"),
        (IP(src=SOURCE[4], dst="255.255.255.255") / UDP(), "address"),
        (IP(src="0.0.0.0", dst=DESTINATION[4]) / UDP(), "address"),
        (IP(src=SOURCE[4], dst="127.0.0.1") / UDP(), "address"),
        (IP(src=SOURCE[4], dst=DESTINATION[4]) / IP() / UDP(), "protocol"),
        (IP(src=SOURCE[4], dst=DESTINATION[4], proto=50) / Raw(bytes(40)), "protocol"),
        (IPv6(src=SOURCE[6], dst=DESTINATION[6]) / IPv6ExtHdrHopByHop() / UDP(), "options"),
        (
            IPv6(src=SOURCE[6], dst=DESTINATION[6])
            / IPv6ExtHdrRouting(addresses=["2001:db8::9"], segleft=1)
            / UDP(),
            "routing",
        ),
        (
            IPv6(src=SOURCE[6], dst=DESTINATION[6])
            / IPv6ExtHdrDestOpt()
            / IPv6ExtHdrRouting(addresses=["2001:db8::9"])
            / UDP(),
            "routing",
        ),
        (IPv6(src=SOURCE[6], dst="ff02::1") / UDP(), "address"),
        (IPv6(src="::", dst=DESTINATION[6]) / UDP(), "address"),
        (IPv6(src="::ffff:192.0.2.1", dst=DESTINATION[6]) / UDP(), "address"),
        (IPv6(src=SOURCE[6], dst=DESTINATION[6], nh=59), "protocol"),
    ],
    ids=str,
)
def test_not_carried(packets: Packets, packet: Packet, reason: str) -> None:
    with pytest.raises(RefusedError, match=f"^{reason}$"):
        packets.cut(Frame(bytes(packet)))


def test_destination_options_are_carried_and_neighbours_are_not(packets: Packets) -> None:
    whole = (
        IPv6(src=SOURCE[6], dst=DESTINATION[6], fl=0) / IPv6ExtHdrDestOpt(options=[PadN()]) / UDP() / b"data"
    )
    assert packets.cut(Frame(bytes(whole))) == [bytes(whole)]
    (frame,) = packets.receive([bytes(whole)])
    assert frame.packet == bytes(whole)
    with pytest.raises(RefusedError, match="protocol"):
        packets.receive([bytes(IPv6(src=SOURCE[6], dst=DESTINATION[6]) / ICMPv6ND_NS(tgt=SOURCE[6]))])


@several(80)
@given(made=transported(), mtu=st.integers(576, 3000))
def test_too_big_is_told_as_scapy_reads_it(packets: Packets, made: tuple[int, Packet], mtu: int) -> None:
    version, packet = made
    raw = bytes(packet)
    said = packets.too_big(Frame(raw), mtu)
    if len(raw) <= mtu:
        assert said is None
        return
    assert said is not None
    assert replace(said, packet=b"") == Frame(b"")
    answer = parsed(said.packet)
    assert (answer.src, answer.dst) == (DESTINATION[version], SOURCE[version])
    assert checksums_made_anew(said.packet) == said.packet
    if version == 4:
        assert (answer[ICMP].type, answer[ICMP].code, answer[ICMP].nexthopmtu) == (3, 4, mtu)
        assert said.packet[28:] == raw[:548]
    else:
        assert answer[ICMPv6PacketTooBig].mtu == mtu
        assert said.packet[48:] == raw[:1232]
    # About what was said nothing is said.
    assert packets.too_big(said, 100) is None
    assert socket.inet_pton(socket.AF_INET if version == 4 else socket.AF_INET6, answer.dst)
