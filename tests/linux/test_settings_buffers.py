"""Any bytes as settings, on sockets that could be secured: accepted exactly where the contract says so."""

from __future__ import annotations

import socket
import struct
import uuid

from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsasec import Winsock, _wsasec, profiles

NO_GUID = bytes(16)
DEFAULT_GUID = profiles.DEFAULT.guid.bytes_le


def expected(buffer: bytes) -> int:
    """The contract, said a second time and otherwise, for a fresh TCP socket and the built-in profile."""
    if len(buffer) < 8:
        return Winsock.WSAEMSGSIZE
    protocol, flags = struct.unpack_from("<II", buffer)
    if protocol == 0:
        return 0 if len(buffer) == 8 and flags < 4 else Winsock.WSAEINVAL
    if protocol != 1:
        return Winsock.WSAEINVAL
    if len(buffer) < 88:
        return Winsock.WSAEMSGSIZE
    ipsec_flags, main, quick, reserved, reserved2, *lengths = struct.unpack_from(
        "<I16s16s16s4xQIII", buffer, 8
    )
    if 84 + sum(lengths) > len(buffer):
        return Winsock.WSAEMSGSIZE
    valid = (
        flags < 4
        and ipsec_flags < 16
        and main in (NO_GUID, DEFAULT_GUID)
        and quick in (NO_GUID, DEFAULT_GUID)
        and reserved == NO_GUID
        and reserved2 == 0
        and not any(length % 2 for length in lengths)
    )
    return 0 if valid else Winsock.WSAEINVAL


def check(buffer: bytes) -> None:
    with socket.socket() as sock:
        code = _wsasec.set_socket_security(sock.fileno(), buffer, len(buffer))
        assert code == expected(buffer), buffer.hex()
        mark = sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)
        # A refused buffer has left no trace. An accepted one marks, unless its flags say otherwise.
        assert (code == 0) or mark == 0


GUIDS = st.sampled_from([NO_GUID, DEFAULT_GUID]) | st.uuids().map(lambda u: u.bytes_le)
FEW = st.integers(0, 5) | st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([0, 2, 4, 8, 16]) | st.integers(0, 40) | st.integers(0, 2**32 - 1)


@given(
    st.builds(
        lambda p, f, i, main, quick, reserved, sizes, rest: (
            struct.pack("<III16s16s16s4xQIII", p, f, i, main, quick, NO_GUID, reserved, *sizes) + rest
        ),
        st.sampled_from([1, 1, 1, 1, 0, 2, 3]),
        FEW,
        st.integers(0, 17) | st.integers(0, 2**32 - 1),
        GUIDS,
        GUIDS,
        st.sampled_from([0, 0, 0, 1, 2**63]),
        st.tuples(SIZES, SIZES, SIZES),
        st.binary(min_size=4, max_size=60),
    )
)
@settings(max_examples=400)
@example(
    struct.pack("<III16s16s16s4xQIII", 1, 0, 0, NO_GUID, NO_GUID, NO_GUID, 0, 2**31, 2**31, 0) + bytes(4)
)
@example(
    struct.pack("<III16s16s16s4xQIII", 1, 0, 0, NO_GUID, uuid.uuid4().bytes_le, NO_GUID, 0, 0, 0, 0)
    + bytes(4)
)
def test_ipsec_structures(buffer: bytes) -> None:
    check(buffer)


@given(st.integers(0, 87), st.integers(0, 255))
@settings(max_examples=400)
def test_one_byte_changed(at: int, value: int) -> None:
    buffer = bytearray(b"\1" + bytes(87))
    buffer[at] = value
    # The gap between Reserved and Reserved2 and the strings' own room have no meaning.
    check(bytes(buffer))


@given(st.binary(max_size=100))
def test_noise(buffer: bytes) -> None:
    check(buffer)


def test_every_length() -> None:
    for head in (b"\0", b"\1", b"\2", b"\3"):
        for length in range(121):
            check((head + bytes(120))[:length])
