"""Packets of an attacker, and of a peer that has the keys and lost its mind: none reaches the host."""

from __future__ import annotations

import errno
import random
import secrets
import socket
import struct

import pytest
from esp_packets import (
    ACK,
    NO_NEXT_HEADER,
    SYN,
    TAG_BYTES,
    checksum,
    echo_request,
    ip_packet,
    tcp,
    transport_checksum,
    udp,
)
from peer import GOOD, PORT, wait_until

pytestmark = pytest.mark.linux

HEAD = 16
FORGED = 10_000


def test_cut_at_each_length(peer):
    packet = peer.seal(b"x" * 100)
    count = peer.put_in_batches(packet[:length] for length in range(1, len(packet)))
    # The shortest are keepalives or no ESP at all.
    peer.wait_refused(count, "malformed", "forged")
    assert all(GOOD in each for each in peer.delivered())


@pytest.mark.parametrize("chacha", [False, True], ids=["aes", "chacha"])
def test_each_bit_is_another(make_peer, chacha):
    peer = make_peer(chacha=chacha)
    packet = peer.inward.seal(1000, peer.datagram(b"x" * 20), socket.IPPROTO_UDP)
    changed = [
        packet[:at] + bytes([packet[at] ^ 1 << bit]) + packet[at + 1 :]
        for at in range(len(packet))
        for bit in range(8)
    ]
    assert peer.put_in_batches(changed) == len(changed)
    # Some have a number that is behind the window by then, some the SPI of nobody.
    peer.wait_refused(len(changed), "unknown_spi", "replayed", "forged")
    assert peer.counted()["unknown_spi"] == 32
    assert peer.counted()["forged"] > len(changed) - 32 - 32
    assert all(GOOD in each for each in peer.delivered())
    peer.put(packet)
    assert peer.app.recv(1000) == b"x" * 20


def test_duplicates(peer):
    packets = [peer.seal(struct.pack(">I", number)) for number in range(50)]
    for packet in packets:
        for _ in range(3):
            peer.put(packet)
    assert [struct.unpack(">I", peer.app.recv(100))[0] for _ in packets] == list(range(50))
    peer.wait_counted(replayed=100)
    for packet in packets:
        peer.put(packet)
    peer.good()
    peer.wait_counted(replayed=150)


def test_reordered(make_peer):
    """Within the window all, behind it none, none twice (RFC 4303 3.4.3)."""
    peer = make_peer(window=64, esn=False)
    order = list(range(1, 65))
    random.Random(7).shuffle(order)
    for number in order:
        peer.put(peer.seal(struct.pack(">I", number), number))
    assert [struct.unpack(">I", peer.app.recv(100))[0] for _ in order] == order
    peer.put(peer.seal(b"far", 1000))
    assert peer.app.recv(100) == b"far"
    for number in (1, 900, 936, 1000):  # 1000 - 64: just behind
        peer.put(peer.seal(b"late", number))
    for number in (937, 999):
        peer.put(peer.seal(b"in time", number))
        assert peer.app.recv(100) == b"in time"
    peer.wait_counted(replayed=4)


@pytest.mark.parametrize("esn", [True, False], ids=["esn", "32bit"])
def test_forged_in_bulk(make_peer, esn):
    """They do not keep the right ones from coming through, nor move the window."""
    peer = make_peer(esn=esn)
    forger = peer.inward.with_key(bytes(36))
    rng = random.Random(11)

    def forged():
        for _ in range(FORGED):
            number = rng.choice((peer.sequence + 1, peer.sequence + 5000, rng.randrange(1 << 30, 1 << 31)))
            yield forger.seal(number, secrets.token_bytes(rng.randrange(200)), socket.IPPROTO_UDP)

    assert peer.put_in_batches(forged()) == FORGED
    peer.wait_counted(forged=FORGED)
    assert peer.counted()["received_packets"] == FORGED // 60 + 1
    assert len(peer.delivered()) == FORGED // 60 + 1


def test_unknown_spis_in_bulk(peer):
    rng = random.Random(13)

    def strangers():
        for _ in range(FORGED):
            spi = rng.randrange(0x2000, 1 << 32)
            yield struct.pack(">II", spi, 1) + secrets.token_bytes(rng.randrange(8, 30) * 4)

    assert peer.put_in_batches(strangers()) == FORGED
    peer.wait_counted(unknown_spi=FORGED)


def test_what_is_no_esp(peer):
    """Keepalives and IKE are none of the engine's, and draw no complaint."""
    packets = [b"\xff", bytes(4) + b"IKE" * 20, bytes(4)] * 200
    peer.put_in_batches(packets)
    peer.wait_counted()
    wait_until(
        lambda: "wsasec_engine_not_ours_total 600\n" in peer.engine.control.metrics(),
        peer.engine.control.metrics,
    )


def test_large_datagrams(peer):
    """As large as UDP has them: garbage is refused, what is right comes through whole."""
    data = secrets.token_bytes(60_000)
    packet = peer.seal(data)
    for _ in range(5):
        peer.put(struct.pack(">II", peer.inward.spi, 7777) + secrets.token_bytes(64_000))
    peer.put(packet)
    assert peer.app.recv(1 << 17) == data
    peer.wait_counted(forged=5)


