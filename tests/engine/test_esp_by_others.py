"""ESP of the engine against what others make of it: `cryptography` with the RFCs by hand, and scapy.

Both ways: what one seals the other opens, whichever implementation the engine has, over keys, sequence
numbers and payloads of all kinds.
"""

from __future__ import annotations

import ctypes
import struct

import engine_library
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from engine_library import ALGORITHMS, FORGED, INBOUND, OK, OUTBOUND, REPLAYED, Key, Window
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Raw

pytestmark = pytest.mark.long

HALF = 1 << 32
KEY_LENGTHS = {"AES-128-GCM": 20, "AES-256-GCM": 36, "ChaCha20-Poly1305": 36}

spis = st.integers(256, HALF - 1)
lower = st.one_of(st.sampled_from([1, 2, HALF - 2, HALF - 1]), st.integers(1, HALF - 1))
wide = st.one_of(st.sampled_from([1, HALF - 1, HALF, HALF + 1, 2**64 - 1]), st.integers(1, 2**64 - 1))
payloads = st.one_of(
    st.binary(max_size=80), st.integers(0, 9000).map(lambda n: bytes(n)), st.binary(max_size=1500)
)
protocols = st.integers(0, 255).filter(lambda protocol: protocol != 59)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return engine_library.load(tmp_path_factory.mktemp("engine"))


def keys_of(algorithm: str) -> st.SearchStrategy[bytes]:
    length = KEY_LENGTHS[algorithm]
    return st.binary(min_size=length, max_size=length)


def sealed_by_hand(
    algorithm: str, key: bytes, spi: int, sequence: int, esn: bool, iv: bytes, payload: bytes, protocol: int
) -> bytes:
    """RFC 4303 section 2, RFC 4106 sections 3 to 5, RFC 7634 section 2."""
    padding = -(len(payload) + 2) % 4
    text = payload + bytes(range(1, padding + 1)) + bytes([padding, protocol])
    aad = struct.pack(">IQ", spi, sequence) if esn else struct.pack(">II", spi, sequence)
    cipher = (ChaCha20Poly1305 if algorithm == "ChaCha20-Poly1305" else AESGCM)(key[:-4])
    return struct.pack(">II", spi, sequence % HALF) + iv + cipher.encrypt(key[-4:] + iv, text, aad)


def opened_by_hand(algorithm: str, key: bytes, sequence: int, esn: bool, packet: bytes) -> tuple[bytes, int]:
    spi, low = struct.unpack(">II", packet[:8])
    assert low == sequence % HALF
    aad = struct.pack(">IQ", spi, sequence) if esn else struct.pack(">II", spi, sequence)
    cipher = (ChaCha20Poly1305 if algorithm == "ChaCha20-Poly1305" else AESGCM)(key[:-4])
    text = cipher.decrypt(key[-4:] + packet[8:16], packet[16:], aad)
    padding = text[-2]
    assert padding < 4
    assert text[-2 - padding : -2] == bytes(range(1, padding + 1))
    return text[: -2 - padding], text[-1]


def window_before(library: ctypes.CDLL, sequence: int) -> Window:
    """A window that a packet with this number may come to, if need be with extended numbers."""
    window = Window(library, 64)
    if sequence >= HALF:
        assert window.update(sequence - 1)
    return window


