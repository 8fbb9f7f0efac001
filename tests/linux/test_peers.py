"""The five functions about peers on Linux where no key daemon runs."""

from __future__ import annotations

import array
import asyncio
import ctypes
import errno
import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import greenlet
import pytest

import wsasec
from wsasec import SecurityError, Token, Winsock, WSAGetLastError
from wsasec.addresses import pack_address
from wsasec.errors import errno_of
from wsasec.peers import query_template, target_name

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
KINDS = [(family, kind) for family in LOOPBACK for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM

kinds = pytest.mark.parametrize(("family", "kind"), KINDS, ids=["tcp4", "udp4", "tcp6", "udp6"])

NOWHERE = bytes(128)
SOMEWHERE = pack_address(socket.AF_INET, ("127.0.0.1", 9)).ljust(128, b"\0")


def code(call: Callable[[], object]) -> Winsock:
    with pytest.raises(SecurityError) as caught:
        call()
    assert caught.value.hint
    assert not isinstance(caught.value, wsasec.ImpersonationError)
    return caught.value.winsock


def answer(result: int) -> int:
    assert result in (0, wsasec.SOCKET_ERROR)
    return WSAGetLastError() if result else 0


@pytest.fixture(autouse=True)
def no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSASEC_RUN", str(tmp_path))


@kinds
def test_good_calls_on_secured_sockets(family: int, kind: int) -> None:
    """There is nobody who could know a name; and the kernel, which is asked then, has no SA."""
    not_connected = Winsock.WSAENOTCONN if kind == STREAM else None
    with socket.socket(family, kind) as sock:
        wsasec.secure(sock)
        peer = (LOOPBACK[family], 9)
        six = (*peer, 0, 0) if family == socket.AF_INET6 else peer
        for call, wanted in (
            (lambda: wsasec.query(sock, peer=peer), Winsock.WSAENOTCONN),
            (lambda: wsasec.query(sock, peer=peer, access_mask=8, ipsec2=True), Winsock.WSAEOPNOTSUPP),
            (
                lambda: wsasec.query(sock, peer=peer, ipsec2=True, abort_on_change=True),
                not_connected or Winsock.WSAEOPNOTSUPP,
            ),
            (lambda: wsasec.query(sock.fileno(), peer=six), Winsock.WSAENOTCONN),
            (lambda: wsasec.set_peer_target_name(sock, "host/b", peer=peer), Winsock.WSAENETDOWN),
            (lambda: wsasec.delete_peer_target_name(sock, peer), Winsock.WSAENETDOWN),
            (lambda: wsasec.negotiate(sock, peer), Winsock.WSAENETDOWN),
            (
                lambda: wsasec.impersonate(sock, peer=peer).__enter__(),
                not_connected or Winsock.WSAENETDOWN,
            ),
        ):
            assert code(call) is wanted
    wsasec.revert_impersonation()


@kinds
def test_good_calls_on_plain_sockets(family: int, kind: int) -> None:
    with socket.socket(family, kind) as sock:
        peer = (LOOPBACK[family], 9)
        if kind == DGRAM:
            assert not wsasec.query(sock, peer=peer).flags
        else:
            assert code(lambda: wsasec.query(sock)) is Winsock.WSAENOTCONN
        for call in (
            lambda: wsasec.set_peer_target_name(sock, "host/b", peer=peer),
            lambda: wsasec.delete_peer_target_name(sock, peer),
            lambda: wsasec.negotiate(sock, peer),
            lambda: wsasec.impersonate(sock, peer=peer).__enter__(),
        ):
            assert code(call) is Winsock.WSAEINVAL


@kinds
def test_who_needs_the_peers_address(family: int, kind: int) -> None:
    with socket.socket(family, kind) as sock:
        wsasec.secure(sock)
        wanted = Winsock.WSAEINVAL if kind == DGRAM else Winsock.WSAENOTCONN
        assert code(lambda: wsasec.query(sock)) is wanted
        assert code(lambda: wsasec.query(sock, ipsec2=True)) is wanted
        wanted = Winsock.WSAEINVAL if kind == DGRAM else Winsock.WSAENETDOWN
        assert code(lambda: wsasec.set_peer_target_name(sock, "host/b")) is wanted
        wanted = Winsock.WSAEFAULT if kind == DGRAM else Winsock.WSAENOTCONN
        assert code(lambda: wsasec.impersonate(sock).__enter__()) is wanted
        assert code(lambda: wsasec.negotiate(sock)) is wanted


def test_wrong_sockets() -> None:
    peer = ("127.0.0.1", 9)
    closed = socket.socket()
    closed.close()
    calls: list[Callable[[object], object]] = [
        wsasec.query,
        lambda sock: wsasec.set_peer_target_name(sock, "a"),
        lambda sock: wsasec.delete_peer_target_name(sock, peer),
        lambda sock: wsasec.impersonate(sock).__enter__(),
    ]
    read, write = os.pipe()
    try:
        for call in calls:
            for sock in closed, -1, 2**31, read:
                assert code(lambda call=call, sock=sock: call(sock)) is Winsock.WSAENOTSOCK
            with socket.socket(socket.AF_UNIX) as unix:
                assert code(lambda call=call, unix=unix: call(unix)) is Winsock.WSAEINVAL
            with pytest.raises(TypeError):
                call("5")
    finally:
        os.close(read)
        os.close(write)


def test_a_name_comes_before_the_connection() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sock,
    ):
        assert code(lambda: wsasec.set_peer_target_name(sock, "a")) is Winsock.WSAEISCONN