def _third_host(family):
    return ("192.0.2.77", "192.0.2.78") if family == socket.AF_INET else ("2001:db8::77", "2001:db8::78")


def icmp_error(peer, kind, quote):
    """Return an ICMP error of the peer's; where it is "unreachable", it is the port."""
    code = {(socket.AF_INET, 3): 3, (socket.AF_INET6, 1): 4}.get((peer.family, kind), 0)
    message = struct.pack(">BBHI", kind, code, 0, 0) + quote
    if peer.family == socket.AF_INET:
        value = checksum(message)
    else:
        value = transport_checksum(peer.here, peer.there, socket.IPPROTO_ICMPV6, message)
    return message[:2] + struct.pack(">H", value) + message[4:]


def hostile_payloads(peer):  # noqa: C901
    """Yield name, next header and payload of what a peer has no business to send."""
    v4 = peer.family == socket.AF_INET
    here, there = peer.here, peer.there
    own = (4 if v4 else 41), (41 if v4 else 4)
    good = peer.datagram(b"evil")
    segment = tcp((here, 5000), (there, PORT), 1, 1, ACK, b"evil")
    icmp = socket.IPPROTO_ICMP if v4 else socket.IPPROTO_ICMPV6
    other_icmp = socket.IPPROTO_ICMPV6 if v4 else socket.IPPROTO_ICMP
    # Tunnels: the inner packet has addresses of its own.
    outside = _third_host(peer.family)
    for name, ends in (
        ("third host", outside),
        ("to own address", (there, there)),
        ("from loopback", ("127.0.0.1", there) if v4 else ("::1", there)),
        ("to multicast", (here, "224.0.0.1") if v4 else (here, "ff02::1")),
        ("right ends", (here, there)),
    ):
        packet = ip_packet(*ends, socket.IPPROTO_UDP, good)
        yield f"tunnel, {name}", own[0], packet
        yield f"tunnel as the other version, {name}", own[1], packet
    yield (
        "tunnel, options",
        own[0],
        ip_packet(here, there, 17, good, options=b"\x83\x03\x10\x00") if v4 else good,
    )
    # Lengths.
    for said in (0, 7, len(good) + 1, 0xFFFF):
        yield f"UDP says {said}", 17, good[:4] + struct.pack(">H", said) + good[6:]
    for length in range(8):
        yield f"UDP of {length}", 17, good[:length]
    for length in range(20):
        yield f"TCP of {length}", 6, segment[:length]
    for words in (0, 4, 7, 15):
        yield f"TCP with {words} words", 6, segment[:12] + bytes([words << 4]) + segment[13:]
    for length in range(4):
        yield f"ICMP of {length}", icmp, bytes(length)
    # Protocols that are not carried, or change what is behind them.
    for protocol in (2, 3, 46, 47, 50, 51, 89, 94, 103, 108, 112, 132, 135, 139, 140, 253, 255, other_icmp):
        yield f"protocol {protocol}", protocol, good
    for protocol in (0, 43, 44):  # hop-by-hop, routing, fragment
        yield f"header {protocol}", protocol, struct.pack(">BBH4x", 17, 0, 0) + good
    yield "fragment, more", 44, struct.pack(">BBHI", 17, 0, 1, 7) + good
    yield "routing header type 0", 43, struct.pack(">BBBBI", 17, 2, 0, 1, 0) + bytes(16) + good
    yield "home address", 60, struct.pack(">BBBB", 17, 2, 201, 16) + bytes(16) + bytes(4) + good
    yield "options that do not fit", 60, struct.pack(">BB", 17, 200) + bytes(6) + good
    yield "options, cut", 60, b"\x11"
    # What tells of routes and neighbours.
    if v4:
        yield "redirect", icmp, struct.pack(">BBH4s", 5, 1, 0, bytes(4)) + ip_packet(here, there, 17, good)
    else:
        for kind in range(133, 138):
            yield f"neighbour discovery {kind}", icmp, struct.pack(">BBHI", kind, 0, 0, 0) + bytes(32)
    # Errors about what this host never sent to that peer (RFC 4301 6).
    sent = udp((there, PORT), (here, 5000), b"sent")
    fits = ip_packet(there, here, 17, sent)
    for kind in (3, 4, 11, 12) if v4 else (1, 2, 3, 4, 100):
        for name, quote in (
            ("to a third host", ip_packet(there, outside[0], 17, sent)),
            ("of a third host", ip_packet(outside[0], here, 17, sent)),
            ("of the peer itself", ip_packet(here, there, 17, sent)),
            ("of the other version", bytes([fits[0] ^ 0x20]) + fits[1:]),
            ("that is cut", fits[: 19 if v4 else 39]),
            ("of nothing", b""),
        ):
            yield f"ICMP error {kind} with a quote {name}", icmp, icmp_error(peer, kind, quote)


