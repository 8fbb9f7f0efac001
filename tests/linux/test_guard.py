"""The guard: put up once, found again, put up again when it is gone; and what happens where it cannot be."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import uuid

import pytest

import wsasec
from wsasec import SecurityError, Winsock, _wsasec, profiles
from wsasec.kernel.policies import marks_in_use
from wsasec.lab import Namespace

UP, POLICY_MISSING, POLICY_FOREIGN, REFLECT_OFF = 0, 1, 2, 4

FAMILIES = [socket.AF_INET, socket.AF_INET6]
families = pytest.mark.parametrize("family", FAMILIES, ids=["v4", "v6"])


def state(family: int) -> int:
    return _wsasec.guard_state("default", family)


def secure_new(family: int) -> None:
    with socket.socket(family) as sock:
        wsasec.secure(sock)


def blocked(sock: socket.socket) -> bool:
    return sock.getsockopt(socket.SOL_SOCKET, 62) == 2**31 - 1  # SO_BINDTOIFINDEX


@families
def test_put_up_once(realm: Namespace, family: int) -> None:
    assert state(family) == POLICY_MISSING | REFLECT_OFF
    for _ in range(3):
        secure_new(family)
    assert state(family) == UP
    assert realm.policies().count("mark 0x57000000/0xff000000") == 1
    assert realm.sysctl(f"net.ipv{4 if family == socket.AF_INET else 6}.fwmark_reflect") == "1"


def test_its_mark_is_found_in_use(realm: Namespace) -> None:
    """So that no policy of a session gets the numbers of one whose guard is still up."""
    assert marks_in_use() == set()
    for family in FAMILIES:
        secure_new(family)
    assert marks_in_use() == {(0x57000000, 0xFF000000)}


@families
def test_found_again_by_another_process(realm: Namespace, family: int) -> None:
    secure_new(family)
    code = (
        "import warnings; warnings.simplefilter('ignore'); import socket, wsasec; "
        f"wsasec.secure(socket.socket({int(family)}))"
    )
    realm.run([sys.executable, "-c", code])
    assert realm.policies().count("mark 0x57000000/0xff000000") == 1


@families
def test_two_processes_at_once(realm: Namespace, family: int) -> None:
    code = (
        "import warnings; warnings.simplefilter('ignore'); import socket, sys, wsasec\n"
        f"s = socket.socket({int(family)}); sys.stdin.readline(); wsasec.secure(s)"
    )
    processes = [realm.popen([sys.executable, "-c", code], stdin=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        with process:
            assert process.wait(30) == 0
    assert state(family) == UP


@families
def test_flushed_and_noticed(realm: Namespace, family: int) -> None:
    secure_new(family)
    realm.run(["ip", "xfrm", "policy", "flush"])
    assert state(family) == POLICY_MISSING
    secure_new(family)
    assert state(family) == UP


def test_flushed_while_batches_are_secured(realm: Namespace) -> None:
    """Whenever it happens, it is noticed at the next call at the latest."""
    secure_new(socket.AF_INET)
    flushed: list[float] = []
    failures: list[Exception] = []
    secured: list[tuple[float, float]] = []

    def flush_often() -> None:
        try:
            for _ in range(10):
                realm.run(["ip", "xfrm", "policy", "flush"])
                flushed.append(time.monotonic())
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    flush = threading.Thread(target=flush_often)
    flush.start()
    while flush.is_alive():
        socks = [socket.socket() for _ in range(300)]
        began = time.monotonic()
        wsasec.secure_many(socks)
        secured.append((began, time.monotonic()))
        for sock in socks:
            sock.close()
    flush.join()
    assert not failures
    assert len(flushed) == 10
    assert [began for began, _ in secured if flushed[0] < began < flushed[-1]], "they did not meet"
    secure_new(socket.AF_INET)
    assert state(socket.AF_INET) == UP


def test_another_policy_comes_and_goes(realm: Namespace) -> None:
    """Policies of others are no reason to refuse."""
    secure_new(socket.AF_INET)
    realm.run(
        [
            "ip",
            "xfrm",
            "policy",
            "add",
            "src",
            "10.0.0.0/8",
            "dst",
            "10.0.0.0/8",
            "dir",
            "out",
            "action",
            "block",
        ]
    )
    secure_new(socket.AF_INET)
    realm.run(["ip", "xfrm", "policy", "del", "src", "10.0.0.0/8", "dst", "10.0.0.0/8", "dir", "out"])
    secure_new(socket.AF_INET)
    assert state(socket.AF_INET) == UP


@families
@pytest.mark.parametrize(
    "foreign",
    [
        ["tmpl", "proto", "esp", "mode", "transport", "reqid", "5"],
        ["tmpl", "proto", "ah", "mode", "transport", "reqid", "22273"],
        ["tmpl", "proto", "esp", "mode", "transport", "reqid", "22273", "level", "use"],
        ["tmpl", "proto", "esp", "spi", "0x1234", "mode", "transport", "reqid", "22273"],
        ["limit", "time-hard", "100", "tmpl", "proto", "esp", "mode", "transport", "reqid", "22273"],
        ["priority", "7", "tmpl", "proto", "esp", "mode", "transport", "reqid", "22273"],
        ["action", "block"],
        [],
    ],
    ids=["reqid", "ah", "optional", "spi", "limited", "outranked", "block", "no template"],
)
def test_a_foreign_policy_under_the_mark_is_refused(
    realm: Namespace, family: int, foreign: list[str]
) -> None:
    every = "0.0.0.0/0" if family == socket.AF_INET else "::/0"
    where = ["src", every, "dst", every, "dir", "out", "mark", "0x57000000", "mask", "0xff000000"]
    realm.run(["ip", "xfrm", "policy", "add", *where, *foreign])
    assert state(family) == POLICY_FOREIGN | REFLECT_OFF
    with socket.socket(family) as sock:
        with pytest.raises(SecurityError, match="another policy has the mark") as caught:
            wsasec.secure(sock)
        assert caught.value.winsock is Winsock.WSAENETDOWN
        assert caught.value.step == "guard"
        assert caught.value.profile == "default"
        assert "can send nothing" in caught.value.hint
        assert blocked(sock)
    realm.run(["ip", "xfrm", "policy", "del", *where])
    secure_new(family)
    assert state(family) == UP


@families
@pytest.mark.parametrize("protection", [[], ["tmpl", "proto", "esp", "mode", "transport", "reqid", "5"]])
def test_an_older_policy_that_comes_before_the_guard(
    realm: Namespace, family: int, protection: list[str]
) -> None:
    """`ip xfrm policy add` gives priority 0 unless told otherwise, and the oldest of a priority wins."""
    net = "192.0.2.0/24" if family == socket.AF_INET else "2001:db8::/32"
    theirs = ["src", net, "dst", net, "dir", "out"]
    realm.run(["ip", "xfrm", "policy", "add", *theirs, *protection])
    with socket.socket(family) as sock:
        with pytest.raises(SecurityError, match="comes before the profile's guard") as caught:
            wsasec.secure(sock)
        assert caught.value.winsock is Winsock.WSAENETDOWN
        assert blocked(sock)
    assert state(family) & POLICY_FOREIGN
    realm.run(["ip", "xfrm", "policy", "del", *theirs])
    secure_new(family)
    assert state(family) == UP


@families
@pytest.mark.parametrize(
    "theirs", [["priority", "1"], ["mark", "0x58000000", "mask", "0xff000000"], ["action", "block"]], ids=str
)
def test_older_policies_that_do_no_harm(realm: Namespace, family: int, theirs: list[str]) -> None:
    net = "192.0.2.0/24" if family == socket.AF_INET else "2001:db8::/32"
    realm.run(["ip", "xfrm", "policy", "add", "src", net, "dst", net, "dir", "out", *theirs])
    secure_new(family)
    assert state(family) == UP


@families
def test_reflection_switched_off_is_put_on_again(realm: Namespace, family: int) -> None:
    secure_new(family)
    name = f"net.ipv{4 if family == socket.AF_INET else 6}.fwmark_reflect"
    realm.sysctl(name, 0)
    wsasec.release_namespaces()  # instead of waiting for the interval
    secure_new(family)
    assert realm.sysctl(name) == "1"


READ_ONLY = """
import socket, sys, warnings
warnings.simplefilter("ignore")
import wsasec
sock = socket.socket(int(sys.argv[1]))
try:
    wsasec.secure(sock)
