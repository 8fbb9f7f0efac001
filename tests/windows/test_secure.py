"""WSASetSocketSecurity as Windows is called: sockets, bytes, order, errors."""

from __future__ import annotations

import ctypes
import socket
import threading
import uuid
from collections.abc import Iterator

import pytest
from double import Double, Function, Given
from hypothesis import given
from hypothesis import strategies as st

import wsasec
from wsasec import (
    BatchError,
    IpsecFlags,
    IpsecSettings,
    SecurityError,
    SecurityFlags,
    Settings,
    Winsock,
    _wsasec,
)

SET = Function.WSASetSocketSecurity
# mstcpip.h and winsock2.h, written down apart from the product.
CODES = {
    10013: "WSAEACCES",
    10014: "WSAEFAULT",
    10022: "WSAEINVAL",
    10035: "WSAEWOULDBLOCK",
    10038: "WSAENOTSOCK",
    10040: "WSAEMSGSIZE",
    10043: "WSAEPROTONOSUPPORT",
    10045: "WSAEOPNOTSUPP",
    10047: "WSAEAFNOSUPPORT",
    10050: "WSAENETDOWN",
    10054: "WSAECONNRESET",
    10055: "WSAENOBUFS",
    10056: "WSAEISCONN",
    10057: "WSAENOTCONN",
    10060: "WSAETIMEDOUT",
    10093: "WSANOTINITIALISED",
}


class GUID(ctypes.Structure):
    _fields_ = [
        ("Data1", ctypes.c_uint32),
        ("Data2", ctypes.c_uint16),
        ("Data3", ctypes.c_uint16),
        ("Data4", ctypes.c_uint8 * 8),
    ]


class SOCKET_SECURITY_SETTINGS_IPSEC(ctypes.Structure):
    _fields_ = [
        ("SecurityProtocol", ctypes.c_int32),
        ("SecurityFlags", ctypes.c_uint32),
        ("IpsecFlags", ctypes.c_uint32),
        ("AuthipMMPolicyKey", GUID),
        ("AuthipQMPolicyKey", GUID),
        ("Reserved", GUID),
        ("Reserved2", ctypes.c_uint64),
        ("UserNameStringLen", ctypes.c_uint32),
        ("DomainNameStringLen", ctypes.c_uint32),
        ("PasswordStringLen", ctypes.c_uint32),
        ("AllStrings", ctypes.c_wchar * 0),
    ]


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as made:
        yield made


def exclusive(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE))


def test_default(double: Double, sock: socket.socket) -> None:
    wsasec.secure(sock)
    [call] = double.calls
    assert (call.function, call.socket, call.length, call.given) == (SET, sock.fileno(), 0, Given(0))
    assert call.thread == threading.get_native_id()
    assert call.exclusive is False
    assert exclusive(sock)


def test_eight_bytes(double: Double, sock: socket.socket) -> None:
    wsasec.secure(sock, Settings(SecurityFlags.GUARANTEE_ENCRYPTION))
    [call] = double.calls
    assert (call.length, call.given) == (8, Given.INPUT)
    assert call.data == bytes([0, 0, 0, 0, 1, 0, 0, 0])


def test_nothing_between_two_sockets(double: Double) -> None:
    with wsasec.SocketBatch(1000, secure=False) as batch:
        wsasec.secure_many(batch, method="plain")
        calls = double.calls
        assert [call.function for call in calls] == [SET] * 1000
        assert [call.socket for call in calls] == list(batch)
        assert {call.thread for call in calls} == {threading.get_native_id()}


def test_threads_share_them(double: Double) -> None:
    with wsasec.SocketBatch(1000, secure=False) as batch:
        wsasec.secure_many(batch, method="threads", threads=3)
        assert sorted(call.socket for call in double.calls) == sorted(batch)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_batch(double: Double, family: int, kind: int) -> None:
    settings = IpsecSettings(flags=SecurityFlags.GUARANTEE_ENCRYPTION)
    with wsasec.SocketBatch(50, family=family, type=kind, settings=settings) as batch:
        calls = double.calls_of(SET)
        assert [call.socket for call in calls] == list(batch)
        assert {call.data for call in calls} == {bytes(settings)}
        for sock in batch.sockets():
            assert (sock.family, sock.type, sock.gettimeout()) == (family, kind, None)
            assert exclusive(sock)
            assert not sock.get_inheritable()
            sock.close()


