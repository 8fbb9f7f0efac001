"""One setsockopt() that secures a socket: what it takes, what it leaves alone, and whom."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secure_device import SecureDevice, one_call

import wsasec
from wsasec import IpsecSettings, Profile, profiles
from wsasec.engine import Device, Keeper
from wsasec.engine.one_call import DONE, LEVEL, SECURE, OneCall, _root_of_cgroups
from wsasec.kernel import bpf
from wsasec.lab import Lab

SO_NETNS_COOKIE, SO_BINDTOIFINDEX = 71, 62
PROFILE = Profile("carried", uuid.UUID(int=0x0E), 0x77, 0x60000000, 0xFF000000, carrier="device")
ON_DEVICE = IpsecSettings(qm_policy=PROFILE.guid)
INET, INET6 = socket.AF_INET, socket.AF_INET6
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
UDP_LITE = 136
MPTCP = 262


@pytest.fixture
def device() -> Iterator[SecureDevice]:
    profiles.use(profiles.Profiles({"default": profiles.DEFAULT, PROFILE.name: PROFILE}, profiles.DEFAULT))
    made = SecureDevice(PROFILE)
    yield made
    made.close()


@pytest.fixture
def answering(device: SecureDevice) -> Iterator[SecureDevice]:
    with one_call(PROFILE, device.index):
        yield device


def realm() -> int:
    with socket.socket() as sock:
        return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)


def answer(sock: socket.socket, value: bytes) -> int:
    """Make the one call; return its error number, 0 for none, and DONE where it is done."""
    try:
        sock.setsockopt(LEVEL, SECURE, value)
    except OSError as error:
        return error.errno or -1
    return 0


def ask(sock: socket.socket, device: int, family: int = INET6, *, of: int | None = None) -> int:
    """Make it as it is meant."""
    return answer(sock, struct.pack("=QII", realm() if of is None else of, device, family))


def state(sock: socket.socket) -> tuple[int, int]:
    """Return the mark, and the number of the device."""
    mark, bound = (sock.getsockopt(socket.SOL_SOCKET, each) for each in (socket.SO_MARK, SO_BINDTOIFINDEX))
    return mark & 0xFFFFFFFF, bound


@pytest.mark.parametrize("family", [INET, INET6])
@pytest.mark.parametrize("kind", [STREAM, DGRAM])
def test_what_it_sets(answering: SecureDevice, family: int, kind: int) -> None:
    """The same as several calls set."""
    options = (socket.SO_REUSEADDR, socket.SO_REUSEPORT, socket.SO_MARK, SO_BINDTOIFINDEX)
    found = []
    for way in ("one call", "several"):
        with socket.socket(family, kind) as sock:
            for option in options[:2]:
                sock.setsockopt(socket.SOL_SOCKET, option, 1)
            if way == "one call":
                assert ask(sock, answering.index) == DONE
            else:
                # Not the same socket: one that has a mark is asked for it, and goes the long way.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x105)
                wsasec.secure(sock, ON_DEVICE)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, state(sock)[0] & PROFILE.mask)
            found.append([sock.getsockopt(socket.SOL_SOCKET, option) for option in options])
    assert found[0] == found[1]
    assert found[0][2:] == [PROFILE.mark, answering.index]


def test_what_it_refuses(answering: SecureDevice) -> None:
    """Nothing of it has changed then."""
    made = {
        "raw": socket.socket(INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
        "raw, by IPv6": socket.socket(INET6, socket.SOCK_RAW, socket.IPPROTO_UDP),
        "ICMP": socket.socket(INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "UDP-Lite": socket.socket(INET, DGRAM, UDP_LITE),
        "local": socket.socket(socket.AF_UNIX),
        "netlink": socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "of packets": socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "bound to a port": socket.socket(),
        "bound to a port, UDP": socket.socket(type=DGRAM),
        "bound to an address": socket.socket(),
        "bound to an address, by IPv6": socket.socket(INET6),
        "connected": socket.socket(type=DGRAM),
        "marked": socket.socket(),
        "marked by others": socket.socket(),
    }
    try:
        made["MPTCP"] = socket.socket(INET, STREAM, MPTCP)
    except OSError as error:
        assert error.errno in (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT)  # noqa: PT017
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    made["bound to a port"].bind(("127.0.0.1", 0))
    made["bound to a port, UDP"].bind(("", 0))
    for name, host in (("bound to an address", "127.0.0.1"), ("bound to an address, by IPv6", "::1")):
        made[name].setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        made[name].bind((host, 0))
    made["connected"].connect(("127.0.0.1", 9))
    made["marked"].setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROFILE.mark)
    made["marked by others"].setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 5)
    try:
        for name, sock in made.items():
            before = state(sock)
            assert ask(sock, answering.index) == errno.EPERM, name
            assert state(sock) == before, name
    finally:
        for sock in made.values():
            sock.close()


def test_what_it_is_asked(answering: SecureDevice) -> None:
    """What it was not made for is not its affair, or refused."""
    with socket.socket() as sock, socket.socket(INET6) as sock6:
        assert ask(sock, answering.index + 1) == errno.ENOPROTOOPT
        assert ask(sock, answering.index, of=realm() + 1) == errno.EPERM
        assert ask(sock6, answering.index, INET) == errno.EPERM
        assert ask(sock, answering.index, 0) == DONE  # IPv4 is in whatever was found ready
        for value in (b"", b"short", bytes(15)):
            assert answer(sock, value) == errno.EPERM
        for level, name in ((LEVEL, SECURE + 1), (LEVEL + 1, SECURE)):
            with pytest.raises(OSError, match="not available") as caught:
                sock.setsockopt(level, name, bytes(16))
            assert caught.value.errno == errno.ENOPROTOOPT
        assert state(sock6) == (0, 0)
        # And what others set goes on to the kernel.
        sock6.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert sock6.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        with pytest.raises(OSError, match="not available"):
            sock6.setsockopt(socket.SOL_SOCKET, 9999, 1)
        # Also what is larger than a page, as rules of iptables are.
        for pages in (1, 2, 17):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, struct.pack("=I", 3) + bytes(4096 * pages))
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == 3
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 0)


def test_any_value(answering: SecureDevice) -> None:
    """It is done for what it was made for, whatever comes behind that, and for nothing else."""
    here, index = realm(), answering.index
    good = struct.pack("=QII", here, index, INET)
    values = st.one_of(
        st.binary(max_size=40),
        st.binary(max_size=40).map(lambda rest: good + rest),
        st.tuples(st.integers(0, 15), st.integers(0, 7)).map(
            lambda at: bytes(byte ^ (i == at[0]) << at[1] for i, byte in enumerate(good))
        ),
    )

    @settings(max_examples=300, deadline=None)
    @given(values)
    def one(value: bytes) -> None:
        with socket.socket() as sock:
            number = answer(sock, value)
            # Of the family nothing is asked where the socket is of IPv4.
            if value[:12] == good[:12] and len(value) >= len(good):
                assert (number, state(sock)) == (DONE, (PROFILE.mark, index))
            else:
                assert number in (errno.EPERM, errno.ENOPROTOOPT)
                assert state(sock) == (0, 0)

    one()


@pytest.mark.parametrize(("who", "number"), [("somebody", errno.EPERM), ("root without a privilege", DONE)])
def test_who_is_answered(answering: SecureDevice, who: str, number: int) -> None:
    code = (
        "import os, socket, sys\n"
        f"if {who == 'somebody'}: os.setresuid(65534, 65534, 65534)\n"
        "with socket.socket() as sock:\n"
        f"    try: sock.setsockopt({LEVEL}, {SECURE}, bytes.fromhex(sys.argv[1]))\n"
        "    except OSError as error: print(error.errno, sock.getsockopt(1, 36), sock.getsockopt(1, 62))\n"
    )
    value = struct.pack("=QII", realm(), answering.index, INET).hex()
    lacking = [] if who == "somebody" else ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    words = [*lacking, sys.executable, "-I", "-c", code, value]
    told = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    left = [PROFILE.mark, answering.index] if number == DONE else [0, 0]
    assert told.stdout.split() == [str(each) for each in (number, *left)], told.stderr


def test_another_namespace(answering: SecureDevice) -> None:
    with Lab(keys=False) as lab, lab.a.socket() as sock:
        assert ask(sock, answering.index) == errno.ENOPROTOOPT
        assert ask(sock, answering.index, of=realm()) == errno.ENOPROTOOPT
        assert state(sock) == (0, 0)


def test_it_goes_with_who_keeps_it(device: SecureDevice) -> None:
    with one_call(PROFILE, device.index) as kept, socket.socket() as sock:
        assert ask(sock, device.index) == DONE
        kept.close()
        kept.close()
        assert ask(sock, device.index) == errno.ENOPROTOOPT
    code = (
        "import sys; from wsasec import Profile; from wsasec.engine.one_call import OneCall; import uuid\n"
        "profile = Profile('carried', uuid.UUID(int=1), 0x77, 0x60000000, 0xFF000000)\n"
        f"kept = OneCall(profile, {device.index})\n"
        "print('there', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        with socket.socket() as sock:
            assert ask(sock, device.index) == DONE
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    with socket.socket() as sock:
        assert ask(sock, device.index) == errno.ENOPROTOOPT


SECURED = """
import os, socket, wsasec
from wsasec import profiles, IpsecSettings, Profile
import uuid
profile = Profile("carried", uuid.UUID(int=0x0E), 0x77, 0x60000000, 0xFF000000, carrier="device")
profiles.use(profiles.Profiles({"default": profiles.DEFAULT, profile.name: profile}, profiles.DEFAULT))
settings = IpsecSettings(qm_policy=profile.guid)
kinds = [(f, k) for f in (socket.AF_INET6, socket.AF_INET) for k in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
socks = [socket.socket(*kind) for kind in kinds * 3]
one = socket.socket()
os.getppid()
wsasec.secure_many(socks, settings, method="plain")
os.getppid()
wsasec.secure(one, settings)
os.getppid()
batch = wsasec.SocketBatch(5, settings=settings, method="plain")
os.getppid()
made = [socket.socket(fileno=os.dup(fd)) for fd in batch]
print(*{(s.getsockopt(1, 36), s.getsockopt(1, 62)) for s in (*socks, one, *made)})
"""


def calls(tmp_path: Path) -> tuple[list[list[str]], str]:
    """Return which options were got and set for each of 12 sockets at once, of one, and of 5 of a batch."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing: apt-get install strace")
    log = tmp_path / "log"
    strace = ["strace", "-o", str(log), "-e", "trace=getppid,getsockopt,setsockopt,getsockname"]
    told = subprocess.run(
        [*strace, sys.executable, "-c", SECURED], capture_output=True, text=True, timeout=60, check=True
    )
    _, many, one, batch, _ = re.split(r"^getppid\(.*\n", log.read_text(), flags=re.MULTILINE)
    by_socket: dict[str, list[str]] = {}
    for line in (*many.splitlines(), *one.splitlines(), *batch.splitlines()):
        found = re.match(r"(\w+)\((\d+), [^,]*, (\w+)", line)
        assert found, line
        by_socket.setdefault(found[2], []).append(f"{found[1]} {found[3]}")
    # The first, and what belongs to the look at the namespace, are others.
    return [by_socket[fd] for fd in sorted(by_socket, key=int)], told.stdout


