"""Messages of the control socket: what is packed is read the same, and any bytes are read or refused."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import pickle
import re
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsasec.engine import messages
from wsasec.engine.messages import (
    Acquire,
    Algorithm,
    Association,
    AssociationName,
    Direction,
    Expire,
    Limits,
    Lost,
    Mapping,
    MessageError,
    Secret,
    TransportKind,
    Type,
)

PROTOCOL = (Path(__file__).parents[3] / "src/engine/control_protocol.h").read_text()

u16 = st.integers(1, 0xFFFF)
u32 = st.integers(1, 0xFFFFFFFF)
u64 = st.integers(0, 2**64 - 1)
addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6)


@st.composite
def names(draw: st.DrawFn) -> AssociationName:
    version = draw(st.sampled_from([4, 6]))
    ends = (draw(st.ip_addresses(v=version)), draw(st.ip_addresses(v=version)))
    return AssociationName(*ends, draw(u32), draw(st.sampled_from(Direction)))


limits = st.builds(Limits, *(u64,) * 7)


@st.composite
def associations(draw: st.DrawFn) -> Association:
    algorithm = draw(st.sampled_from(Algorithm))
    key = Secret(draw(st.binary(min_size=algorithm.key_length, max_size=algorithm.key_length)))
    return Association(
        *(draw(names()), draw(u32), algorithm, key),
        ports=draw(st.none() | st.tuples(u16, u16)),
        esn=draw(st.booleans()),
        window=draw(st.integers(0, 0xFFFFFFFF)),
        limits=draw(limits),
    )


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("wse_header", messages.HEADER),
        ("wse_hello", messages._HELLO),
        ("wse_error", messages._ERROR),
        ("wse_device", messages._DEVICE),
        ("wse_transport", messages._TRANSPORT),
        ("wse_spi", messages._SPI),
        ("wse_sa_name", messages._NAME),
        ("wse_limits", messages._LIMITS),
        ("wse_sa_state", messages._STATE),
        ("wse_acquire", messages._ACQUIRE),
        ("wse_expire", messages._EXPIRE),
        ("wse_mapping", messages._MAPPING),
        ("wse_totals", messages._TOTALS),
    ],
)
def test_sizes_are_those_of_the_header(name: str, layout: struct.Struct) -> None:
    assert f"WSE_SIZE({name}, {layout.size});" in PROTOCOL


def test_the_size_of_an_association_is_that_of_the_header() -> None:
    assert f"WSE_SIZE(wse_sa, {messages._SA.size + messages._KEY.size});" in PROTOCOL


def numbers(enum: str) -> dict[str, int]:
    """Read an enum of the header, without its comments."""
    body = re.search(rf"enum {enum} \{{(.*?)\}};", PROTOCOL, re.DOTALL)
    assert body
    found, number = {}, 0
    for word in re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL).split(","):
        if name := word.strip():
            name, _, value = name.partition("=")
            number = int(value) if value else number + 1
            found[name.strip().removeprefix("WSE_")] = number
    return found


@pytest.mark.parametrize(
    ("enum", "ours"),
    [
        ("wse_type", Type),
        ("wse_direction", Direction),
        ("wse_algorithm", Algorithm),
        ("wse_transport_kind", TransportKind),
    ],
)
def test_numbers_are_those_of_the_header(enum: str, ours: type[Type]) -> None:
    assert numbers(enum) == {each.name: each.value for each in ours}


def test_limits_of_messages_are_those_of_the_header() -> None:
    assert f"WSE_VERSION = {messages.VERSION}," in PROTOCOL
    assert f"WSE_MESSAGE_MAX = {messages.MESSAGE_MAX}," in PROTOCOL
    assert f"WSE_DESCRIPTORS_MAX = {messages.DESCRIPTORS_MAX} " in PROTOCOL


@given(associations())
def test_an_association_has_its_key_at_its_place(association: Association) -> None:
    packed = messages.pack_association(association)
    assert len(packed) == 160
    length = association.algorithm.key_length
    assert bytes(packed[120 : 120 + length]) == bytes(association.key.reveal())
    assert not any(packed[120 + length :])
    assert packed[57] == length
    assert association.name.packed() == bytes(packed[:40])
    assert association.limits.packed() == bytes(packed[64:120])


@given(associations(), st.booleans(), u16, st.lists(u64, min_size=8, max_size=8))
def test_the_state_of_an_association_is_read(
    one: Association, expired: bool, path_mtu: int, counted: list[int]
) -> None:
    sa = messages.pack_association(one)
    # struct wse_sa and struct wse_sa_state are alike as far as the algorithm.
    own = struct.pack("=BH4x", expired, path_mtu)
    data = bytes(sa[:57]) + own + bytes(sa[64:120]) + struct.pack("=8Q", *counted)
    (state,) = messages.parse_states(data)
    assert (state.name, state.reqid, state.algorithm) == (one.name, one.reqid, one.algorithm)
    assert (state.ports, state.esn, state.window, state.limits) == (
        *(one.ports, one.esn, one.window, one.limits),
    )
    assert state.soft_expired is expired
    assert state.path_mtu == path_mtu
    assert [
        *(state.packets, state.bytes, state.sequence, state.replayed, state.forged, state.refused),
        *(state.age_seconds, state.idle_seconds),
    ] == counted
    assert messages.parse_states(data * 3) == [state] * 3


@given(names(), u32, addresses, u16)
def test_a_mapping_is_packed_and_read(
    name: AssociationName, reqid: int, address: messages.Address, port: int
) -> None:
    mapping = Mapping(name, reqid, address, port)
    if address.version == name.source.version:
        assert messages.parse_event(Type.EVENT_MAPPING, mapping.packed()) == mapping


@given(names(), u32, st.booleans())
def test_an_expiry_is_read(name: AssociationName, reqid: int, hard: bool) -> None:
    data = name.packed() + struct.pack("=IB3x", reqid, hard)
    assert messages.parse_event(Type.EVENT_EXPIRE, data) == Expire(name, reqid, hard)


@pytest.mark.parametrize("source", [None, ipaddress.ip_address("10.9.0.1")])
def test_an_acquire_is_read(source: ipaddress.IPv4Address | None) -> None:
    destination = ipaddress.ip_address("10.9.0.2")
    data = struct.pack(
        "=16s16sIHBBHHI",
        *(source.packed if source else b"", destination.packed, 7, socket.AF_INET, 6, 0, 1000, 443, 0),
    )
    assert messages.parse_event(Type.EVENT_ACQUIRE, data) == Acquire(source, destination, 7, 6, 1000, 443)


def test_lost_events_are_read() -> None:
    assert messages.parse_event(Type.EVENT_LOST, b"") == Lost()


@given(st.binary(max_size=400), st.integers(0, 0xFFFF))
def test_malformed_messages_are_refused(data: bytes, kind: int) -> None:
    for parse in (
        *(messages.parse_hello, messages.parse_error, messages.parse_spi),
        *(messages.parse_totals, messages.parse_states),
    ):
        try:
            parse(data)
        except MessageError:
            continue
    with contextlib.suppress(MessageError):
        messages.parse_event(kind, data)


@given(st.binary(min_size=184, max_size=184))
def test_states_of_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        (state,) = messages.parse_states(data)
    except MessageError:
        return
    assert state.name.packed()[:36] == data[:36]


@pytest.mark.parametrize(
    ("kind", "size"), [(Type.EVENT_ACQUIRE, 48), (Type.EVENT_EXPIRE, 48), (Type.EVENT_MAPPING, 64)]
)
@given(data=st.data())
def test_events_of_any_bytes_are_read_or_refused(kind: Type, size: int, data: st.DataObject) -> None:
    with contextlib.suppress(MessageError):
        messages.parse_event(kind, data.draw(st.binary(min_size=size, max_size=size)))


def test_texts_of_the_engine_are_made_printable() -> None:
    error = messages.parse_error(struct.pack("=iI120s", 17, 0, b"two\n\x1b[31mlines\xff\0rest"))
    assert (error.errno, error.strerror) == (17, "two��[31mlines�")
    assert isinstance(error, FileExistsError | OSError)


A = ipaddress.ip_address("10.9.0.1")
B = ipaddress.ip_address("10.9.0.2")
NAME = AssociationName(A, B, 4096, Direction.OUTBOUND)
SA = Association(NAME, 1, Algorithm.AES_256_GCM, Secret(bytes(36)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": Secret(bytes(35))}, "key: 35 bytes, but AES_256_GCM takes 36"),
        ({"reqid": 0}, "reqid: 0"),
        ({"reqid": True}, "reqid: True"),
        ({"window": -1}, "window: -1"),
        ({"ports": (0, 4500)}, "port: 0"),
        ({"ports": (4500, 65536)}, "port: 65536"),
        ({"limits": Limits(hard_bytes=2**64)}, "limit"),
        ({"name": dataclasses.replace(NAME, spi=2**32)}, "spi"),
        ({"name": dataclasses.replace(NAME, source=ipaddress.ip_address("::1"))}, "not of one family"),
    ],
)
def test_what_cannot_be_said_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        messages.pack_association(dataclasses.replace(SA, **change))


def test_a_key_is_not_shown_nor_stored() -> None:
    secret = Secret(b"\xabsecret" * 5)
    shown = repr(dataclasses.replace(SA, key=secret))
    assert "secret" not in shown
    assert "<Secret of 35 bytes>" in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    secret.wipe()
    assert not any(secret.reveal())


def test_ends() -> None:
    """Addresses only, of one family; one of them may be any."""
    four, six = ipaddress.ip_address("10.9.0.1"), ipaddress.ip_address("fd00:9::1")
    body = messages.pack_ends(four, None)
    assert body == four.packed.ljust(32, b"\0") + struct.pack("=IHBB", 0, socket.AF_INET, 0, 0)
    assert messages.pack_ends(None, six)[16:32] == six.packed
    for ends in ((four, six), (None, None)):
        with pytest.raises(ValueError, match="not of one family"):
            messages.pack_ends(*ends)
