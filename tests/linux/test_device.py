"""Sockets on a secure device: what is done to them, and why one is refused."""

from __future__ import annotations

import array
import errno
import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from disconnected import disconnect
from secure_device import SecureDevice, alias, generation, one_call, run
from wire import wait_for

import wsasec
from wsasec import (
    IpsecSettings,
    Profile,
    SecurityError,
    SecurityFlags,
    Settings,
    Winsock,
    profiles,
)

SO_BINDTOIFINDEX = 62
PROFILE = Profile("carried", uuid.UUID(int=0xDE51CE), 0x77, 0x60000000, 0xFF000000, carrier="device")
ON_DEVICE = IpsecSettings(qm_policy=PROFILE.guid)


@pytest.fixture(autouse=True)
def in_use(realm: object) -> None:
    profiles.use(profiles.Profiles({"default": profiles.DEFAULT, PROFILE.name: PROFILE}, profiles.DEFAULT))


@pytest.fixture(params=["several calls", "one call"])
def device(in_use: None, request: pytest.FixtureRequest) -> Iterator[SecureDevice]:
    """By one call, and without: what is refused is told alike."""
    made = SecureDevice(PROFILE)
    with ExitStack() as stack:
        stack.callback(made.close)
        if request.param == "one call":
            stack.enter_context(one_call(PROFILE, made.index))
            with socket.socket(socket.AF_INET6) as first:  # what is ready for it is for IPv4, too
                wsasec.secure(first, ON_DEVICE)
        yield made


def bound_to(sock: socket.socket) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX)


def mark_of(sock: socket.socket) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) & 0xFFFFFFFF


KINDS = [
    (family, kind)
    for family in (socket.AF_INET, socket.AF_INET6)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
]


@pytest.mark.parametrize(("family", "kind"), KINDS)
def test_bound_and_marked(device: SecureDevice, family: int, kind: int) -> None:
    with socket.socket(family, kind) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x00000105)
        wsasec.secure(sock, ON_DEVICE)
        assert bound_to(sock) == device.index
        assert mark_of(sock) == 0x60000105
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        if family == socket.AF_INET6:
            assert not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        with pytest.raises(SecurityError, match="already"):
            wsasec.secure(sock, ON_DEVICE)


def test_packets_go_into_the_device(device: SecureDevice) -> None:
    run("ip", "address", "add", "10.9.0.1/32", "dev", "lo")
    run("ip", "route", "add", "10.9.0.2", "dev", device.name, "src", "10.9.0.1", "table", "57")
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        wsasec.secure(sock, ON_DEVICE)
        sock.sendto(b"to the engine", ("10.9.0.2", 9))
    packets = []
    while packet := device.read():
        packets.append(packet)
    assert any(packet.endswith(b"to the engine") for packet in packets)