def test_which_calls_are_made(answering: SecureDevice, tmp_path: Path) -> None:
    made, told = calls(tmp_path)
    short = [each for each in made if len(each) == 2]
    # All but the first of all: by that it is found out that the namespace is ready.
    assert len(short) >= 11 + 1 + 4
    for each in short:
        assert re.fullmatch(r"getsockopt SO_COOKIE,setsockopt (0x1|1)", ",".join(each)), each
    assert told == f"({PROFILE.mark}, {answering.index})\n"


def test_which_calls_are_made_without_it(device: SecureDevice, tmp_path: Path) -> None:
    made, told = calls(tmp_path)
    assert [each for each in made if len(each) == 2] == []
    assert sum("setsockopt SO_MARK" in each for each in made) == 12 + 1 + 5
    assert told == f"({PROFILE.mark}, {device.index})\n"


def test_who_is_not_root_takes_several(answering: SecureDevice) -> None:
    """With the privileges that it takes."""
    keep = "import ctypes\nassert ctypes.CDLL(None).prctl(28, 4) == 0\n"  # PR_SET_SECUREBITS: NO_SETUID_FIXUP
    code = keep + "import os\nos.setresuid(65534, 65534, 65534)\n" + SECURED
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert told.stdout == f"({PROFILE.mark}, {answering.index})\n", told.stderr