def test_a_plain_batch_is_not_taken_for_a_secured_one(double: Double) -> None:
    """Its ports are exclusive too, and its sockets have the numbers of those before."""
    with wsasec.SocketBatch(20) as batch:
        before = set(batch)
        assert all(map(_wsasec.profile_of, batch))
    with wsasec.SocketBatch(20, secure=False, bind=[("127.0.0.1", 0)]) as batch:
        assert before & set(batch)
        assert not any(map(_wsasec.profile_of, batch))


@given(
    st.sampled_from(SecurityFlags),
    st.lists(st.sampled_from(IpsecFlags), max_size=4),
    st.uuids(),
    st.uuids(),
    st.text(max_size=12),
    st.text(max_size=12),
    st.text(max_size=12),
)
def test_the_structure(
    double: Double,
    flags: SecurityFlags,
    ipsec: list[IpsecFlags],
    main: uuid.UUID,
    quick: uuid.UUID,
    user: str,
    domain: str,
    password: str,
) -> None:
    double.reset()
    bits = IpsecFlags.NONE
    for flag in ipsec:
        bits |= flag
    with socket.socket() as sock:
        wsasec.secure(
            sock,
            IpsecSettings(
                flags=flags,
                ipsec_flags=bits,
                mm_policy=main,
                qm_policy=quick,
                user_name=user,
                domain_name=domain,
                password=password,
            ),
        )
        number = sock.fileno()
    [call] = double.calls
    assert call.socket == number
    texts = [text.encode("utf-16-le") for text in (user, domain, password)]
    assert call.length == max(88, 84 + sum(map(len, texts)))
    seen = SOCKET_SECURITY_SETTINGS_IPSEC.from_buffer_copy(call.data.ljust(88, b"\0"))
    assert (seen.SecurityProtocol, seen.SecurityFlags, seen.IpsecFlags) == (1, flags, bits)
    assert bytes(seen.AuthipMMPolicyKey) == main.bytes_le
    assert bytes(seen.AuthipQMPolicyKey) == quick.bytes_le
    assert bytes(seen.Reserved) == bytes(16)
    assert seen.Reserved2 == 0
    lengths = [seen.UserNameStringLen, seen.DomainNameStringLen, seen.PasswordStringLen]
    assert lengths == [len(text) for text in texts]
    assert call.data[84 : 84 + sum(lengths)] == b"".join(texts)


@pytest.mark.parametrize("code", CODES)
def test_errors(double: Double, sock: socket.socket, code: int) -> None:
    double.fail(SET, code)
    with pytest.raises(SecurityError) as caught:
        wsasec.secure(sock)
    error = caught.value
    assert error.winsock.name == CODES[code]
    assert error.winsock == code
    assert error.socket == sock.fileno()
    assert error.errno == OSError(0, "", None, code).errno
    assert error.hint


def test_an_error_that_nobody_knows(double: Double, sock: socket.socket) -> None:
    double.fail(SET, 11999)
    with pytest.raises(SecurityError) as caught:
        wsasec.secure(sock)
    assert caught.value.winsock == 11999


def test_a_failure_that_leaves_it_open_is_told(double: Double, sock: socket.socket) -> None:
    double.fail(SET, Winsock.WSAENETDOWN, times=1)
    with pytest.raises(SecurityError, match="close it at once"):
        wsasec.secure(sock)
    # A wrong call leaves it as it was.
    with socket.socket() as other:
        double.fail(SET, Winsock.WSAEISCONN, times=1)
        with pytest.raises(SecurityError) as caught:
            wsasec.secure(other)
        assert "clear" not in str(caught.value)
        wsasec.secure(other)


