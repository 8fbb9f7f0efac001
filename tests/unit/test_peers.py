"""The functions about peers: their bytes, by an independent declaration, and what is refused before C."""

from __future__ import annotations

import asyncio
import copy
import ctypes
import ipaddress
import pickle
import socket
import uuid
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wsasec
from wsasec import QueryFields, SocketInfo, SocketSecurity, Token, _wsasec
from wsasec.addresses import STORAGE_SIZE, pack_peer
from wsasec.peers import query_template, target_name

INET, INET6 = socket.AF_INET, socket.AF_INET6


class SockaddrIn(ctypes.Structure):
    _fields_ = (
        ("family", ctypes.c_uint16),
        ("port", ctypes.c_uint8 * 2),
        ("address", ctypes.c_uint8 * 4),
        ("zero", ctypes.c_uint8 * 8),
    )


class SockaddrIn6(ctypes.Structure):
    _fields_ = (
        ("family", ctypes.c_uint16),
        ("port", ctypes.c_uint8 * 2),
        ("flowinfo", ctypes.c_uint8 * 4),
        ("address", ctypes.c_uint8 * 16),
        ("scope", ctypes.c_uint32),
    )


class Storage(ctypes.Structure):
    """SOCKADDR_STORAGE, which is aligned to 8 bytes."""

    _fields_ = (
        ("family", ctypes.c_uint16),
        ("pad1", ctypes.c_uint8 * 6),
        ("align", ctypes.c_int64),
        ("pad2", ctypes.c_uint8 * 112),
    )


class Template(ctypes.Structure):
    """SOCKET_SECURITY_QUERY_TEMPLATE as the Windows SDK declares it (x64)."""

    _fields_ = (
        ("SecurityProtocol", ctypes.c_int32),
        ("PeerAddress", Storage),
        ("PeerTokenAccessMask", ctypes.c_uint32),
    )


class TemplateIpsec2(ctypes.Structure):
    _fields_ = (
        ("SecurityProtocol", ctypes.c_int32),
        ("PeerAddress", Storage),
        ("PeerTokenAccessMask", ctypes.c_uint32),
        ("Flags", ctypes.c_uint32),
        ("FieldMask", ctypes.c_uint32),
    )


class TargetName(ctypes.Structure):
    _fields_ = (
        ("SecurityProtocol", ctypes.c_int32),
        ("PeerAddress", Storage),
        ("PeerTargetNameStringLen", ctypes.c_uint32),
        ("AllStrings", ctypes.c_uint16 * 1),
    )


PORTS = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)
V4 = st.tuples(st.ip_addresses(v=4).map(str), PORTS)
V6 = st.tuples(st.ip_addresses(v=6).map(str), PORTS, st.integers(0, 0xFFFFF), U32)
TEXT = st.text(min_size=1, max_size=60).filter(
    lambda text: "\0" not in text and not any(0xD800 <= ord(c) < 0xE000 for c in text)
)


def test_sizes() -> None:
    assert ctypes.sizeof(Storage) == STORAGE_SIZE
    assert list(map(ctypes.sizeof, (Template, TemplateIpsec2, TargetName))) == [144, 152, 144]
    assert TargetName.AllStrings.offset == 140


@given(V4)
def test_an_address_of_ipv4(address: tuple[str, int]) -> None:
    packed = pack_peer(5, address)
    read = SockaddrIn.from_buffer_copy(packed)
    assert len(packed) == ctypes.sizeof(SockaddrIn) == 16
    assert read.family == INET
    assert int.from_bytes(bytes(read.port), "big") == address[1]
    assert bytes(read.address) == ipaddress.ip_address(address[0]).packed
    assert bytes(read.zero) == bytes(8)


@given(V6)
def test_an_address_of_ipv6(address: tuple[str, int, int, int]) -> None:
    packed = pack_peer(5, address)
    read = SockaddrIn6.from_buffer_copy(packed)
    assert len(packed) == ctypes.sizeof(SockaddrIn6) == 28
    assert read.family == INET6
    assert int.from_bytes(bytes(read.port), "big") == address[1]
    assert int.from_bytes(bytes(read.flowinfo), "big") == address[2]
    assert bytes(read.address) == ipaddress.ip_address(address[0]).packed
    assert read.scope == address[3]


@given(st.binary(max_size=128), U32)
def test_a_template(address: bytes, mask: int) -> None:
    packed = query_template(address.ljust(128, b"\0"), mask, None)
    read = Template.from_buffer_copy(packed)
    assert len(packed) == 144
    assert (read.SecurityProtocol, read.PeerTokenAccessMask) == (1, mask)
    assert bytes(read.PeerAddress) == address.ljust(128, b"\0")


@given(st.binary(max_size=128), U32, st.integers(0, 1), st.integers(0, 3))
def test_a_template_of_ipsec2(address: bytes, mask: int, flags: int, fields: int) -> None:
    packed = query_template(address.ljust(128, b"\0"), mask, (flags, fields))
    read = TemplateIpsec2.from_buffer_copy(packed)
    assert len(packed) == 152
    assert (read.SecurityProtocol, read.PeerTokenAccessMask) == (2, mask)
    assert (read.Flags, read.FieldMask) == (flags, fields)
    assert bytes(read.PeerAddress) == address.ljust(128, b"\0")


@given(st.binary(max_size=128), TEXT)
def test_a_name(address: bytes, name: str) -> None:
    packed = target_name(address.ljust(128, b"\0"), name)
    encoded = name.encode("utf-16-le")
    read = TargetName.from_buffer_copy(packed)
    assert len(packed) == max(144, 140 + len(encoded))
    assert (read.SecurityProtocol, read.PeerTargetNameStringLen) == (1, len(encoded))
    assert bytes(read.PeerAddress) == address.ljust(128, b"\0")
    assert packed[140:].startswith(encoded)