@pytest.mark.parametrize("esn", [False, True], ids=["short", "esn"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_opens_what_others_seal(library: ctypes.CDLL, algorithm: str, esn: bool) -> None:
    @settings(max_examples=100, deadline=None)
    @given(
        key=keys_of(algorithm),
        spi=spis,
        sequence=wide if esn else lower,
        iv=st.binary(min_size=8, max_size=8),
        payload=payloads,
        protocol=protocols,
    )
    def check(key: bytes, spi: int, sequence: int, iv: bytes, payload: bytes, protocol: int) -> None:
        packet = sealed_by_hand(algorithm, key, spi, sequence, esn, iv, payload, protocol)
        for implementation in engine_library.implementations(library):
            with Key(library, implementation, algorithm, INBOUND, key) as opens:
                window = window_before(library, sequence)
                opened = opens.open(window, esn, packet)
                assert (opened.result, opened.sequence) == (OK, sequence)
                assert (opened.payload, opened.next_header) == (payload, protocol)
                assert opens.open(window, esn, packet).result == REPLAYED

    check()


@pytest.mark.parametrize("esn", [False, True], ids=["short", "esn"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_others_open_what_it_seals(library: ctypes.CDLL, algorithm: str, esn: bool) -> None:
    @settings(max_examples=100, deadline=None)
    @given(
        key=keys_of(algorithm),
        spi=spis,
        sequence=wide if esn else lower,
        payload=payloads,
        protocol=protocols,
    )
    def check(key: bytes, spi: int, sequence: int, payload: bytes, protocol: int) -> None:
        packets = set()
        for implementation in engine_library.implementations(library):
            with Key(library, implementation, algorithm, OUTBOUND, key) as seals:
                packet = seals.seal(spi, sequence, esn, payload, protocol)
            packets.add(packet)
            assert packet[8:16] == sequence.to_bytes(8, "big")
            assert opened_by_hand(algorithm, key, sequence, esn, packet) == (payload, protocol)
        assert len(packets) == 1

    check()


@pytest.mark.parametrize("esn", [False, True], ids=["short", "esn"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_damaged_on_the_way(library: ctypes.CDLL, algorithm: str, esn: bool) -> None:
    @settings(max_examples=100, deadline=None)
    @given(key=keys_of(algorithm), payload=payloads, place=st.integers(0, 2**20), bit=st.integers(0, 7))
    @example(key=bytes(KEY_LENGTHS[algorithm]), payload=b"", place=0, bit=0)
    def check(key: bytes, payload: bytes, place: int, bit: int) -> None:
        whole = sealed_by_hand(algorithm, key, 256, 7, esn, bytes(8), payload, 17)
        packet = bytearray(whole)
        packet[place % len(packet)] ^= 1 << bit
        for implementation in engine_library.implementations(library):
            with Key(library, implementation, algorithm, INBOUND, key) as opens:
                window = Window(library, 64)
                opened = opens.open(window, esn, bytes(packet))
                assert opened.result == (REPLAYED if packet[4:8] == bytes(4) else FORGED)
                assert opened.payload is None
                assert window.top == 0
                assert opens.open(window, esn, whole).payload == payload
        with pytest.raises((InvalidTag, AssertionError)):
            opened_by_hand(algorithm, key, 7, esn, bytes(packet))

    check()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("esn", [False, True], ids=["short", "esn"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_with_scapy(library: ctypes.CDLL, algorithm: str, esn: bool, family: int) -> None:
    outer = (
        IP(src="192.0.2.1", dst="192.0.2.2") if family == 4 else IPv6(src="2001:db8::1", dst="2001:db8::2")
    )

    @settings(max_examples=30, deadline=None)
    @given(
        key=keys_of(algorithm),
        spi=spis,
        low=lower,
        high=st.integers(0, HALF - 1),
        data=st.binary(max_size=1400),
    )
    def check(key: bytes, spi: int, low: int, high: int, data: bytes) -> None:
        sequence = high * HALF + low if esn else low
        sa = SecurityAssociation(
            ESP,
            spi=spi,
            crypt_algo="CHACHA20-POLY1305" if algorithm == "ChaCha20-Poly1305" else "AES-GCM",
            crypt_key=key,
            esn_en=esn,
            esn=high,
        )
        inner = outer.__class__(bytes(outer / UDP(sport=1, dport=2) / Raw(data)))
        datagram = bytes(inner[UDP])
        theirs = bytes(sa.encrypt(inner, seq_num=low)[ESP])
        for implementation in engine_library.implementations(library):
            with (
                Key(library, implementation, algorithm, INBOUND, key) as opens,
                Key(library, implementation, algorithm, OUTBOUND, key) as seals,
            ):
                opened = opens.open(window_before(library, sequence), esn, theirs)
                assert (opened.result, opened.sequence) == (OK, sequence)
                assert (opened.payload, opened.next_header) == (datagram, 17)
                ours = seals.seal(spi, sequence, esn, datagram, 17)
                carried = outer.copy()
                if family == 4:
                    carried.proto = 50
                else:
                    carried.nh = 50
                back = sa.decrypt(outer.__class__(bytes(carried / Raw(ours))))
                assert bytes(back[UDP]) == datagram

    check()
