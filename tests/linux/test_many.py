"""secure_many: every form of sockets, every report."""

from __future__ import annotations

import array
import pickle
import socket
from collections.abc import Iterator

import pytest

import wsasec
from wsasec import BatchError, SecurityFlags, Settings, Winsock, _wsasec


@pytest.fixture
def socks() -> Iterator[list[socket.socket]]:
    made = [socket.socket() for _ in range(20)]
    yield made
    for sock in made:
        sock.close()


def assert_secured(sock: socket.socket) -> None:
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.connect(("127.0.0.1", 9))


@pytest.mark.parametrize(
    "form",
    [
        lambda socks: socks,
        lambda socks: tuple(socks),
        lambda socks: (sock for sock in socks),
        lambda socks: [sock.fileno() for sock in socks],
        lambda socks: array.array("i", [sock.fileno() for sock in socks]),
        lambda socks: memoryview(array.array("i", [sock.fileno() for sock in socks])),
        lambda socks: memoryview(array.array("i", [sock.fileno() for sock in socks])).toreadonly(),
        lambda socks: memoryview(bytes(array.array("i", [sock.fileno() for sock in socks]))).cast("i"),
    ],
    ids=["list", "tuple", "generator", "numbers", "array", "memoryview", "readonly", "cast"],
)
def test_forms(socks: list[socket.socket], form: object) -> None:
    assert wsasec.secure_many(form(socks)) is None
    for sock in socks:
        assert_secured(sock)


def test_none() -> None:
    assert wsasec.secure_many([]) is None
    assert wsasec.secure_many(array.array("i")) is None
    assert wsasec.secure_many([], errors="return") == array.array("i")


def test_a_slice_of_a_buffer(socks: list[socket.socket]) -> None:
    view = memoryview(array.array("i", [sock.fileno() for sock in socks]))
    wsasec.secure_many(view[5:10])
    for i, sock in enumerate(socks):
        if 5 <= i < 10:
            assert_secured(sock)
        else:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0
    with pytest.raises(TypeError, match="contiguous"):
        wsasec.secure_many(view[::2])


def test_all_are_tried_and_reported(socks: list[socket.socket]) -> None:
    socks[3].bind(("127.0.0.1", 0))
    wsasec.secure(socks[7])
    socks[9].close()
    numbers = [sock.fileno() for sock in socks]
    with pytest.raises(BatchError, match="3 of 20 sockets failed, first index 3") as caught:
        wsasec.secure_many(numbers)
    error = caught.value
    want = [0] * 20
    want[3] = want[7] = Winsock.WSAEINVAL
    want[9] = Winsock.WSAENOTSOCK
    assert list(error.codes) == want
    assert error.index == 3
    assert error.socket == numbers[3]
    assert error.step == "state"
    for i, sock in enumerate(socks):
        if not want[i]:
            assert_secured(sock)
    again = pickle.loads(pickle.dumps(error))
    assert (again.codes, again.index, str(again)) == (error.codes, error.index, str(error))


def test_errors_return(socks: list[socket.socket]) -> None:
    socks[3].bind(("127.0.0.1", 0))
    codes = wsasec.secure_many(socks, Settings(SecurityFlags.GUARANTEE_ENCRYPTION), errors="return")
    assert isinstance(codes, array.array)
    assert codes.typecode == "i"
    assert [i for i, code in enumerate(codes) if code] == [3]
    assert codes[3] == Winsock.WSAEINVAL


def test_the_same_socket_twice(socks: list[socket.socket]) -> None:
    codes = wsasec.secure_many([socks[0], socks[1], socks[0]], errors="return")
    assert list(codes) == [0, 0, Winsock.WSAEINVAL]


def test_mixed_kinds() -> None:
    kinds = [
        (f, t) for f in (socket.AF_INET, socket.AF_INET6) for t in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
    ]
    socks = [socket.socket(*kinds[i % 4]) for i in range(600)]
    wsasec.secure_many(socks)
    for sock in socks:
        assert _wsasec.profile_of(sock) == "default"
        sock.close()


@pytest.mark.parametrize(
    ("sockets", "error"),
    [
        (None, TypeError),
        (5, TypeError),
        ("abc", TypeError),
        (b"abcd", TypeError),
        (bytearray(8), TypeError),
        (array.array("l", [1]), TypeError),
        (array.array("I", [1]), TypeError),
        (memoryview(array.array("i", [1, 2, 3, 4])).cast("B").cast("i", (2, 2)), TypeError),
        ([None], TypeError),
        ([1.5], TypeError),
        ([True], TypeError),
        (["x"], TypeError),
        ([2**31], ValueError),
        ([2**70], ValueError),
    ],
    ids=repr,
)
def test_bad_sockets_touch_nothing(
    socks: list[socket.socket], sockets: object, error: type[Exception]
) -> None:
    if isinstance(sockets, list):
        sockets = [socks[0], *sockets]
    with pytest.raises(error):
        wsasec.secure_many(sockets)
    assert socks[0].getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0


@pytest.mark.parametrize("errors", ["", "ignore", None, 1])
def test_bad_errors_argument(socks: list[socket.socket], errors: object) -> None:
    with pytest.raises(ValueError, match="errors is"):
        wsasec.secure_many(socks, errors=errors)
    assert socks[0].getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0