def test_wrong_settings_do_not_reach_windows(double: Double, sock: socket.socket) -> None:
    for buffer, length, code in (
        (None, 8, Winsock.WSAEFAULT),
        (bytes(4), 4, Winsock.WSAEMSGSIZE),
        (b"\x03" + bytes(7), 8, Winsock.WSAEINVAL),
        (bytes(9), 9, Winsock.WSAEINVAL),
    ):
        assert wsasec.WSASetSocketSecurity(sock.fileno(), buffer, length) == wsasec.SOCKET_ERROR
        assert wsasec.WSAGetLastError() == code
    assert wsasec.WSASetSocketSecurity(0xFFFFFF0, bytes(4), 4) == wsasec.SOCKET_ERROR
    assert wsasec.WSAGetLastError() == Winsock.WSAENOTSOCK
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert wsasec.WSASetSocketSecurity(listener.fileno(), b"\x03" + bytes(7), 8) == wsasec.SOCKET_ERROR
        assert wsasec.WSAGetLastError() == Winsock.WSAEINVAL
    assert not double.count


def test_a_second_call_is_for_windows_to_judge(double: Double, sock: socket.socket) -> None:
    wsasec.secure(sock)
    double.fail(SET, Winsock.WSAEINVAL)
    with pytest.raises(SecurityError) as caught:
        wsasec.secure(sock)
    assert caught.value.winsock == Winsock.WSAEINVAL
    assert double.count == 2


def test_what_windows_refuses_is_not_secured(double: Double) -> None:
    """Though the refused call made its port exclusive, and a secured socket had its number before."""
    with socket.socket() as before:
        wsasec.secure(before)
        number = before.fileno()
    double.fail(SET, Winsock.WSAEINVAL)
    socks = [socket.socket() for _ in range(20)]
    try:
        [sock] = (sock for sock in socks if sock.fileno() == number)
        with pytest.raises(SecurityError, match="close it at once"):
            wsasec.secure(sock)
        assert exclusive(sock)
        assert _wsasec.profile_of(sock) is None
    finally:
        for sock in socks:
            sock.close()


def test_why_windows_finds_a_socket_invalid(double: Double, sock: socket.socket) -> None:
    """It tells only that it is; what the socket is, is found out then, and named as by any other check."""
    double.fail(SET, Winsock.WSAEINVAL)
    sock.bind(("127.0.0.1", 0))
    with pytest.raises(SecurityError, match="is bound") as caught:
        wsasec.secure(sock)
    assert (caught.value.winsock, caught.value.step) == (Winsock.WSAEINVAL, "state")
    assert "clear" not in str(caught.value)
    with socket.socket() as fresh, pytest.raises(SecurityError, match="close it at once") as caught:
        wsasec.secure(fresh)
    assert (caught.value.winsock, caught.value.step) == (Winsock.WSAEINVAL, "WSASetSocketSecurity")


def test_many_report_by_index(double: Double) -> None:
    with wsasec.SocketBatch(100, secure=False) as batch:
        double.fail(SET, Winsock.WSAENOBUFS, skip=40, times=3)
        codes = wsasec.secure_many(batch, errors="return", method="plain")
        assert [i for i, code in enumerate(codes) if code] == [40, 41, 42]
        assert set(codes[40:43]) == {Winsock.WSAENOBUFS}
    with wsasec.SocketBatch(100, secure=False) as batch:
        double.fail(SET, Winsock.WSAEACCES, skip=7, times=1)
        with pytest.raises(BatchError) as caught:
            wsasec.secure_many(batch, method="plain")
        assert (caught.value.index, caught.value.winsock) == (7, Winsock.WSAEACCES)


def test_a_batch_is_made_whole_or_not_at_all(double: Double) -> None:
    double.fail(SET, Winsock.WSAENOBUFS, skip=5, times=1)
    with pytest.raises(BatchError):
        wsasec.SocketBatch(10, method="plain")
    for call in double.calls:
        with pytest.raises(OSError, match="10038"):
            socket.socket(fileno=call.socket).detach()