def refusal(settings: Settings = ON_DEVICE, family: int = socket.AF_INET) -> SecurityError:
    """Return the error of a socket that is refused, after a look at what is left of it."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        with pytest.raises(SecurityError) as caught:
            wsasec.secure(sock, settings)
        with pytest.raises(OSError) as sent:
            sock.sendto(b"clear", ("127.0.0.1" if family == socket.AF_INET else "::1", 9))
        assert sent.value.errno in (errno.ENETUNREACH, errno.ENODEV, errno.ENETDOWN, errno.EHOSTUNREACH)
    assert caught.value.step == "secure device"
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_datagram_socket_that_was_refused_does_not_get_around_it(family: int, host: str) -> None:
    """Neither by naming an interface for a packet, nor by forgetting what it is connected to."""
    run("ip", "link", "set", "lo", "up")
    lo = socket.if_nametoindex("lo")
    if family == socket.AF_INET:
        level, name, packed = socket.IPPROTO_IP, 8, struct.pack("=i4x4x", lo)  # IP_PKTINFO, struct in_pktinfo
    else:
        level, name, packed = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, bytes(16) + struct.pack("=i", lo)
    with socket.socket(family, socket.SOCK_DGRAM) as peer, socket.socket(family, socket.SOCK_DGRAM) as sock:
        peer.bind((host, 0))
        peer.setblocking(False)
        with pytest.raises(SecurityError) as caught:
            wsasec.secure(sock, ON_DEVICE)
        assert caught.value.winsock == Winsock.WSAENETDOWN
        with pytest.raises(OSError):
            sock.sendmsg([b"around"], [(level, name, packed)], 0, peer.getsockname())
        disconnect(sock)
        with pytest.raises(OSError):
            sock.sendto(b"around", peer.getsockname())
        with pytest.raises(BlockingIOError):
            peer.recv(100)


def test_no_device() -> None:
    error = refusal()
    assert error.winsock == Winsock.WSAENETDOWN
    assert "not in this network namespace" in str(error)


def test_a_device_that_is_down(device: SecureDevice) -> None:
    run("ip", "link", "set", device.name, "down")
    assert "down" in str(refusal())


def test_a_device_of_another_kind() -> None:
    run("ip", "link", "add", PROFILE.device, "type", "veth", "peer", "name", "other")
    run("ip", "link", "set", PROFILE.device, "up", "alias", alias(PROFILE, generation()))
    assert "no secure device" in str(refusal())


def test_a_device_by_another_name(device: SecureDevice) -> None:
    run("ip", "link", "set", device.name, "down")
    run("ip", "link", "set", device.name, "name", "elsewhere")
    run("ip", "link", "property", "add", "dev", "elsewhere", "altname", device.name)
    run("ip", "link", "set", "elsewhere", "up")
    assert "no secure device" in str(refusal())


def test_an_empty_alias(device: SecureDevice) -> None:
    device.say("")
    assert "nobody vouches" in str(refusal())


GOOD = "wsasec/1 reqid=119 mark=0x60000000/0xff000000 nft=%d"


@pytest.mark.parametrize(
    "text",
    [
        "uplink",
        GOOD.replace("wsasec/1", "wsasec/2"),
        GOOD.replace("119", "120"),
        GOOD.replace("119", "0119"),
        GOOD.replace("0x60", "0x61"),
        GOOD.replace("/0xff", "/0xfe"),
        GOOD.replace("0x60000000/", "60000000/"),
        GOOD.replace("%d", ""),
        GOOD.replace("%d", "0%d"),
        GOOD.replace("%d", "+%d"),
        GOOD.replace("%d", "%d "),
        GOOD.replace("%d", "%d more"),
        GOOD.replace("%d", "18446744073709551617"),
        GOOD + " ",
        " " + GOOD,
        GOOD + "x" * 150,
    ],
)
def test_an_alias_that_is_no_voucher(device: SecureDevice, text: str) -> None:
    assert alias(PROFILE, 1) == GOOD % 1
    device.say(text % generation() if "%d" in text else text)
    assert "another's" in str(refusal())


def test_rules_that_changed(device: SecureDevice) -> None:
    run("nft", "add", "table", "inet", "another")
    begin = time.monotonic()
    error = refusal()
    assert "nftables changed" in str(error)
    assert time.monotonic() - begin >= 0.4  # who vouches had time to look again
    device.vouch()
    with socket.socket() as sock:
        wsasec.secure(sock, ON_DEVICE)


def test_rules_that_are_vouched_for_again_meanwhile(device: SecureDevice) -> None:
    told = []

    def vouch_soon() -> None:
        time.sleep(0.1)
        device.vouch()
        told.append(time.monotonic())

    def is_secured(number: int) -> bool:
        run("nft", "add", "table", "inet", f"another{number}")
        told.clear()
        thread = threading.Thread(target=vouch_soon)
        with socket.socket() as sock:
            thread.start()
            try:
                wsasec.secure(sock, ON_DEVICE)
            except wsasec.SecurityError:
                refused = time.monotonic()
                thread.join()
                assert refused < told[0], "it was vouched for, and refused"
                return False
            thread.join()
            assert bound_to(sock) == device.index
        return True

    # On a busy machine that may take longer than secure() waits.
    assert any(is_secured(number) for number in range(20))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_fwmark_reflect_off(device: SecureDevice, family: int) -> None:
    name = "ipv4" if family == socket.AF_INET else "ipv6"
    Path(f"/proc/sys/net/{name}/fwmark_reflect").write_text("0\n")

    def is_seen() -> bool:
        with socket.socket(family) as sock:
            try:
                wsasec.secure(sock, ON_DEVICE)
            except SecurityError:
                return True
        return False

    wait_for(is_seen, "it is looked at, which it is now and then")
    assert "fwmark_reflect" in str(refusal(family=family))
    assert Path(f"/proc/sys/net/{name}/fwmark_reflect").read_text() == "0\n"


def test_allow_insecure_is_protected_all_the_same(device: SecureDevice) -> None:
    with socket.socket() as sock:
        wsasec.secure(sock, IpsecSettings(qm_policy=PROFILE.guid, flags=SecurityFlags.ALLOW_INSECURE))
        assert bound_to(sock) == device.index
        assert mark_of(sock) == PROFILE.mark


def test_skip_installs_nothing(device: SecureDevice) -> None:
    settings = IpsecSettings(qm_policy=PROFILE.guid, ipsec_flags=wsasec.IpsecFlags.SKIP_FILTER_INSTANTIATION)
    with socket.socket() as sock:
        wsasec.secure(sock, settings)
        assert bound_to(sock) == mark_of(sock) == 0


METHODS = ["plain", "threads", "io_uring"]
GONE = (errno.ENETUNREACH, errno.ENODEV, errno.EHOSTUNREACH)


@pytest.mark.parametrize("method", METHODS)
def test_many(device: SecureDevice, method: str) -> None:
    made = [socket.socket(*KINDS[number % 4]) for number in range(300)]
    try:
        try:
            wsasec.secure_many(made, ON_DEVICE, method=method)
        except SecurityError as error:
            if method == "io_uring" and error.winsock == Winsock.WSAEOPNOTSUPP:
                pytest.skip(f"no io_uring here: {error}")
            raise
        assert {bound_to(sock) for sock in made} == {device.index}
        assert {mark_of(sock) for sock in made} == {PROFILE.mark}
    finally:
        for sock in made:
            sock.close()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_batches(device: SecureDevice, method: str, family: int) -> None:
    with wsasec.SocketBatch(200, family=family, settings=ON_DEVICE, method=method) as batch:
        for number in batch:
            with socket.socket(fileno=socket.dup(number)) as sock:
                assert bound_to(sock) == device.index
                assert mark_of(sock) == PROFILE.mark


def test_many_that_are_refused_wait_once(device: SecureDevice) -> None:
    run("nft", "add", "table", "inet", "another")
    made = [socket.socket() for _ in range(2000)]
    begin = time.monotonic()
    try:
        codes = wsasec.secure_many(made, ON_DEVICE, errors="return", method="plain")
    finally:
        for sock in made:
            sock.close()
    assert set(codes) == {Winsock.WSAENETDOWN}
    # A wait for each would take minutes.
    assert time.monotonic() - begin < 60


def outcomes_of(device: SecureDevice, made: list[socket.socket], codes: array.array[int], index: int) -> None:
    """Whatever became of each socket: bound and marked, or refused; and nothing can be reached from it."""
    for sock, code in zip(made, codes, strict=True):
        sock.setblocking(False)
        assert code in (0, Winsock.WSAENETDOWN)
        if code == 0:
            assert (bound_to(sock), mark_of(sock)) == (index, PROFILE.mark)
        with pytest.raises(OSError) as caught:
            sock.connect(("127.0.0.1", 9))
        assert caught.value.errno in GONE


@pytest.mark.parametrize("method", METHODS)
def test_a_device_that_goes_in_the_midst(device: SecureDevice, method: str) -> None:
    made = [socket.socket() for _ in range(3000)]
    index = device.index
    thread = threading.Thread(target=device.close)
    try:
        thread.start()
        codes = wsasec.secure_many(made, ON_DEVICE, errors="return", method=method)
        thread.join()
        outcomes_of(device, made, codes, index)
    finally:
        for sock in made:
            sock.close()


def test_bound_to_what_has_gone(device: SecureDevice) -> None:
    """As where the device goes between the look at it and the binding."""
    index = device.index
    options = wsasec.socket_options(ON_DEVICE, family=socket.AF_INET)
    device.close()
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for option in options:
            sock.setsockopt(*option)
        assert (bound_to(sock), mark_of(sock)) == (index, PROFILE.mark)
        with pytest.raises(OSError) as caught:
            sock.sendto(b"clear", ("127.0.0.1", 9))
        assert caught.value.errno in GONE
        # Another device may get the number: the rules hold what goes by that.
        run("ip", "link", "add", "heir", "index", str(index), "type", "veth", "peer", "name", "end")
        run("ip", "address", "add", "10.9.0.1/24", "dev", "heir")
        run("ip", "link", "set", "heir", "up")
        run("ip", "link", "set", "end", "up")
        with pytest.raises(OSError) as caught:
            sock.sendto(b"clear", ("10.9.0.2", 9))
        assert caught.value.errno in (*GONE, errno.EPERM)


def test_two_carriers_in_one_process(device: SecureDevice) -> None:
    with socket.socket() as one, socket.socket() as other:
        wsasec.secure(one, ON_DEVICE)
        wsasec.secure(other)
        assert (bound_to(one), mark_of(one)) == (device.index, PROFILE.mark)
        assert (bound_to(other), mark_of(other)) == (0, profiles.DEFAULT.mark)
        device.close()
        with socket.socket() as third:
            wsasec.secure(third)


def test_socket_options(device: SecureDevice) -> None:
    options = wsasec.socket_options(ON_DEVICE, family=socket.AF_INET)
    with socket.socket() as sock:
        for option in options:
            sock.setsockopt(*option)
        assert (bound_to(sock), mark_of(sock)) == (device.index, PROFILE.mark)


def test_a_device_made_anew_is_found(device: SecureDevice) -> None:
    with socket.socket() as sock:
        wsasec.secure(sock, ON_DEVICE)
    device.close()
    assert "not in this network namespace" in str(refusal())


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("host", ["::", "fd09::1"])
def test_a_name_restricts_a_socket_to_ipv6(
    device: SecureDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int, host: str
) -> None:
    """As the daemon holds it against peers of one family only; and it cannot be taken back."""
    run("ip", "address", "add", "fd09::1/128", "dev", device.name, "nodad")
    monkeypatch.setenv("WSASEC_RUN", str(tmp_path))  # there is no daemon
    peer = ("::1", 9) if kind == socket.SOCK_DGRAM else None
    with socket.socket(socket.AF_INET6, kind) as sock:
        wsasec.secure(sock, ON_DEVICE)
        if host != "::":  # an address without a port
            sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            sock.bind((host, 0))
        for _ in range(2):
            with pytest.raises(SecurityError, match="no key daemon"):
                wsasec.set_peer_target_name(sock, "server.example", peer=peer)
            assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            assert sock.getsockname()[0] == host
            with pytest.raises(OSError) as caught:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            assert caught.value.errno == errno.EINVAL
            with pytest.raises(OSError) as caught:
                sock.connect(("::ffff:127.0.0.1", 9))
            assert caught.value.errno == errno.ENETUNREACH


def test_a_bound_socket_for_both_families_gets_no_name(device: SecureDevice) -> None:
    with socket.socket(socket.AF_INET6) as sock:
        wsasec.secure(sock, ON_DEVICE)
        sock.bind(("::", 0))
        with pytest.raises(SecurityError, match="IPV6_V6ONLY"):
            wsasec.set_peer_target_name(sock, "server.example")


def test_guard_state(device: SecureDevice) -> None:
    def state() -> int:
        return wsasec._wsasec.guard_state(PROFILE.name, socket.AF_INET)

    assert state() == 0
    run("nft", "add", "table", "inet", "another")
    assert state() == 256
    Path("/proc/sys/net/ipv4/fwmark_reflect").write_text("0\n")
    assert state() == 256 + 4
    device.say("")
    assert state() == 64 + 4
    device.say("uplink")
    run("ip", "link", "set", device.name, "down")
    assert state() == 128 + 32 + 4
    device.close()
    assert state() == 16 + 4
