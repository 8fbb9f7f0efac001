"""Every method leaves sockets that are secured; the checking ones by the core's very system calls."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.linux, pytest.mark.long]

PRELUDE = """
import errno, os, socket, sys, warnings
from array import array
import wsasec
from wsasec.lab import enter_private_namespaces, missing_privileges, private
from wsasec.bench.calls import FAMILIES, TYPES, open_watch, prepare
from wsasec.bench.methods import METHODS, missing
from wsasec.bench.setup_cost import measure

warnings.simplefilter("ignore", wsasec.SecurityWarning)
if missing_privileges():
    enter_private_namespaces()
HERE = [method for method in METHODS if not missing(method)]
"""

SECURED = """
with private("methods"):
    for family in FAMILIES:
        for kind in TYPES:
            host = "::1" if family == "inet6" else "127.0.0.1"
            calls = prepare(family, kind)
            with open_watch() as watch, socket.socket(calls.family, calls.type) as peer:
                peer.bind((host, 0))
                if kind == "stream":
                    peer.listen()
                for method in HERE:
                    if method.group == "teardown":
                        continue
                    run = method.make(calls, watch.fileno())
                    with method.stage(calls, 3) as work:
                        run(work)
                        numbers = work.batch or [sock.fileno() for sock in work.sockets] or work.numbers
                        assert len(numbers) == 3, method.key
                        for number in list(numbers):
                            sock = socket.socket(fileno=os.dup(number))
                            sock.setblocking(False)
                            error = sock.connect_ex(peer.getsockname())
                            mark = sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK, 4)
                            sock.close()
                            if method.key.endswith("_plain"):
                                assert error in (0, errno.EINPROGRESS), (method.key, error)
                                continue
                            assert error == errno.EAGAIN, (method.key, error)
                            assert mark == calls.mark, method.key
                    print(family, kind, method.key)
"""

CLOSED = """
with private("methods"):
    calls = prepare()
    with open_watch() as watch:
        for method in HERE:
            before = sorted(os.listdir("/proc/self/fd"))
            measure(method, method.make(calls, watch.fileno()), calls, 20)
            assert sorted(os.listdir("/proc/self/fd")) == before, method.key
            if method.group == "teardown":
                with method.stage(calls, 3) as work:
                    numbers = list(work.numbers)
                    method.make(calls, watch.fileno())(work)
                    for number in numbers:
                        try:
                            os.fstat(number)
                        except OSError:
                            continue
                        raise AssertionError(f"{method.key} left {number} open")
            print(method.key)
"""

REFUSED = """
with private("methods"):
    calls = prepare()
    with open_watch() as watch:
        for method in HERE:
            if method.group not in ("checks", "one", "effective"):
                continue
            run = method.make(calls, watch.fileno())
            with method.stage(calls, 2) as work:
                work.sockets[1].close()
                try:
                    run(work)
                except OSError:
                    print(method.key)
"""

# os.getppid() is a system call that nothing else here makes: it marks the part to look at. Every 100 ms, and
# in each slice of 50 ms, the core looks at the guard anew: a part that took too long has calls more.
TOO_LONG = 75
TRACED = f"""
import time
key, family, kind, count = *sys.argv[1:4], int(sys.argv[4])
with private("methods"):
    calls = prepare(family, kind)
    with open_watch() as watch:
        [method] = [method for method in METHODS if method.key == key]
        run = method.make(calls, watch.fileno())
        with method.stage(calls, 1) as work:
            run(work)  # whatever is done once in a process
        warm = time.monotonic()
        with method.stage(calls, count) as work:
            began = time.monotonic()
            os.getppid()
            run(work)
            os.getppid()
            ended = time.monotonic()
if ended - warm > 0.08 or ended - began > 0.04:
    sys.exit({TOO_LONG})