def test_tokens_are_windows_own() -> None:
    token = Token(5)
    with pytest.raises(SecurityError, match="cannot be closed") as caught:
        token.close()
    assert caught.value.winsock is Winsock.WSAEOPNOTSUPP
    assert caught.value.errno == errno.EOPNOTSUPP
    assert token.closed
    token.close()
    del token
    Token(6)  # collected at once, and nothing to be heard of it


def test_querying_as_in_c() -> None:
    query = wsasec.WSAQuerySocketSecurity
    plain, more = query_template(NOWHERE, 0, None), query_template(NOWHERE, 0, (0, 3))
    with socket.socket() as sock, socket.socket(type=DGRAM) as datagram:
        fd = sock.fileno()
        length = ctypes.c_uint32()
        assert answer(query(fd, None, 0, None, length)) == Winsock.WSAEMSGSIZE
        assert length.value == 24
        assert answer(query(fd, plain, 144, None, length)) == Winsock.WSAEMSGSIZE
        assert length.value == 24
        for short in array.array("I", [63]), bytearray(struct.pack("=I", 63)), memoryview(bytearray(4)):
            assert answer(query(fd, more, 152, bytearray(63), short)) == Winsock.WSAEMSGSIZE
            assert bytes(short) == struct.pack("=I", 64)
        for info in bytearray(64), (ctypes.c_uint8 * 64)(), array.array("Q", bytes(64)):
            length.value = 64
            assert answer(query(fd, more, 152, info, length)) == Winsock.WSAENOTCONN
        assert answer(query(fd, None, 0, None, None)) == Winsock.WSAEFAULT
        assert answer(query(fd, None, 8, None, length)) == Winsock.WSAEFAULT
        assert answer(query(fd, plain, 143, None, length)) == Winsock.WSAEMSGSIZE
        assert (
            answer(query(fd, struct.pack("=I", 3).ljust(144, b"\0"), 144, None, length)) == Winsock.WSAEINVAL
        )
        assert answer(query(datagram.fileno(), None, 0, None, length)) == Winsock.WSAEFAULT
        assert answer(query(datagram.fileno(), plain, 144, None, length)) == Winsock.WSAEINVAL
        assert answer(query(-1, None, 0, None, length)) == Winsock.WSAENOTSOCK


def test_naming_as_in_c() -> None:
    name = target_name(NOWHERE, "host/b.example")
    with socket.socket() as sock, socket.socket(type=DGRAM) as datagram:
        wsasec.secure(sock)
        wsasec.secure(datagram)
        fd = sock.fileno()
        call = wsasec.WSASetSocketPeerTargetName
        assert answer(call(fd, name, len(name))) == Winsock.WSAENETDOWN
        assert answer(call(fd, None, 0)) == Winsock.WSAEFAULT
        assert answer(call(fd, name, 143)) == Winsock.WSAEMSGSIZE
        assert answer(call(fd, name, 150)) == Winsock.WSAEMSGSIZE
        assert answer(call(datagram.fileno(), name, len(name))) == Winsock.WSAEINVAL
        there = target_name(SOMEWHERE, "host/b.example")
        assert answer(call(datagram.fileno(), there, len(there))) == Winsock.WSAENETDOWN
        delete = wsasec.WSADeleteSocketPeerTargetName
        assert answer(delete(datagram.fileno(), SOMEWHERE, 16)) == Winsock.WSAENETDOWN
        assert answer(delete(datagram.fileno(), SOMEWHERE, 15)) == Winsock.WSAEMSGSIZE
        assert answer(delete(datagram.fileno(), None, 16)) == Winsock.WSAEFAULT


def test_impersonating_as_in_c() -> None:
    with socket.socket() as sock, socket.socket(type=DGRAM) as datagram:
        wsasec.secure(sock)
        wsasec.secure(datagram)
        call = wsasec.WSAImpersonateSocketPeer
        assert answer(call(sock.fileno(), None, 0)) == Winsock.WSAENOTCONN
        assert answer(call(datagram.fileno(), None, 0)) == Winsock.WSAEFAULT
        assert answer(call(datagram.fileno(), SOMEWHERE, 16)) == Winsock.WSAENETDOWN
        assert answer(wsasec.WSARevertImpersonation()) == 0


class Structure(ctypes.Structure):
    _fields_ = (("SecurityProtocol", ctypes.c_int32), ("SecurityFlags", ctypes.c_uint32))


def test_ctypes_structures_are_buffers() -> None:
    with socket.socket() as sock:
        assert wsasec.WSASetSocketSecurity(sock, Structure(0, 1), ctypes.sizeof(Structure)) == 0
        assert answer(wsasec.WSASetSocketSecurity(sock, Structure(0, 1), 8)) == Winsock.WSAEINVAL


