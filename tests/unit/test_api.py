"""Wrong types and values, and the checks that come before any privilege is needed."""

from __future__ import annotations

import array
import socket
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wsasec
from wsasec import SecurityError, Winsock, WSAGetLastError, WSASetSocketSecurity, _wsasec


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wsasec.SecurityWarning)
        yield


@pytest.fixture(scope="module")
def other() -> Iterator[socket.socket]:
    """A socket of the wrong family: everything before that is checked, and nothing after.

    On Windows that, and all that is wrong with a socket, is for the system to tell: there it is any socket.
    """
    with socket.socket(socket.AF_INET if sys.platform == "win32" else socket.AF_UNIX) as sock:
        yield sock


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


class Fileno:
    def __init__(self, value: object) -> None:
        self.value = value

    def fileno(self) -> object:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@pytest.mark.parametrize(
    "bad", [None, "5", b"5", 5.0, [], object(), True, Fileno("5"), Fileno(None)], ids=repr
)
def test_no_socket(bad: object) -> None:
    with pytest.raises(TypeError):
        wsasec.secure(bad)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**100])
def test_no_descriptor(number: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        wsasec.secure(number)


def test_the_error_of_fileno_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError):
        wsasec.secure(Fileno(ZeroDivisionError()))


@pytest.mark.parametrize("bad", [1, "x", b"\0" * 8, {}, object(), wsasec.SecurityFlags.NONE], ids=repr)
def test_no_settings(bound: socket.socket, bad: object) -> None:
    for call in (
        lambda: wsasec.secure(bound, bad),
        lambda: wsasec.secure_many([bound], bad),
        lambda: wsasec.socket_options(bad, family=socket.AF_INET),
    ):
        with pytest.raises(TypeError, match="settings is"):
            call()


def test_arguments() -> None:
    for call in (wsasec.secure, wsasec.secure_many, wsasec.connect, WSASetSocketSecurity):
        with pytest.raises(TypeError):
            call()


def test_anything_with_fileno(bound: socket.socket) -> None:
    for form in (bound, bound.fileno(), Fileno(bound.fileno())):
        assert _wsasec.set_socket_security(form, bytes(7), 7) == Winsock.WSAEMSGSIZE
        if sys.platform == "win32":  # what is wrong with the socket is told by the system
            continue
        with pytest.raises(SecurityError, match="bound") as caught:
            wsasec.secure(form)
        assert caught.value.socket == bound.fileno()


def test_no_socket_has_such_a_number() -> None:
    for form in (2**40, Fileno(2**40)):
        with pytest.raises(SecurityError, match="not a socket") as caught:
            wsasec.secure(form)
        assert (caught.value.winsock, caught.value.socket) == (Winsock.WSAENOTSOCK, 2**40)


def test_as_in_c(other: socket.socket, bound: socket.socket) -> None:
    def call(sock: socket.socket, buffer: object, length: int) -> int:
        answer = WSASetSocketSecurity(sock.fileno(), buffer, length)
        assert answer in (0, wsasec.SOCKET_ERROR)
        return WSAGetLastError() if answer else 0

    assert call(other, None, 8) == Winsock.WSAEFAULT
    assert call(other, bytes(7), 7) == Winsock.WSAEMSGSIZE
    assert call(other, bytes(100), 7) == Winsock.WSAEMSGSIZE
    assert call(other, b"", 0) == Winsock.WSAEMSGSIZE
    assert call(other, bytearray(b"\2".ljust(8, b"\0")), 8) == Winsock.WSAEINVAL
    if sys.platform != "win32":
        assert call(other, bytearray(8), 8) == Winsock.WSAEINVAL
        assert call(bound, None, 0) == Winsock.WSAEINVAL
    assert call(other, array.array("I", [1, 0]), 8) == Winsock.WSAEMSGSIZE
    assert WSASetSocketSecurity(-1, None, 0) == -1
    assert WSAGetLastError() == Winsock.WSAENOTSOCK


