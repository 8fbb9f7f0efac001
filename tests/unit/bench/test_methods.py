"""Every method leaves sockets that are secured; the checking ones by the core's very system calls."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.linux

PRELUDE = """
import errno, os, socket, sys, warnings
from array import array
import wsasec
from wsasec.lab import enter_private_namespaces, missing_privileges, private
from wsasec.bench.calls import open_watch, prepare
from wsasec.bench.methods import METHODS

warnings.simplefilter("ignore", wsasec.SecurityWarning)
if missing_privileges():
    enter_private_namespaces()

def fresh(count):
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    return sockets, array("i", [sock.fileno() for sock in sockets])
"""

SECURED = """
with private("methods"), socket.socket() as listener, socket.socket() as plain:
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    plain.connect(listener.getsockname())  # there is a route, and an answer
    calls = prepare()
    with open_watch() as watch:
        for method in METHODS:
            run = method.make(calls, watch.fileno())
            sockets, numbers = fresh(3)
            run(sockets, numbers)
            for sock in sockets:
                sock.setblocking(False)
                assert sock.connect_ex(listener.getsockname()) == errno.EAGAIN, method.key
                mark = sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK, 4)
                assert mark == calls.mark, method.key
                sock.close()
            print(method.key)
"""

REFUSED = """
with private("methods"):
    calls = prepare()
    with open_watch() as watch:
        for method in METHODS:
            run = method.make(calls, watch.fileno())
            sockets, numbers = fresh(2)
            sockets[1].close()
            try:
                run(sockets, numbers)
            except OSError:
                print(method.key)
            sockets[0].close()
"""

# os.getppid() is a system call that nothing else here makes: it marks the part to look at.
TRACED = """
key, count = sys.argv[1], int(sys.argv[2])
with private("methods"):
    calls = prepare()
    with open_watch() as watch:
        [method] = [method for method in METHODS if method.key == key]
        run = method.make(calls, watch.fileno())
        sockets, numbers = fresh(1)
        run(sockets, numbers)  # whatever is done once in a process
        sockets, numbers = fresh(count)
        os.getppid()
        run(sockets, numbers)
        os.getppid()
"""

CHECKING = [
    "getsockname(SOCKET, 28)",
    "getsockopt(SOCKET, SOL_SOCKET, SO_TYPE, 4)",
    "getsockopt(SOCKET, SOL_SOCKET, SO_COOKIE, 8)",
    "getsockopt(SOCKET, SOL_SOCKET, SO_MARK, 4)",
    "getsockopt(SOCKET, SOL_SOCKET, SO_NETNS_COOKIE, 8)",
    "recvfrom(NETLINK, 1, MSG_PEEK|MSG_DONTWAIT) EAGAIN",
]


def python(code: str, *words: str, prefix: tuple[str, ...] = ()) -> str:
    done = subprocess.run(
        [*prefix, sys.executable, "-c", PRELUDE + code, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def keys() -> list[str]:
    from wsasec.bench.methods import METHODS

    return [method.key for method in METHODS]


def test_every_method_secures() -> None:
    assert python(SECURED).split() == keys()


def test_every_method_reports_a_closed_socket() -> None:
    assert python(REFUSED).split() == keys()


def normalized(trace: str) -> list[str]:
    """The system calls between the marks, without numbers of descriptors, addresses and answers."""
    _, part, _ = re.split(r"^getppid\(.*\n", trace, flags=re.MULTILINE)
    calls: list[str] = []
    for line in part.splitlines():
        if found := re.match(r"getsockname\(\d+, .*\[(\d+) => 16\]\) = 0$", line):
            calls.append(f"getsockname(SOCKET, {found[1]})")
        elif found := re.match(r"getsockopt\(\d+, (\w+), (\w+), .*, \[(\d+)\]\) = 0$", line):
            calls.append(f"getsockopt(SOCKET, {found[1]}, {found[2]}, {found[3]})")
        elif found := re.match(r"recvfrom\(\d+, 0x\w+, (\d+), ([\w|]+), NULL, NULL\) = -1 (EAGAIN)", line):
            calls.append(f"recvfrom(NETLINK, {found[1]}, {found[2]}) {found[3]}")
        elif found := re.match(r"setsockopt\(\d+, (.*)\) = 0$", line):
            calls.append(f"setsockopt(SOCKET, {found[1]})")
        else:
            calls.append(line)
    return calls


def trace(key: str, file: Path, count: str = "3", *only: str) -> list[str]:
    python(TRACED, key, count, prefix=("strace", "-o", str(file), "-xx", "-s", "512", *only))
    return normalized(file.read_text())


@pytest.fixture(scope="module")
def core_calls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three sockets, one by one: each has all the calls."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing: apt-get install strace")
    return trace("secure", tmp_path_factory.mktemp("strace") / "trace")


def test_the_core_makes_the_calls_that_the_benchmark_knows(core_calls: list[str]) -> None:
    per_socket, rest = divmod(len(core_calls), 3)
    assert rest == 0
    assert core_calls[: len(CHECKING)] == CHECKING
    first = core_calls[:per_socket]
    assert [call.split(",")[2].strip() for call in first[len(CHECKING) :]] == [
        "SO_REUSEPORT",
        "IP_XFRM_POLICY",
        "IP_XFRM_POLICY",
        "SO_MARK",
    ]
    assert core_calls == first * 3


@pytest.mark.parametrize("key", ["ctypes_checked", "ctypes_untyped"])
def test_the_same_calls_with_the_same_bytes(key: str, core_calls: list[str], tmp_path: Path) -> None:
    assert trace(key, tmp_path / "trace") == core_calls


def test_the_loop_makes_the_calls_of_a_batch(core_calls: list[str], tmp_path: Path) -> None:
    batch = trace("secure_many", tmp_path / "batch")
    assert trace("floor", tmp_path / "floor") == batch
    first = core_calls[: len(core_calls) // 3]
    others = [call for call in first if not call.startswith("recvfrom")]
    assert batch == first + 2 * others


def test_the_loop_peeks_as_often_as_a_batch(core_calls: list[str], tmp_path: Path) -> None:
    # Without the calls that the core makes every 100 ms, of which strace lets pass some.
    only = ("-e", "trace=getppid,recvfrom,setsockopt")
    batch = trace("secure_many", tmp_path / "batch", "600", *only)
    assert trace("floor", tmp_path / "floor", "600", *only) == batch
    assert sum(call.startswith("recvfrom") for call in batch) == 3


@pytest.mark.parametrize("key", ["floor_effective", "ctypes", "setsockopt"])
def test_the_effective_calls_with_the_same_bytes(key: str, core_calls: list[str], tmp_path: Path) -> None:
    kinds = ("setsockopt(SOCKET, SOL_IP, IP_XFRM_POLICY,", "setsockopt(SOCKET, SOL_SOCKET, SO_MARK,")
    effective = [call for call in core_calls if call.startswith(kinds)]
    assert len(effective) == 9
    assert trace(key, tmp_path / "trace") == effective