def test_overlapped_is_ignored() -> None:
    """As for sockets that are not overlapped."""
    overlapped = ctypes.create_string_buffer(32)
    address = ctypes.addressof(overlapped)
    for given in (address, 0), (address, 1), (0, None), (None, 0), (2**64 - 1, None):
        with socket.socket() as sock:
            assert wsasec.WSASetSocketSecurity(sock, None, 0, *given) == 0
            length = array.array("I", [24])
            assert (
                answer(wsasec.WSAQuerySocketSecurity(sock, None, 0, bytearray(24), length, *given))
                == Winsock.WSAENOTCONN
            )
            name = target_name(NOWHERE, "a")
            assert (
                answer(wsasec.WSASetSocketPeerTargetName(sock, name, len(name), *given))
                == Winsock.WSAENETDOWN
            )
            assert (
                answer(wsasec.WSADeleteSocketPeerTargetName(sock, SOMEWHERE, 16, *given))
                == Winsock.WSAENETDOWN
            )
    assert overlapped.raw == bytes(32)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((None, 0, None, bytearray(3)), ValueError),
        ((None, 0, None, bytearray(8)), ValueError),
        ((None, 0, None, ctypes.c_uint64()), ValueError),
        ((None, 0, None, bytes(4)), (TypeError, BufferError)),
        ((None, 0, None, 24), TypeError),
        ((None, 0, bytes(24), bytearray(struct.pack("=I", 24))), (TypeError, BufferError)),
        ((None, 0, bytearray(23), bytearray(struct.pack("=I", 24))), ValueError),
        ((None, 0, memoryview(bytearray(48))[::2], bytearray(struct.pack("=I", 24))), BufferError),
        ((bytes(143), 144, None, None), ValueError),
        ((bytes(8), -1, None, None), ValueError),
        ((bytes(8), 2**32, None, None), ValueError),
        ((None, 0.0, None, None), TypeError),
        ((None, True, None, None), TypeError),
        (("template", 8, None, None), TypeError),
        ((None, 0, None, None, "x"), TypeError),
        ((None, 0, None, None, True), TypeError),
        ((None, 0, None, None, -1), ValueError),
        ((None, 0, None, None, 2**64), ValueError),
        ((None, 0, None, None, None, -1), ValueError),
        ((None, 0, None, memoryview(bytearray(12))[1:5], 8), ValueError),
    ],
    ids=repr,
)
def test_what_c_could_not_have_been_called_with(
    arguments: tuple[object, ...], error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    with socket.socket() as sock, pytest.raises(error):
        wsasec.WSAQuerySocketSecurity(sock, *arguments)


def test_buffers_are_let_go() -> None:
    template, info, length = bytearray(144), bytearray(24), bytearray(struct.pack("=I", 24))
    with socket.socket() as sock:
        for _ in range(3):
            wsasec.WSAQuerySocketSecurity(sock, template, 144, info, length)
            with pytest.raises(ValueError, match="beyond the end"):
                wsasec.WSAQuerySocketSecurity(sock, template, 145, info, length)
            with pytest.raises(ValueError, match="4 bytes"):
                wsasec.WSAQuerySocketSecurity(sock, template, 144, info, bytearray(5))
    for each in template, info, length:
        each.append(0)  # which an exported buffer does not allow


def test_the_last_error_is_the_threads() -> None:
    seen: list[int] = []

    def other() -> None:
        seen.append(WSAGetLastError())
        with socket.socket() as sock:
            wsasec.WSASetSocketPeerTargetName(sock, None, 0)
        seen.append(WSAGetLastError())

    wsasec.WSAImpersonateSocketPeer(-1, None, 0)
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [0, Winsock.WSAEFAULT]
    assert WSAGetLastError() == Winsock.WSAENOTSOCK


def enter(sock: socket.socket) -> None:
    with wsasec.impersonate(sock):
        raise AssertionError("entered")


def test_not_in_a_greenlet() -> None:
    with socket.socket() as sock, pytest.raises(RuntimeError, match="in a greenlet: others' code would run"):
        greenlet.greenlet(enter).switch(sock)


def test_where_there_is_no_such_thing() -> None:
    """Each try is refused by the system, in each place that is none of those above."""

    stream = socket.socket()
    wsasec.secure(stream)

    async def main() -> None:
        await asyncio.to_thread(enter, stream)

    def in_stack() -> None:
        with ExitStack() as stack:
            stack.enter_context(wsasec.impersonate(stream))

    for call in (lambda: enter(stream), lambda: asyncio.run(main()), in_stack) * 2:
        with pytest.raises(wsasec.SecurityError) as caught:
            call()
        assert caught.value.winsock is wsasec.Winsock.WSAENOTCONN
    errors: list[BaseException] = []

    def other() -> None:
        try:
            enter(stream)
        except wsasec.SecurityError as error:
            errors.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(errors) == 1
    stream.close()


def test_the_systems_own_number_is_what_it_is() -> None:
    assert [errno_of(number) for number in (1, 13, 22, 10013)] == [1, 13, 22, 10013]