@pytest.fixture
def stream() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        yield sock


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"peer": "127.0.0.1"}, TypeError),
        ({"peer": 5}, TypeError),
        ({"peer": ()}, ValueError),
        ({"peer": ("127.0.0.1",)}, ValueError),
        ({"peer": ("localhost", 5)}, ValueError),
        ({"peer": ("::1", 5)}, ValueError),
        ({"peer": ("127.0.0.1", -1)}, ValueError),
        ({"peer": ("127.0.0.1", 65536)}, ValueError),
        ({"peer": ("127.0.0.1", "5")}, TypeError),
        ({"peer": (None, 5)}, TypeError),
        ({"access_mask": -1}, ValueError),
        ({"access_mask": 2**32}, ValueError),
        ({"access_mask": "1"}, TypeError),
        ({"fields": QueryFields.MM_SA_ID}, ValueError),
        ({"abort_on_change": True}, ValueError),
        ({"ipsec2": True, "fields": 4}, ValueError),
        ({"ipsec2": True, "fields": "x"}, TypeError),
    ],
    ids=repr,
)
def test_wrong_arguments_of_a_query(
    stream: socket.socket, arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        wsasec.query(stream, **arguments)


@pytest.mark.parametrize(
    ("name", "error"),
    [("", ValueError), ("a\0b", ValueError), ("a\ud800", ValueError), (b"a", TypeError), (None, TypeError)],
    ids=repr,
)
def test_wrong_names(stream: socket.socket, name: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        wsasec.set_peer_target_name(stream, name)


def test_wrong_peers(stream: socket.socket) -> None:
    for peer in ("127.0.0.1", None, 7):
        with pytest.raises(TypeError):
            wsasec.delete_peer_target_name(stream, peer)
    with pytest.raises(ValueError, match="no address of the family"):
        wsasec.impersonate(stream, peer=("::1", 7))
    with pytest.raises(ValueError, match="no address of the family"):
        wsasec.set_peer_target_name(stream, "a", peer=("::1", 7))


def test_an_answer() -> None:
    answer = SocketSecurity(True, False, False, SocketInfo(1))
    assert answer.application_token is None
    assert answer.sa_lookup_context is None
    with answer, pytest.raises(AttributeError):
        answer.secured = False
    answer.close()
    assert answer == SocketSecurity(True, False, False, SocketInfo(1))
    assert (
        SocketSecurity(True, True, False, SocketInfo(3), mm_sa_id=1, sa_lookup_context=uuid.uuid4()) != answer
    )


# Tokens.


@pytest.mark.parametrize("wrong", ["5", None, 5.0, True], ids=repr)
def test_no_handle(wrong: object) -> None:
    with pytest.raises(TypeError):
        Token(wrong)


@pytest.mark.parametrize("wrong", [0, -1, 2**64])
def test_no_handle_either(wrong: int) -> None:
    with pytest.raises(ValueError, match="is no handle"):
        Token(wrong)


def test_a_token_that_is_detached() -> None:
    token = Token(2**64 - 1)
    assert token.handle == 2**64 - 1
    assert not token.closed
    assert repr(token) == "<Token 0xffffffffffffffff>"
    assert token.detach() == 2**64 - 1
    assert token.closed
    assert repr(token) == "<Token, closed>"
    token.close()
    with token:
        pass
    for use in (token.detach, lambda: token.handle):
        with pytest.raises(ValueError, match="closed"):
            use()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_token_is_not_copied(duplicate: Callable[[object], object]) -> None:
    token = Token(5)
    with pytest.raises(TypeError, match="owns its handle"):
        duplicate(token)
    with pytest.raises(RuntimeError, match="already"):
        token.__init__(6)
    assert token.detach() == 5


def test_tokens_have_no_subclasses() -> None:
    with pytest.raises(TypeError):
        type("Sub", (Token,), {})


# Where nobody may act as a peer.


def enter(sock: socket.socket) -> None:
    with wsasec.impersonate(sock):
        raise AssertionError("entered")


def refused(where: str) -> pytest.RaisesExc[RuntimeError]:
    return pytest.raises(RuntimeError, match=f"impersonate.. in {where}: others' code would run as the peer")


def test_not_in_a_generator(stream: socket.socket) -> None:
    def generator() -> Iterator[None]:
        with wsasec.impersonate(stream):
            yield

    with refused("a generator or coroutine"):
        next(generator())


def test_not_in_a_coroutine(stream: socket.socket) -> None:
    async def coroutine() -> None:
        with wsasec.impersonate(stream):
            raise AssertionError("entered")

    one = coroutine()
    with refused("a generator or coroutine"):
        one.send(None)


def test_not_in_an_asynchronous_generator(stream: socket.socket) -> None:
    async def generator() -> object:
        with wsasec.impersonate(stream):
            yield

    with refused("a generator or coroutine"):
        generator().__anext__().send(None)


def test_not_asynchronously(stream: socket.socket) -> None:
    async def main() -> None:
        async with wsasec.impersonate(stream):
            raise AssertionError("entered")

    with pytest.raises(TypeError, match="asynchronous context manager"):
        asyncio.run(main())


def test_not_below_a_running_loop(stream: socket.socket) -> None:
    async def main() -> None:
        enter(stream)

    with refused("a thread that runs an asyncio loop"):
        asyncio.run(main())


def test_what_it_takes(stream: socket.socket) -> None:
    one = wsasec.impersonate(stream)
    with pytest.raises(RuntimeError, match="not entered"):
        one.__exit__(None, None, None)
    with pytest.raises(TypeError, match="its thread's own"):
        copy.copy(one)
    with pytest.raises(TypeError):
        _wsasec.Impersonation(stream, "peer")