"""

CHECKING = [
    "getsockname(SOCKET, 28)",
    "getsockopt(SOCKET, SOL_SOCKET, SO_TYPE, 4)",
    "getsockopt(SOCKET, SOL_SOCKET, SO_COOKIE, 8)",
    "getsockopt(SOCKET, SOL_SOCKET, SO_MARK, 4)",
    "getsockopt(SOCKET, SOL_SOCKET, SO_NETNS_COOKIE, 8)",
    "recvfrom(NETLINK, 1, MSG_PEEK|MSG_DONTWAIT) EAGAIN",
]


def attempt(code: str, *words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-c", PRELUDE + code, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def python(code: str, *words: str) -> str:
    done = attempt(code, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_method_secures() -> None:
    from wsasec.bench.methods import METHODS, missing

    expected = [method.key for method in METHODS if method.group != "teardown" and not missing(method)]
    kinds = [(family, kind) for family in ("inet", "inet6") for kind in ("stream", "dgram")]
    assert python(SECURED).splitlines() == [f"{f} {k} {key}" for f, k in kinds for key in expected]


def test_nothing_stays_open() -> None:
    from wsasec.bench.methods import METHODS, missing

    assert python(CLOSED).split() == [method.key for method in METHODS if not missing(method)]


def test_every_method_reports_a_closed_socket() -> None:
    from wsasec.bench.methods import METHODS, missing

    groups = ("checks", "one", "effective")
    expected = [method.key for method in METHODS if method.group in groups and not missing(method)]
    assert python(REFUSED).split() == expected


def normalized(trace: str) -> list[str]:
    """The system calls between the marks, without numbers of descriptors, addresses and answers."""
    trace = re.sub(r"^\d+ +", "", trace, flags=re.MULTILINE)
    _, part, _ = re.split(r"^getppid\(.*\n", trace, flags=re.MULTILINE)
    calls: list[str] = []
    for line in part.splitlines():
        if found := re.match(r"getsockname\(\d+, .*\[(\d+)(?: => 16)?\]\) = 0$", line):
            calls.append(f"getsockname(SOCKET, {found[1]})")
        elif found := re.match(r"getsockopt\(\d+, (\w+), (\w+), .*, \[(\d+)\]\) = 0$", line):
            calls.append(f"getsockopt(SOCKET, {found[1]}, {found[2]}, {found[3]})")
        elif found := re.match(r"recvfrom\(\d+, 0x\w+, (\d+), ([\w|]+), NULL, NULL\) = -1 (EAGAIN)", line):
            calls.append(f"recvfrom(NETLINK, {found[1]}, {found[2]}) {found[3]}")
        elif found := re.match(r"setsockopt\(\d+, (.*)\) = 0$", line):
            calls.append(f"setsockopt(SOCKET, {found[1]})")
        elif found := re.match(r"socket\((.*)\)\s+= \d+$", line):
            calls.append(f"socket({found[1]})")
        else:
            calls.append(line)
    return calls


def trace(key: str, file: Path, kind: tuple[str, str], count: str = "3", *only: str) -> list[str]:
    if shutil.which("strace") is None:
        pytest.skip("strace is missing: apt-get install strace")
    # So that only those calls take longer that are looked at; without -f there is no --seccomp-bpf.
    strace = ("strace", "-f", "--seccomp-bpf", "-o", str(file), "-xx", "-s", "512", *only)
    for _ in range(10):
        done = attempt(TRACED, key, *kind, count, prefix=strace)
        if done.returncode != TOO_LONG:
            break
    assert done.returncode == 0, done.stderr or "it took too long, again and again"
    return normalized(file.read_text())


TCP4 = ("inet", "stream")
KINDS = [TCP4, ("inet", "dgram"), ("inet6", "stream"), ("inet6", "dgram")]


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


@pytest.fixture(scope="module")
def core_calls(kind: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three sockets, one by one: each has all the calls."""
    return trace("secure", tmp_path_factory.mktemp("strace") / "trace", kind)