except wsasec.SecurityError as error:
    assert error.step == "guard", error
    assert error.winsock == wsasec.Winsock.WSAENETDOWN, error
    assert "fwmark_reflect=1" in error.hint, error
    sock.settimeout(5)
    try:
        sock.connect(("127.0.0.1" if sock.family == socket.AF_INET else "::1", 9))
    except OSError as error:
        print("refused:", error)
        sys.exit(0)
sys.exit(1)
"""


@families
def test_reflection_that_cannot_be_set_is_refused(realm: Namespace, family: int) -> None:
    script = 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"'
    program = [sys.executable, "-c", READ_ONLY, str(int(family))]
    done = realm.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", *program], check=False
    )
    assert done.returncode == 0, done.stderr
    assert "refused" in done.stdout


@families
def test_a_socket_of_another_namespace(realm: Namespace, family: int) -> None:
    """The guard belongs where the socket lives, whatever namespace the calling thread is in."""
    with Namespace("other") as other, other.socket(family) as sock:
        wsasec.secure(sock)
        assert state(family) == POLICY_MISSING | REFLECT_OFF
        with other.entered():
            assert state(family) == UP


FOREIGN = """
import socket, sys
import wsasec
sock = socket.socket(fileno=int(sys.argv[1]))
try:
    wsasec.secure(sock)