def others() -> bpf.Assembler:
    """Begin a program of somebody else's, for the option in this thread's namespace; the rest passes."""
    program = bpf.Assembler()
    program.copy(bpf.R6, bpf.R1)
    program.read(bpf.R2, bpf.R6, 24)
    program.go_unless_equal(bpf.R2, LEVEL, "pass")
    program.call(122)  # bpf_get_netns_cookie
    program.set_wide(bpf.R8, realm())
    program.go_unless_same(bpf.R0, bpf.R8, "pass")
    return program


@contextmanager
def attached(program: bpf.Assembler) -> Iterator[None]:
    """Have a program of somebody else's see each setsockopt(), after those that are there."""
    with ExitStack() as stack:
        try:
            loaded = bpf.load(program.program(), "others", bpf.CGROUP_SETSOCKOPT)
        except OSError as error:
            pytest.skip(f"no program for setsockopt() can be had: {error}")
        stack.callback(os.close, loaded)
        root = os.open(_root_of_cgroups(), os.O_RDONLY)
        stack.callback(os.close, root)
        stack.callback(os.close, bpf.attach(loaded, root, bpf.CGROUP_SETSOCKOPT))
        yield


def test_what_says_yes_and_does_nothing(device: SecureDevice) -> None:
    """As any program of others might: it is not believed, and the socket is secured the long way."""
    liar = others()
    liar.write(bpf.R6, 32, -1)
    liar.label("pass")
    liar.leave(1)
    with socket.socket() as first, socket.socket() as sock, attached(liar):
        value = struct.pack("=QII", realm(), device.index, INET)
        first.setsockopt(LEVEL, SECURE, value)
        assert state(first) == (0, 0)
        made = [socket.socket() for _ in range(5)]
        wsasec.secure_many([first, sock, *made], ON_DEVICE)
        assert {state(each) for each in (first, sock, *made)} == {(PROFILE.mark, device.index)}
        for each in made:
            each.close()


