"""Reading ACQUIREs."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsasec.keys.acquire import Acquire, parse_acquires

ACQUIRE = 0x17


def pack(text: str) -> bytes:
    return ip_address(text).packed.ljust(16, b"\0")


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body + bytes(-len(body) % 4)


def template(reqid: int, family: int = socket.AF_INET) -> bytes:
    return bytes(20) + b"\x32" + bytes(3) + struct.pack("=HH16sI4x12x", family, 0, bytes(16), reqid)


def acquire(source: str, destination: str, *templates: bytes, device: int = 0) -> bytes:
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    selector = (
        pack(destination) + pack(source) + bytes(8) + struct.pack("=HBBB3xiI", family, 32, 32, 6, device, 0)
    )
    body = pack(destination) + bytes(4) + b"\x32" + bytes(3) + pack(source) + selector + bytes(168 + 16)
    assert len(body) == 280
    data = b"".join(templates)
    return message(ACQUIRE, body + struct.pack("=HH", 4 + len(data), 5) + data)


@pytest.mark.parametrize(
    ("source", "destination"),
    [("10.9.0.1", "10.9.0.2"), ("fd00:9::1", "fd00:9::2"), ("fe80::1", "fd00:9::2")],
)
def test_an_acquire_is_read(source, destination):
    (found,) = parse_acquires(acquire(source, destination, template(22273), device=3))
    assert found == Acquire(22273, ip_address(source), ip_address(destination))


def test_link_local_destinations_have_their_scope():
    (found,) = parse_acquires(acquire("fe80::1", "fe80::2", template(5), device=7))
    assert found.destination == ip_address("fe80::2%7")


def test_a_source_may_be_missing_but_no_destination():
    (found,) = parse_acquires(acquire("0.0.0.0", "10.9.0.2", template(5)))
    assert found.source is None
    assert parse_acquires(acquire("10.9.0.1", "0.0.0.0", template(5))) == []


def test_several_templates_several_messages_and_others():
    one = acquire("10.9.0.1", "10.9.0.2", template(5), template(6))
    other = message(0x10, bytes(300))
    found = parse_acquires(one + other + acquire("10.9.0.1", "10.9.0.3", template(7)) + one[:200])
    assert [found.reqid for found in found] == [5, 6, 7]


@given(st.binary(max_size=600))
def test_any_bytes_can_be_read(data):
    assert isinstance(parse_acquires(data), list)


@given(st.binary(min_size=280, max_size=600))
def test_any_body_can_be_read(body):
    assert isinstance(parse_acquires(message(ACQUIRE, body)), list)


@given(st.binary(max_size=300))
def test_any_attributes_can_be_read(data):
    assert isinstance(parse_acquires(acquire("10.9.0.1", "10.9.0.2", data)), list)
