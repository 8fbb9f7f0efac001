"""The contract's table of conditions and results, on real sockets."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable

import pytest

import wsasec
from wsasec import (
    IpsecFlags,
    IpsecSettings,
    SecurityError,
    SecurityFlags,
    Settings,
    Winsock,
    _wsasec,
    profiles,
)

FAMILIES = [socket.AF_INET, socket.AF_INET6]
TYPES = [socket.SOCK_STREAM, socket.SOCK_DGRAM]
KINDS = [(family, kind) for family in FAMILIES for kind in TYPES]
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

kinds = pytest.mark.parametrize(("family", "kind"), KINDS, ids=["tcp4", "udp4", "tcp6", "udp6"])


def refused(
    code: Winsock, call: Callable[[], object], text: str = ".", step: str | None = None
) -> SecurityError:
    with pytest.raises(SecurityError, match=text) as caught:
        call()
    assert caught.value.winsock is code
    assert caught.value.hint
    if step is not None:
        assert caught.value.step == step
    return caught.value


def assert_fails_closed(sock: socket.socket) -> None:
    """No SA can exist on this kernel, so a secured socket must refuse to send, at once."""
    host = LOOPBACK[sock.family]
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.connect((host, 9))
    if sock.type == socket.SOCK_DGRAM:
        with pytest.raises(BlockingIOError):
            sock.sendto(b"x", (host, 9))


def assert_untouched(sock: socket.socket) -> None:
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0
    assert sock.getsockopt(socket.SOL_SOCKET, 62) == 0  # SO_BINDTOIFINDEX: not blocked


@kinds
@pytest.mark.parametrize(
    "settings",
    [
        None,
        Settings(),
        Settings(SecurityFlags.GUARANTEE_ENCRYPTION),
        Settings(SecurityFlags.GUARANTEE_ENCRYPTION | SecurityFlags.ALLOW_INSECURE),
        IpsecSettings(),
        IpsecSettings(user_name="ürsula", domain_name="D", password="geheim"),
        IpsecSettings(ipsec_flags=IpsecFlags(0xE)),
        IpsecSettings(qm_policy=profiles.DEFAULT, mm_policy=profiles.DEFAULT),
    ],
    ids=repr,
)
def test_secured_sockets_fail_closed(
    family: int, kind: int, settings: Settings | IpsecSettings | None
) -> None:
    with socket.socket(family, kind) as sock:
        wsasec.secure(sock, settings)
        assert_fails_closed(sock)
        mark = sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) & 0xFFFFFFFF
        assert mark & profiles.DEFAULT.mask == profiles.DEFAULT.mark
        if family == socket.AF_INET6:
            assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


@kinds
def test_a_bound_and_listening_secured_socket(family: int, kind: int) -> None:
    with socket.socket(family, kind) as sock:
        wsasec.secure(sock)
        sock.bind((LOOPBACK[family], 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()


@kinds
def test_the_port_is_exclusive(family: int, kind: int) -> None:
    with socket.socket(family, kind) as sock, socket.socket(family, kind) as other:
        for each in (sock, other):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if kind == socket.SOCK_DGRAM:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wsasec.secure(sock)
        sock.bind((LOOPBACK[family], 0))
        with pytest.raises(OSError, match="in use") as caught:
            other.bind(sock.getsockname())
        assert caught.value.errno == errno.EADDRINUSE


def test_no_socket() -> None:
    read, write = os.pipe()
    try:
        error = refused(Winsock.WSAENOTSOCK, lambda: wsasec.secure(read), step="descriptor")
        assert error.errno == errno.ENOTSOCK
        assert error.socket == read
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("number", [-1, -(2**31), 2**20 - 1, 2**31 - 1, 2**31, 2**62])
def test_no_descriptor(number: int) -> None:
    error = refused(Winsock.WSAENOTSOCK, lambda: wsasec.secure(number), step="descriptor")
    assert error.errno == errno.EBADF


def test_closed_socket() -> None:
    sock = socket.socket()
    sock.close()
    refused(Winsock.WSAENOTSOCK, lambda: wsasec.secure(sock))


@pytest.mark.parametrize("pair", [True, False], ids=["connected", "fresh"])
@pytest.mark.parametrize("kind", [*TYPES, socket.SOCK_SEQPACKET])
def test_wrong_family(pair: bool, kind: int) -> None:
    if pair:
        one, two = socket.socketpair(socket.AF_UNIX, kind)
    else:
        one, two = socket.socket(socket.AF_UNIX, kind), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    with one, two:
        refused(Winsock.WSAEINVAL, lambda: wsasec.secure(one), "AF_INET", "family and type")
        if not pair:
            refused(Winsock.WSAEINVAL, lambda: wsasec.secure(two), "AF_INET", "family and type")


@pytest.mark.parametrize("family", FAMILIES)
def test_wrong_type(family: int) -> None:
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP) as sock:
        refused(Winsock.WSAEINVAL, lambda: wsasec.secure(sock), "SOCK_STREAM", "family and type")
        assert_untouched(sock)


@kinds
def test_connected(family: int, kind: int) -> None:
    with socket.socket(family, kind) as peer, socket.socket(family, kind) as sock:
        peer.bind((LOOPBACK[family], 0))
        if kind == socket.SOCK_STREAM:
            peer.listen()
        sock.connect(peer.getsockname())
        refused(Winsock.WSAEISCONN, lambda: wsasec.secure(sock), "connected", "state")
        assert_untouched(sock)


@kinds
@pytest.mark.parametrize("any_address", [True, False])
def test_bound(family: int, kind: int, any_address: bool) -> None:
    with socket.socket(family, kind) as sock:
        sock.bind(("" if any_address else LOOPBACK[family], 0))
        refused(Winsock.WSAEINVAL, lambda: wsasec.secure(sock), "is bound", "state")
        assert_untouched(sock)


@pytest.mark.parametrize("family", FAMILIES)
def test_listening(family: int) -> None:
    with socket.socket(family) as sock:
        sock.listen()
        refused(Winsock.WSAEINVAL, lambda: wsasec.secure(sock), "listening", "state")
        assert_untouched(sock)


@kinds
@pytest.mark.parametrize(
    "settings",
    [
        None,
        Settings(SecurityFlags.ALLOW_INSECURE),
        IpsecSettings(ipsec_flags=IpsecFlags.SKIP_FILTER_INSTANTIATION),
    ],
    ids=["required", "insecure", "skip"],
)
def test_called_twice(family: int, kind: int, settings: Settings | IpsecSettings | None) -> None:
    with socket.socket(family, kind) as sock:
        wsasec.secure(sock, settings)
        for again in (None, settings):
            refused(Winsock.WSAEINVAL, lambda again=again: wsasec.secure(sock, again), "already", "state")


def test_called_twice_through_another_descriptor() -> None:
    with socket.socket() as sock, sock.dup() as other:
        wsasec.secure(sock)
        refused(Winsock.WSAEINVAL, lambda: wsasec.secure(other), "already")


def test_a_reused_descriptor_number_is_a_new_socket() -> None:
    with socket.socket() as sock:
        number = sock.fileno()
        wsasec.secure(sock)
    with socket.socket() as sock:
        assert sock.fileno() == number
        wsasec.secure(sock)
        assert_fails_closed(sock)


def test_a_check_that_fails_leaves_the_socket_usable() -> None:
    with socket.socket() as sock:
        refused(
            Winsock.WSAEINVAL,
            lambda: wsasec.secure(sock, IpsecSettings(qm_policy=uuid.uuid4())),
            "names no",
            "settings",
        )
        assert_untouched(sock)
        wsasec.secure(sock)
        assert_fails_closed(sock)


def test_many_threads_secure_one_socket() -> None:
    """One call succeeds; what the others get is "already"."""
    for _ in range(30):
        with socket.socket() as sock:
            barrier = threading.Barrier(8)
            results: list[int] = []

            def work(
                sock: socket.socket = sock, barrier: threading.Barrier = barrier, results: list[int] = results
            ) -> None:
                barrier.wait()
                results.append(_wsasec.set_socket_security(sock.fileno(), None, 0))

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(results) == [0] + [Winsock.WSAEINVAL] * 7
            assert_fails_closed(sock)


def test_many_threads_secure_many_sockets() -> None:
    socks = [socket.socket(*KINDS[i % 4]) for i in range(400)]
    errors: list[Exception] = []

    def work(part: list[socket.socket]) -> None:
        try:
            for sock in part:
                wsasec.secure(sock)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(socks[i::8],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for sock in socks:
        assert_fails_closed(sock)
        sock.close()


def _in_child(work: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_after_fork() -> None:
    """The child sees what was secured before, secures its own, and takes nothing from the parent's watch."""
    with socket.socket() as before, socket.socket() as after:
        wsasec.secure(before)

        def child() -> None:
            refused(Winsock.WSAEINVAL, lambda: wsasec.secure(before), "already")
            wsasec.secure(after)
            assert_fails_closed(after)
            with socket.socket() as own:
                wsasec.secure(own)

        _in_child(child)
        # Secured by the child, on the shared socket: known by its mark.
        refused(Winsock.WSAEINVAL, lambda: wsasec.secure(after), "already")
        with socket.socket() as own:
            wsasec.secure(own)


