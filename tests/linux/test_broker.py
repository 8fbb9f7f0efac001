"""Programs without CAP_NET_ADMIN: the key daemon secures their sockets, with the same codes as ever."""

from __future__ import annotations

import array
import errno
import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from told_daemon import FakeDaemon, number_of

import wsasec
from wsasec import (
    BatchError,
    IpsecSettings,
    SecurityError,
    SecurityFlags,
    Settings,
    SocketBatch,
    Winsock,
    _wsasec,
)

Without = Callable[[], AbstractContextManager[None]]


DAEMON = number_of("WSASEC_STEP_DAEMON", "wsasec_step")
REFUSED = number_of("WSASEC_REASON_NOT_ALLOWED", "wsasec_reason")


def is_protected(sock: socket.socket) -> bool:
    """The kernel holds it back, as there is no association."""
    sock.setblocking(False)
    return sock.connect_ex(("127.0.0.1" if sock.family == socket.AF_INET else "::1", 9)) == errno.EAGAIN


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_one(tmp_path: Path, without_net_admin: Without, family: int, kind: int) -> None:
    with FakeDaemon(tmp_path, secure="real") as daemon, socket.socket(family, kind) as sock:
        with without_net_admin():
            wsasec.secure(sock)
            assert _wsasec.profile_of(sock) == "default"
            with pytest.raises(SecurityError, match="secured already"):
                wsasec.secure(sock)
            assert is_protected(sock)
        assert daemon.kinds() == {"SECURE": 1}


@pytest.mark.parametrize("count", [1, 2, 250, 251, 1000])
@pytest.mark.parametrize("method", ["auto", "plain", "threads"])
def test_many(tmp_path: Path, without_net_admin: Without, count: int, method: str) -> None:
    with FakeDaemon(tmp_path, secure="real") as daemon, SocketBatch(count, secure=False) as batch:
        with without_net_admin():
            wsasec.secure_many(batch, method=method)
        for number in batch:
            with socket.socket(fileno=os.dup(number)) as sock:
                assert is_protected(sock)
                assert _wsasec.profile_of(number) == "default"
        if method != "threads":
            assert daemon.kinds()["SECURE"] == -(-count // 250)
        assert sum(descriptors for _, descriptors, *_ in daemon.questions()) == count


def test_a_batch(tmp_path: Path, without_net_admin: Without) -> None:
    with FakeDaemon(tmp_path, secure="real") as daemon:
        with without_net_admin(), SocketBatch(600, bind="127.0.0.1", nodelay=True) as batch:
            for number in batch:
                with socket.socket(fileno=os.dup(number)) as sock:
                    assert sock.getsockname()[0] == "127.0.0.1"
                    assert is_protected(sock)
        assert daemon.kinds() == {"SECURE": 3}


def mixed(stack: list[socket.socket]) -> array.array[int]:
    """Good ones, and one of each kind that is not."""
    made = [socket.socket() for _ in range(300)]
    stack += made
    made[3].bind(("127.0.0.1", 0))
    made[7].bind(("127.0.0.1", 0))
    made[7].listen()
    stack.append(socket.socket(socket.AF_UNIX))
    numbers = array.array("i", [sock.fileno() for sock in made])
    numbers[20] = -1
    numbers[30] = stack[-1].fileno()
    numbers[40] = numbers[39]
    numbers[299] = numbers[0]
    return numbers


def test_the_same_codes(tmp_path: Path, without_net_admin: Without) -> None:
    socks: list[socket.socket] = []
    try:
        direct = wsasec.secure_many(mixed(socks), errors="return")
        with FakeDaemon(tmp_path, secure="real"), without_net_admin():
            numbers = mixed(socks)
            brokered = wsasec.secure_many(numbers, errors="return")
            with pytest.raises(BatchError) as caught:
                wsasec.secure_many(mixed(socks))
        assert brokered == direct
        assert (caught.value.index, caught.value.step) == (3, "state")
    finally:
        for sock in socks:
            sock.close()


def test_settings(tmp_path: Path, without_net_admin: Without) -> None:
    """Strings stay here: the daemon asserts that."""
    with FakeDaemon(tmp_path, secure="real"), without_net_admin():
        with socket.socket() as sock:
            wsasec.secure(
                sock, IpsecSettings(user_name="someone", domain_name="somewhere", password="secret")
            )
            assert is_protected(sock)
        with socket.socket() as sock, socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            wsasec.secure(sock, Settings(SecurityFlags.ALLOW_INSECURE))
            sock.connect(listener.getsockname())


def test_refused(tmp_path: Path, without_net_admin: Without) -> None:
    with FakeDaemon(tmp_path, secure="refuse", refusal=[DAEMON, REFUSED]), without_net_admin():
        with socket.socket() as sock:
            with pytest.raises(SecurityError, match="does not allow this user") as caught:
                wsasec.secure(sock)
            assert caught.value.winsock is Winsock.WSAEACCES
            assert "can send nothing" in caught.value.hint
            with pytest.raises(OSError, match=r"unreachable|No such device"):
                sock.connect(("127.0.0.1", 9))
            with pytest.raises(SecurityError, match="failed before"):
                wsasec.secure(sock)
        with SocketBatch(300, errors="return") as batch:
            assert set(batch) == {-1}
            assert set(batch.codes) == {Winsock.WSAEACCES}


@pytest.mark.parametrize("after", [0, 2])
def test_it_dies(tmp_path: Path, without_net_admin: Without, after: int) -> None:
    with FakeDaemon(tmp_path, secure="die", after=after), SocketBatch(1000, secure=False) as batch:
        with without_net_admin():
            codes = wsasec.secure_many(batch, errors="return")
        assert codes.count(0) == after * 250
        for number in batch:
            with socket.socket(fileno=os.dup(number)) as sock:
                sock.setblocking(False)
                assert sock.connect_ex(("127.0.0.1", 9)) in {errno.EAGAIN, errno.ENODEV, errno.ENETUNREACH}


def test_without_a_daemon(tmp_path: Path, without_net_admin: Without) -> None:
    """As it ever was, but that it says what helps."""
    with without_net_admin(), socket.socket() as sock:
        with pytest.raises(SecurityError, match="needs CAP_NET_ADMIN") as caught:
            wsasec.secure(sock)
        assert (caught.value.step, caught.value.errno) == ("guard", errno.EPERM)
        assert "start the key daemon, wsasec up" in caught.value.hint


def test_nobody_is_asked_who_has_the_privilege(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path, secure="refuse", refusal=[DAEMON, REFUSED]) as daemon, SocketBatch(100):
        assert not daemon.questions()
