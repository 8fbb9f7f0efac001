"""The parser of frames: right on what is well formed, unshaken by what is not."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsasec.lab.packets import Kind, inner, parse

MACS = bytes(12)
FIN, SYN, RST, ACK = 1, 2, 4, 16


def ipv4(
    protocol: int, payload: bytes, *, fragment: int = 0, options: bytes = b"", total: int | None = None
) -> bytes:
    length = 20 + len(options) + len(payload) if total is None else total
    head = struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0, length, 0, fragment, 64, protocol, 0)
    ends = socket.inet_aton("10.9.0.1") + socket.inet_aton("10.9.0.2")
    return MACS + b"\x08\x00" + head + ends + options + payload


def ipv6(protocol: int, payload: bytes, *, hops: int = 64, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    head = struct.pack(">IHBB", 6 << 28, size, protocol, hops)
    return MACS + b"\x86\xdd" + head + bytes(32) + payload


def tcp(flags: int, data: bytes = b"", options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    return struct.pack(">HHIIBBHHH", 40000, 80, 1, 1, words << 4, flags, 1000, 0, 0) + options + data


def udp(source: int, target: int, data: bytes) -> bytes:
    return struct.pack(">HHHH", source, target, 8 + len(data), 0) + data


def ike(size: int = 40, version: int = 0x20) -> bytes:
    return bytes(16) + bytes([33, version, 34, 8]) + bytes(4) + struct.pack(">I", size) + bytes(size - 28)


TCP_STATES = [
    (SYN, b"", "SYN"),
    (SYN, b"fast open", "SYN"),
    (SYN | ACK, b"", "SYN-ACK"),
    (ACK, b"", "ACK"),
    (ACK, b"x", "DATA"),
    (FIN | ACK, b"", "FIN"),
    (FIN | ACK, b"x", "DATA"),
    (RST, b"", "RST"),
    (RST | ACK, b"", "RST"),
    (0, b"", "TCP"),
]


@pytest.mark.parametrize(("flags", "data", "state"), TCP_STATES)
@pytest.mark.parametrize("make", [ipv4, ipv6])
@pytest.mark.parametrize("options", [b"", bytes(12)])
def test_tcp_states(make, flags, data, state, options):
    assert parse(make(6, tcp(flags, data, options))) == Kind("clear", state)


def test_data_is_told_by_the_header_when_the_frame_was_cut():
    assert parse(ipv4(6, tcp(ACK), total=1500)).state == "DATA"
    assert parse(ipv6(6, tcp(ACK), length=1400)).state == "DATA"


def test_ethernet_padding_is_no_data():
    assert parse(ipv4(6, tcp(ACK), total=40) + bytes(6)).state == "ACK"


def test_large_segmentation_frames_without_a_length():
    assert parse(ipv4(6, tcp(ACK, b"x"), total=0)).state == "DATA"
    assert parse(ipv6(6, tcp(ACK, b"x"), length=0)).state == "DATA"


@pytest.mark.parametrize("offset", [0, 0x2000, 0x2000 | 185, 370])
def test_every_fragment_of_esp_is_esp(offset):
    assert parse(ipv4(50, bytes(64), fragment=offset)) == Kind("esp", "ESP")
    header = struct.pack(">BBHI", 50, 0, (offset & 0x1FFF) << 3 | 1, 7)
    assert parse(ipv6(44, header + bytes(64))) == Kind("esp", "ESP")


def test_later_fragments_of_clear_datagrams_are_clear():
    assert parse(ipv4(17, bytes(64), fragment=185)) == Kind("clear", "FRAGMENT")
    assert parse(ipv6(44, struct.pack(">BBHI", 17, 0, 185 << 3, 7) + bytes(64))) == Kind("clear", "FRAGMENT")


def test_first_fragments_of_clear_datagrams_are_what_they_carry():
    assert parse(ipv4(17, udp(1, 2, b"x"), fragment=0x2000)).state == "UDP"
    assert parse(ipv6(44, struct.pack(">BBHI", 17, 0, 1, 7) + udp(1, 2, b"x"))).state == "UDP"


@pytest.mark.parametrize("first", [0, 43, 60, 135, 139, 140])
def test_extension_headers_are_passed(first):
    assert (
        parse(ipv6(first, bytes([60, 1]) + bytes(14) + bytes([50, 0]) + bytes(6) + bytes(20))).group == "esp"
    )
    assert parse(ipv6(first, bytes([6, 0]) + bytes(6) + tcp(SYN))).state == "SYN"


@pytest.mark.parametrize("kind", [133, 134, 135, 136])
def test_neighbour_discovery_counts_only_with_its_hop_limit(kind):
    assert parse(ipv6(58, bytes([kind]) + bytes(23), hops=255)) == Kind("neighbour", "NDP")
    assert parse(ipv6(58, bytes([kind]) + bytes(23), hops=64)) == Kind("clear", "ICMPV6")


def test_a_redirect_is_clear_because_it_quotes():
    assert parse(ipv6(58, bytes([137]) + bytes(39), hops=255)) == Kind("clear", "ICMPV6")


@pytest.mark.parametrize("kind", [130, 131, 132, 143])
def test_mld_behind_its_hop_by_hop_option(kind):
    assert parse(ipv6(0, bytes([58, 0, 5, 2, 0, 0, 0, 0, kind]) + bytes(23), hops=1)) == Kind(
        "neighbour", "MLD"
    )


def test_housekeeping_and_the_rest():
    assert parse(MACS + b"\x08\x06" + bytes(28)) == Kind("neighbour", "ARP")
    assert parse(ipv4(2, bytes(8))) == Kind("neighbour", "IGMP")
    assert parse(ipv4(1, bytes(8))) == Kind("clear", "ICMP")
    assert parse(ipv6(58, bytes([1]) + bytes(40))) == Kind("clear", "ICMPV6")
    assert parse(ipv4(51, bytes(24))) == Kind("clear", "AH")
    assert parse(ipv4(132, bytes(24))) == Kind("clear", "OTHER")
    assert parse(MACS + b"\x88\xcc" + bytes(40)) == Kind("clear", "OTHER")


def test_ike_needs_its_header_not_only_its_port():
    assert parse(ipv4(17, udp(500, 500, ike()))) == Kind("ike", "IKE")
    assert parse(ipv4(17, udp(4500, 4500, bytes(4) + ike()))) == Kind("ike", "IKE")
    assert parse(ipv4(17, udp(500, 500, b"anything"))) == Kind("clear", "UDP")
    assert parse(ipv4(17, udp(500, 500, ike(version=0x30)))) == Kind("clear", "UDP")
    assert parse(ipv4(17, udp(500, 500, ike() + b"more"))) == Kind("clear", "UDP")
    assert parse(ipv4(17, udp(4500, 4500, ike()[16:]))) == Kind("clear", "UDP")


KINDS = st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x08\x06", b"\x81\x00"])


@given(st.binary(max_size=200))
@example(b"")
def test_any_bytes_have_a_kind(frame):
    for kind in (parse(frame), inner(frame)):
        assert kind.group in ("esp", "clear", "neighbour", "ike")
        assert kind.state


@given(KINDS, st.integers(0, 255), st.binary(max_size=200))
def test_any_bytes_behind_a_plausible_start_have_a_kind(kind, first, rest):
    frame = MACS + kind + bytes([first]) + rest
    assert parse(frame).state
    assert inner(frame).state


@given(st.sampled_from([ipv4, ipv6]), st.integers(0, 200))
def test_a_cut_frame_never_turns_into_esp(make, keep):
    assert parse(make(6, tcp(ACK, b"x" * 100))[:keep]).group == "clear"


def esp(protocol: int, payload: bytes, padding: int = 2) -> bytes:
    return bytes(8) + payload + bytes(padding) + bytes([padding, protocol]) + bytes(16)


@pytest.mark.parametrize(("flags", "data", "state"), TCP_STATES)
@pytest.mark.parametrize("make", [ipv4, ipv6])
def test_inner_reads_what_null_encryption_leaves_open(make, flags, data, state):
    for padding in (0, 1, 2, 3):
        assert inner(make(50, esp(6, tcp(flags, data), padding))).state == state


def test_inner_of_the_rest():
    assert inner(ipv4(50, esp(17, udp(1, 2, b"x")))).state == "UDP"
    assert inner(ipv4(50, esp(1, bytes(8)))).state == "ICMP"
    assert inner(ipv6(50, esp(58, bytes([1]) + bytes(8)))).state == "ICMPV6"
    assert inner(ipv4(50, bytes(100), fragment=0x2000)).state == "FRAGMENT"
    assert inner(ipv4(50, bytes(20))).state == "TRUNCATED"
    assert inner(ipv4(6, tcp(SYN))) == Kind("clear", "SYN")