def test_fork_while_other_threads_secure() -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with socket.socket() as sock:
                wsasec.secure(sock)

    def child() -> None:
        with socket.socket() as sock:
            wsasec.secure(sock)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            _in_child(child)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_inherited_by_another_program() -> None:
    with socket.socket() as sock:
        wsasec.secure(sock)
        code = f"""
import warnings; warnings.simplefilter("ignore")
import wsasec
try:
    wsasec.secure({sock.fileno()})
except wsasec.SecurityError as error:
    raise SystemExit(0 if error.step == "state" else 1)
raise SystemExit(2)
"""
        assert (
            subprocess.run([sys.executable, "-c", code], pass_fds=[sock.fileno()], timeout=30).returncode == 0
        )


def test_order_of_checks() -> None:
    """Descriptor, then pointer and length, then family and type, then state, then members."""
    short, bad_member = b"\x01\0\0\0", struct.pack("=II", 3, 0)
    with socket.socket(socket.AF_UNIX) as unix, socket.socket() as bound, socket.socket() as fresh:
        bound.bind(("127.0.0.1", 0))

        def code(number: int, settings: bytes | None, length: int) -> int:
            return _wsasec.set_socket_security(number, settings, length)

        assert code(-1, short, 4) == Winsock.WSAENOTSOCK
        assert code(unix.fileno(), None, 1) == Winsock.WSAEFAULT
        assert code(unix.fileno(), short, 4) == Winsock.WSAEMSGSIZE
        assert code(unix.fileno(), bad_member, 8) == Winsock.WSAEINVAL
        assert code(bound.fileno(), short, 4) == Winsock.WSAEMSGSIZE
        with pytest.raises(SecurityError) as caught:
            wsasec.secure(bound, IpsecSettings(qm_policy=uuid.uuid4()))
        assert caught.value.step == "state"
        assert code(fresh.fileno(), bad_member, 8) == Winsock.WSAEINVAL
        assert_untouched(fresh)