def test_inner_packets_that_are_not_allowed(peer):
    """Authenticated, and refused: the counter of the association says so, too."""
    count = 0
    for name, next_header, payload in hostile_payloads(peer):
        peer.sequence += 1
        peer.put(peer.inward.seal(peer.sequence, payload, next_header))
        count += 1
        peer.good()
        assert peer.counted()["refused"] == count, name
        assert all(GOOD in each for each in peer.delivered()), name
    state = next(each for each in peer.engine.control.sas() if each.name.spi == peer.inward.spi)
    assert state.refused == count
    assert (state.forged, state.replayed) == (0, 0)


def test_an_error_about_what_was_sent_is_heard(peer):
    """By the socket that sent it, and by no other one."""
    icmp, kind = (socket.IPPROTO_ICMP, 3) if peer.family == socket.AF_INET else (socket.IPPROTO_ICMPV6, 1)
    with peer.engine.socket(socket.SOCK_DGRAM, peer.family, PORT + 1) as sock:
        sock.connect((peer.here, 5000))
        sent = udp((peer.there, PORT + 1), (peer.here, 5000), b"sent")
        outside = _third_host(peer.family)[0]
        for target in (outside, peer.here):
            peer.sequence += 1
            quote = ip_packet(peer.there, target, socket.IPPROTO_UDP, sent)
            peer.put(peer.inward.seal(peer.sequence, icmp_error(peer, kind, quote), icmp))
            peer.good()
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            assert error == (errno.ECONNREFUSED if target == peer.here else 0)
    peer.wait_counted(refused=1)


def test_trailers_that_do_not_fit(peer):
    """Authenticated, and malformed: padding longer than the packet, or not 1, 2, 3 (RFC 4303 2.4)."""
    count = 0
    for plain in (
        b"\x00\x00\xff\x11",
        b"\x00\x00\x03\x11",
        bytes(98) + b"\xff\x11",
        peer.datagram(b"evil") + b"\x05\x05\x02\x11"[-(-len(peer.datagram(b"evil")) % 4 or 4) :],
    ):
        if len(plain) % 4:
            continue
        peer.sequence += 1
        peer.put(peer.inward.seal_bytes(peer.sequence, plain))
        count += 1
        peer.good()
        counted = peer.counted()
        assert counted["malformed"] + counted["refused"] == count, plain
    assert count >= 3
    assert all(GOOD in each for each in peer.delivered())


def test_dummy_packets(peer):
    """RFC 4303 2.6: thrown away without a word."""
    for length in (0, 2, 50, 1000):
        peer.sequence += 1
        payload = bytes(length)
        peer.put(peer.inward.seal(peer.sequence, payload, NO_NEXT_HEADER))
        peer.good()
    peer.wait_counted()
    assert all(GOOD in each for each in peer.delivered())


def test_padding_behind_a_datagram(peer):
    """RFC 4303 2.7: what hides how long a datagram is, is cut off."""
    peer.sequence += 1
    peer.put(peer.inward.seal(peer.sequence, peer.datagram(b"short") + bytes(200), socket.IPPROTO_UDP))
    assert peer.app.recv(1000) == b"short"
    assert peer.delivered()[-1].endswith(b"short")


def test_the_host_answers_in_esp_only(peer):
    """What the right packets draw from the host, an echo or a reset, goes nowhere but into the device."""
    protocol, ping = echo_request(peer.here, peer.there, 7, 7, b"ping")
    syn = tcp((peer.here, 5000), (peer.there, 9), 1, 0, SYN)
    for next_header, payload in ((protocol, ping), (socket.IPPROTO_TCP, syn)):
        peer.sequence += 1
        peer.put(peer.inward.seal(peer.sequence, payload, next_header))
    peer.good()
    peer.wait_counted()
    assert any(payload in packet for packet in peer.delivered() for payload in (ping[8:],))


def test_random_bytes(peer):
    """With the right SPI in front."""
    rng = random.Random(17)

    def garbage():
        for _ in range(3000):
            yield struct.pack(">I", peer.inward.spi) + rng.randbytes(rng.choice((0, 1, 12, 28, 31, 32, 500)))

    count = peer.put_in_batches(garbage())
    peer.wait_refused(count, "malformed", "forged", "replayed")


def test_random_payloads(peer):
    """Sealed with the right key: the host may take what is right, the engine lives."""
    rng = random.Random(19)
    for number in range(3000):
        peer.sequence += 1
        payload = rng.randbytes(rng.choice((0, 1, 2, 7, 8, 20, 40, 100, 1400)))
        packet = peer.inward.seal(
            peer.sequence, payload, rng.choice((0, 1, 4, 6, 17, 41, 43, 44, 50, 58, 60))
        )
        assert len(packet) >= HEAD + TAG_BYTES
        peer.put(packet)
        if number % 50 == 0:
            peer.good()
    peer.good()
    counted = peer.counted()
    assert counted["received_packets"] == peer.sequence
    assert counted["refused"] > 0
    assert (counted["malformed"], counted["forged"], counted["replayed"]) == (0, 0, 0)