def names(kind: tuple[str, str]) -> list[str]:
    policy = "IPV6_XFRM_POLICY" if kind[0] == "inet6" else "IP_XFRM_POLICY"
    return [
        *(["SO_REUSEADDR"] if kind[1] == "dgram" else []),
        "SO_REUSEPORT",
        *(["IPV6_V6ONLY"] if kind[0] == "inet6" else []),
        policy,
        policy,
        "SO_MARK",
    ]


def test_the_core_makes_the_calls_that_the_benchmark_knows(
    core_calls: list[str], kind: tuple[str, str]
) -> None:
    per_socket, rest = divmod(len(core_calls), 3)
    assert rest == 0
    assert core_calls[: len(CHECKING)] == CHECKING
    first = core_calls[:per_socket]
    assert [call.split(",")[2].strip() for call in first[len(CHECKING) :]] == names(kind)
    assert core_calls == first * 3


@pytest.mark.parametrize("key", ["ctypes_checked", "ctypes_untyped"])
def test_the_same_calls_with_the_same_bytes(
    key: str, core_calls: list[str], kind: tuple[str, str], tmp_path: Path
) -> None:
    assert trace(key, tmp_path / "trace", kind) == core_calls


def test_the_loop_makes_the_calls_of_a_batch(
    core_calls: list[str], kind: tuple[str, str], tmp_path: Path
) -> None:
    batch = [call for call in trace("secure_many", tmp_path / "batch", kind) if "affinity" not in call]
    assert trace("floor", tmp_path / "floor", kind) == batch
    first = core_calls[: len(core_calls) // 3]
    others = [call for call in first if not call.startswith("recvfrom")]
    assert batch == first + 2 * others


def test_the_loop_peeks_as_often_as_a_batch(tmp_path: Path) -> None:
    # Nothing else is traced: a call of each socket would take longer than a slice of time.
    for count, peeks in (256, 1), (257, 2), (600, 3):
        only = ("-e", "trace=getppid,recvfrom")
        batch = trace("secure_many", tmp_path / "batch", TCP4, str(count), *only)
        assert trace("floor", tmp_path / "floor", TCP4, str(count), *only) == batch
        assert len(batch) == peeks


def test_the_loop_makes_sockets_as_a_batch_does(kind: tuple[str, str], tmp_path: Path) -> None:
    # The batch also asks, once in a slice of time, which network namespace its sockets are in.
    for count, calls in (8, "socket,recvfrom,setsockopt"), (300, "recvfrom"):
        only = ("-e", f"trace=getppid,{calls}")
        batch = trace("batch", tmp_path / "batch", kind, str(count), *only)
        assert trace("floor_create", tmp_path / "floor", kind, str(count), *only) == batch
        assert sum(call.startswith("socket(") for call in batch) == (count if "socket" in calls else 0)
        assert sum(call.startswith("recvfrom(") for call in batch) == 1 + count // 256


@pytest.mark.parametrize("key", ["query_floor", "query_ctypes", "query_python"])
def test_the_same_questions(key: str, tmp_path: Path) -> None:
    only = ("-e", "trace=getppid,getsockopt")
    asked = trace("query", tmp_path / "query", TCP4, "3", *only)
    assert len(asked) == 3 * 4
    assert trace(key, tmp_path / "trace", TCP4, "3", *only) == asked


@pytest.mark.parametrize("key", ["floor_effective", "ctypes", "ctypes_naive", "setsockopt"])
def test_the_effective_calls_with_the_same_bytes(
    key: str, core_calls: list[str], kind: tuple[str, str], tmp_path: Path
) -> None:
    exclusive = ("SO_REUSEADDR", "SO_REUSEPORT")
    effective = [
        call
        for call in core_calls
        if call.startswith("setsockopt") and call.split(",")[2].strip() not in exclusive
    ]
    assert len(effective) == 3 * len([name for name in names(kind) if name not in exclusive])
    assert trace(key, tmp_path / "trace", kind) == effective