@pytest.mark.parametrize(("number", "why"), [(0, "another program"), (errno.ENOTCONN, "secures no socket")])
def test_it_is_tried_first(
    device: SecureDevice, monkeypatch: pytest.MonkeyPatch, number: int, why: str
) -> None:
    """Where what it says does not get through there is none."""
    one_call(PROFILE, device.index).close()
    later = others()
    later.set(bpf.R1, -number)
    later.call(187)  # bpf_set_retval
    later.write(bpf.R6, 32, -1)
    later.label("pass")
    later.leave(1)
    with ExitStack() as stack:

        def attach(*arguments: int) -> int:
            link = bpf.attach(*arguments)
            stack.enter_context(attached(later))
            return link

        monkeypatch.setattr("wsasec.engine.one_call.attach", attach)
        with pytest.raises(OSError, match=why):
            OneCall(PROFILE, device.index)
    with socket.socket() as sock:
        assert ask(sock, device.index) == errno.ENOPROTOOPT


def test_a_program_that_the_kernel_does_not_take() -> None:
    """Its reason is told."""
    wrong = bpf.Assembler()
    wrong.read(bpf.R2, bpf.R1, 24)
    wrong.copy(bpf.R0, bpf.R3)  # which nobody has set
    wrong.leave(1)
    with pytest.raises(OSError, match=r"R3 !read_ok|not permitted"):
        os.close(bpf.load(wrong.program(), "wrong", bpf.CGROUP_SETSOCKOPT))


@pytest.mark.parametrize("wanted", [True, False])
def test_a_keeper_has_it(device: None, wanted: bool) -> None:
    with Lab(keys=False) as lab, lab.a.entered():
        made = Device.create(PROFILE)
        try:
            kept = Keeper(made, one_call=wanted)
            with kept, socket.socket() as sock:
                if wanted and kept.one_call:
                    pytest.skip(f"no program for setsockopt() can be had: {kept.one_call}")
                assert bool(kept.one_call) is not wanted
                assert ask(sock, made.ifindex) == (DONE if wanted else errno.ENOPROTOOPT)
            with socket.socket() as sock:
                assert ask(sock, made.ifindex) == errno.ENOPROTOOPT
        finally:
            made.remove()


def test_without_cgroups(device: SecureDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is as before."""
    monkeypatch.setattr("wsasec.engine.one_call._root_of_cgroups", lambda: Path("/nowhere"))
    with pytest.raises(FileNotFoundError):
        OneCall(PROFILE, device.index)
    with Lab(keys=False) as lab, lab.a.entered():
        made = Device.create(PROFILE)
        try:
            with Keeper(made) as kept:
                assert "nowhere" in kept.one_call
        finally:
            made.remove()
