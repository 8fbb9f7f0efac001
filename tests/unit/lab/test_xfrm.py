"""The listing of SAs, and that keys stay hidden."""

from __future__ import annotations

import pickle
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsasec.kernel.netlink import Message
from wsasec.lab.keys import Key, draw_spi
from wsasec.lab.xfrm import SA, parse_associations

NEWSA = 0x10


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body + bytes(-len(body) % 4)


def usersa(
    src: str, dst: str, family: int = socket.AF_INET, *, flags: int = 128, mode: int = 0, late: int = 0
) -> bytes:
    def pack(text: str) -> bytes:
        return socket.inet_pton(family, text).ljust(16, b"\0")

    selector = bytes(40) + struct.pack("=H14x", family)
    identity = pack(dst) + (0x1234).to_bytes(4, "big") + bytes([50, 0, 0, 0])
    counters = struct.pack("=4Q", 1000, 10, 1, 2)
    stats = struct.pack("=3I", late, 3, 4)
    tail = struct.pack("=IIHBBB7x", 9, 77, family, mode, 32, flags)
    body = selector + identity + pack(src) + bytes(64) + counters + stats + tail
    assert len(body) == 224
    return body


def test_an_sa_is_read_with_its_counters():
    body = usersa("10.9.0.1", "10.9.0.2")
    body += attribute(18, b"rfc4106(gcm(aes))".ljust(64, b"\0") + struct.pack("=II", 288, 128) + b"K" * 36)
    body += attribute(21, struct.pack("=II", 5, 255))
    body += attribute(29, struct.pack("=I", 0x57)) + attribute(30, struct.pack("=I", 0xFF))
    body += attribute(23, struct.pack("=6I", 32, 0, 0, 0, 0, 1024) + bytes(128))
    found = parse_associations(message(NEWSA, body))
    assert found == [
        SA(
            "10.9.0.1",
            "10.9.0.2",
            0x1234,
            "esp",
            "transport",
            77,
            bytes=1000,
            packets=10,
            mark=(5, 255),
            set_mark=(0x57, 0xFF),
            algorithm="rfc4106(gcm(aes))",
            esn=True,
            replay_window=1024,
            replayed=3,
            integrity_failed=4,
            encryption_bits=256,
            integrity_bits=128,
            added=1,
        )
    ]
    assert "KKK" not in repr(found)


def algorithm(name: bytes, *numbers: int) -> bytes:
    return name.ljust(64, b"\0") + struct.pack(f"={len(numbers)}I", *numbers) + b"K" * 40


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(18, b"rfc4543(gcm(aes))", 160, 128)], ("rfc4543(gcm(aes))", 0, "", 128)),
        ([(18, b"rfc7539esp(chacha20,poly1305)", 288, 128)], ("rfc7539esp(chacha20,poly1305)", 256, "", 128)),
        (
            [(1, b"hmac(sha1)", 160), (20, b"hmac(sha1)", 160, 96), (2, b"cbc(des3_ede)", 192)],
            ("cbc(des3_ede)", 192, "hmac(sha1)", 96),
        ),
        (
            [(20, b"hmac(sha256)", 256, 128), (2, b"ecb(cipher_null)", 0)],
            ("ecb(cipher_null)", 0, "hmac(sha256)", 128),
        ),
        ([(20, b"hmac(sha1)", 160, 96)], ("", 0, "hmac(sha1)", 96)),
        ([], ("", 0, "", 0)),
    ],
)
def test_algorithms_and_their_sizes(parts, expected):
    body = usersa("10.9.0.1", "10.9.0.2")
    for kind, name, *numbers in parts:
        body += attribute(kind, algorithm(name, *numbers))
    (found,) = parse_associations(message(NEWSA, body))
    assert (found.algorithm, found.encryption_bits, found.integrity, found.integrity_bits) == expected
    assert found.usable == bool(parts)


def test_ipv6_tunnel_and_small_windows():
    (found,) = parse_associations(
        message(NEWSA, usersa("fd00:9::1", "fd00:9::2", socket.AF_INET6, flags=0, mode=1))
    )
    assert (found.src, found.dst, found.mode, found.esn) == ("fd00:9::1", "fd00:9::2", "tunnel", False)
    assert found.replay_window == 32


def test_what_came_too_late_is_no_window():
    (found,) = parse_associations(message(NEWSA, usersa("10.9.0.1", "10.9.0.2", flags=0, late=5)))
    assert (found.replay_window, found.replayed) == (32, 8)


def test_several_messages_and_others_between():
    body = usersa("10.9.0.1", "10.9.0.2")
    data = message(NEWSA, body) + message(0x13, b"x" * 300) + message(NEWSA, body) + message(NEWSA, b"short")
    assert len(parse_associations(data)) == 2


@given(st.binary(max_size=600))
def test_any_bytes_are_a_listing(data):
    assert isinstance(parse_associations(data), list)


@given(st.binary(max_size=300))
def test_any_attributes_behind_an_sa(data):
    (found,) = parse_associations(message(NEWSA, usersa("10.9.0.1", "10.9.0.2") + data))
    assert found.spi == 0x1234


def test_keys_and_messages_hide_what_they_hold():
    key = Key(36)
    material = bytes(key.reveal())
    request = Message(material)
    for text in (repr(key), str(key), repr(request), f"{key}{request}"):
        assert material.hex() not in text
        assert repr(material)[2:-1] not in text
    with pytest.raises(TypeError):
        pickle.dumps(key)
    key.wipe()
    assert bytes(key.reveal()) == bytes(36)
    request.wipe()
    assert material not in bytes(request)


def test_keys_differ():
    assert len({bytes(Key(32).reveal()) for _ in range(100)}) == 100


def test_spis_are_not_reserved_ones():
    assert all(256 <= draw_spi() < 2**32 for _ in range(1000))