def test_the_last_error_is_the_threads() -> None:
    WSASetSocketSecurity(-1, None, 0)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(WSAGetLastError()))
    thread.start()
    thread.join()
    assert seen == [0]
    assert WSAGetLastError() == Winsock.WSAENOTSOCK


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((1, bytes(8), 9), ValueError),
        ((1, bytes(8), -1), ValueError),
        ((1, bytes(8), 2**32), ValueError),
        ((1, None, 2**64), (ValueError, OverflowError)),
        ((1, "text", 4), TypeError),
        ((1, 5, 4), TypeError),
        ((1, bytes(8), "8"), TypeError),
        (("x", None, 0), TypeError),
        ((1, None, 0, object()), TypeError),
        ((1, None, 0, None, object()), TypeError),
    ],
)
def test_as_in_c_bad_arguments(arguments: tuple[object, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        WSASetSocketSecurity(*arguments)


def expected(buffer: bytes, length: int) -> set[int]:
    """The contract, said a second time and otherwise: what a socket of the wrong state may answer."""
    if length < 8:
        return {Winsock.WSAEMSGSIZE}
    (protocol,) = struct.unpack_from("<I", buffer)
    if protocol == 1:
        if length < 88:
            return {Winsock.WSAEMSGSIZE}
        if 84 + sum(struct.unpack_from("<III", buffer, 72)) > length:
            return {Winsock.WSAEMSGSIZE}
    return {Winsock.WSAEINVAL}


def is_for_windows(buffer: bytes) -> bool:
    """Whether nothing is wrong with it that is told without asking the system."""
    protocol, flags = struct.unpack_from("<II", buffer)
    if flags & ~0x3 or protocol > 1:
        return False
    if protocol == 0:
        return len(buffer) == 8
    ipsec_flags, reserved, reserved2, *strings = struct.unpack_from("<I32x16s4xQIII", buffer, 8)
    return not (ipsec_flags & ~0xF or any(reserved) or reserved2 or any(length % 2 for length in strings))


LENGTHS = st.integers(0, 200)
HEADS = st.sampled_from([struct.pack("<I", p) for p in (0, 1, 2, 3, 0xFFFFFFFF)])


@given(data=st.data(), length=LENGTHS, head=HEADS, rest=st.binary(max_size=200))
def test_buffers_of_any_length_and_content(
    other: socket.socket, data: st.DataObject, length: int, head: bytes, rest: bytes
) -> None:
    buffer = (head + rest).ljust(length, b"\0")[:length]
    if length >= 88 and data.draw(st.booleans()):
        strings = data.draw(st.tuples(*[st.integers(0, 120) | st.integers(0, 2**32 - 1)] * 3))
        buffer = buffer[:72] + struct.pack("<III", *strings) + buffer[84:]
    wanted = expected(buffer, length)
    answer = _wsasec.set_socket_security(other.fileno(), buffer, length)
    if sys.platform == "win32" and wanted == {Winsock.WSAEINVAL} and is_for_windows(buffer):
        return
    assert answer in wanted


def test_release_without_anything_kept() -> None:
    wsasec.release_namespaces()
    wsasec.release_namespaces()


def test_unknown_capability() -> None:
    with pytest.raises(KeyError):
        _wsasec.capability("teleport")
    with pytest.raises(KeyError):
        _wsasec.guard_state("no such profile", socket.AF_INET)


def test_version() -> None:
    assert wsasec.__version__.count(".") == 2


def test_the_public_list() -> None:
    for name in wsasec.__all__:
        assert getattr(wsasec, name) is not None


def test_what_is_loaded_when_it_is_needed() -> None:
    code = """
import sys
late = {"asyncio", "wsasec.policy", "importlib.metadata"} - set(sys.modules)  # an environment may load some
import wsasec
assert not late & set(sys.modules)
assert set(wsasec.__all__) <= set(dir(wsasec))
assert callable(wsasec.aio.connect) and wsasec.policy.Session and wsasec.__version__
assert late <= set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        wsasec.nothing  # noqa: B018