except wsasec.SecurityError as error:
    assert error.winsock == wsasec.Winsock.WSAEACCES, error
    assert "namespace cannot be entered" in str(error), error
    assert "can send nothing" in error.hint, error
    print("refused")
"""


def test_a_socket_of_a_namespace_that_cannot_be_entered(realm: Namespace) -> None:
    with Namespace("other") as other, other.socket() as sock:
        without = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
        number = str(sock.fileno())
        done = subprocess.run(
            [*without, sys.executable, "-c", FOREIGN, number],
            pass_fds=[sock.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.strip() == "refused", done.stderr
        assert blocked(sock)


def test_optional_protection_takes_no_look_from_required(realm: Namespace) -> None:
    """However often sockets that may go on in clear are secured, what the others need is seen in time."""
    secure_new(socket.AF_INET)
    realm.sysctl("net.ipv4.fwmark_reflect", 0)
    deadline = time.monotonic() + 10
    while realm.sysctl("net.ipv4.fwmark_reflect") == "0":
        assert time.monotonic() < deadline
        with socket.socket() as sock:
            wsasec.secure(sock, wsasec.Settings(wsasec.SecurityFlags.ALLOW_INSECURE))
        secure_new(socket.AF_INET)


def test_more_namespaces_than_are_kept(realm: Namespace) -> None:
    spaces = [Namespace(f"n{i}") for i in range(7)]
    try:
        for _ in range(2):
            for space in spaces:
                with space.socket() as sock:
                    wsasec.secure(sock)
                with space.entered():
                    assert state(socket.AF_INET) == UP
    finally:
        for space in spaces:
            space.close()


CLOSED = """
import os, socket, warnings
warnings.simplefilter("ignore")
import wsasec
wsasec.secure(socket.socket())
before = set(os.listdir("/proc/self/fd"))
os.closerange(3, 64)
# The numbers of the descriptors that were kept are now the program's own.
files = [os.open("/tmp", os.O_TMPFILE | os.O_RDWR) for _ in range(4)]
for file in files:
    os.write(file, b"0 untouched")
pairs = [socket.socketpair() for _ in range(6)]
for one, two in pairs:
    one.send(b"mine")
    two.send(b"mine")
for _ in range(3):
    wsasec.secure(socket.socket())
wsasec.release_namespaces()
for one, two in pairs:
    assert one.recv(10) == b"mine"
    assert two.recv(10) == b"mine"
for file in files:
    assert os.pread(file, 99, 0) == b"0 untouched"
"""


def test_a_program_that_closes_all_descriptors(realm: Namespace) -> None:
    """Its own files and sockets, which have the numbers now, are neither read, written nor closed."""
    realm.run([sys.executable, "-c", CLOSED])


UNPRIVILEGED = """
import socket, sys
import wsasec
for family in (socket.AF_INET, socket.AF_INET6):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        sock = socket.socket(family, kind)
        try:
            wsasec.secure(sock)
        except wsasec.SecurityError as error:
            assert error.winsock == wsasec.Winsock.WSAEACCES, error
            assert error.errno == 1, error.errno
            assert "needs CAP_NET_ADMIN in the network namespace's user namespace" in str(error), error
            assert "can send nothing" in error.hint, error
        else:
            sys.exit(2)
        try:
            wsasec.secure(sock)
        except wsasec.SecurityError as error:
            assert "failed before" in str(error), error
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        try:
            sock.connect((host, 9))
        except OSError as error:
            print("nothing sent:", error)
        else:
            sys.exit(3)
try:
    wsasec.socket_options(family=socket.AF_INET)
except wsasec.SecurityError as error:
    assert error.winsock == wsasec.Winsock.WSAEACCES
"""


def test_without_privilege_nothing_is_sent(realm: Namespace) -> None:
    without = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    done = realm.run([*without, sys.executable, "-c", UNPRIVILEGED])
    assert done.stdout.count("nothing sent") == 4


def test_two_profiles_have_two_guards(realm: Namespace) -> None:
    other = wsasec.Profile("other", uuid.uuid4(), 0x99, 0x58000000, 0xFF000000)
    profiles.use(profiles.Profiles({"default": profiles.DEFAULT, "other": other}, profiles.DEFAULT))
    with socket.socket() as one, socket.socket() as two:
        wsasec.secure(one)
        wsasec.secure(two, wsasec.IpsecSettings(qm_policy=other))
    listing = realm.policies()
    assert listing.count("mark 0x57000000/0xff000000") == 1
    assert listing.count("mark 0x58000000/0xff000000") == 1
    assert _wsasec.guard_state("other", socket.AF_INET) == UP


def test_looking_changes_nothing(realm: Namespace) -> None:
    for family in FAMILIES:
        assert state(family) == POLICY_MISSING | REFLECT_OFF
    for capability in _wsasec.CAPABILITIES:
        _wsasec.capability(capability)
    assert realm.policies() == ""
    assert realm.sas() == []
    assert realm.sysctl("net.ipv4.fwmark_reflect") == "0"