def test_allow_insecure_goes_on_in_clear() -> None:
    for family in FAMILIES:
        with socket.socket(family) as listener, socket.socket(family) as client:
            listener.bind((LOOPBACK[family], 0))
            listener.listen()
            wsasec.secure(client, Settings(SecurityFlags.ALLOW_INSECURE))
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0
            client.connect(listener.getsockname())
            accepted, _ = listener.accept()
            with accepted:
                client.sendall(b"clear")
                assert accepted.recv(5) == b"clear"


def test_skip_filter_instantiation_installs_nothing() -> None:
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        wsasec.secure(client, IpsecSettings(ipsec_flags=IpsecFlags.SKIP_FILTER_INSTANTIATION))
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0
        client.connect(listener.getsockname())


def test_other_bits_of_the_mark_stay() -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x1234)
        wsasec.secure(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == profiles.DEFAULT.mark | 0x1234


def test_guarantee_encryption_refuses_an_integrity_only_profile() -> None:
    weak = wsasec.Profile("weak", uuid.uuid4(), 0x77, 0x11000000, 0xFF000000, encrypting=False)
    profiles.use(profiles.Profiles({"default": profiles.DEFAULT, "weak": weak}, weak))
    guaranteed = SecurityFlags.GUARANTEE_ENCRYPTION
    for settings in (
        Settings(guaranteed),
        IpsecSettings(guaranteed),
        IpsecSettings(guaranteed, qm_policy=weak),
    ):
        with socket.socket() as sock:
            error = refused(
                Winsock.WSAEINVAL, lambda s=settings, k=sock: wsasec.secure(k, s), "integrity-only"
            )
            assert error.profile == "weak"
            assert_untouched(sock)
    with socket.socket() as sock:
        wsasec.secure(sock, IpsecSettings(guaranteed, qm_policy=profiles.DEFAULT))
        assert _wsasec.profile_of(sock) == "default"
    with socket.socket() as sock:
        wsasec.secure(sock)
        assert _wsasec.profile_of(sock) == "weak"
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == weak.mark
        assert_fails_closed(sock)


def test_main_mode_policy_of_another_profile() -> None:
    other = wsasec.Profile("other", uuid.uuid4(), 0x78, 0x12000000, 0xFF000000)
    profiles.use(profiles.Profiles({"default": profiles.DEFAULT, "other": other}, profiles.DEFAULT))
    with socket.socket() as sock:
        refused(
            Winsock.WSAEINVAL,
            lambda: wsasec.secure(sock, IpsecSettings(mm_policy=other)),
            "AuthipMMPolicyKey",
        )
        wsasec.secure(sock, IpsecSettings(qm_policy=other, mm_policy=other))
        assert _wsasec.profile_of(sock) == "other"
