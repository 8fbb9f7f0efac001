"""Each step that can fail, at one of many: nothing leaks, nothing goes out in clear, the index is told."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wsasec import _wsasec

SOURCE = Path(__file__).with_name("failing.c")

PRELUDE = """
import ctypes, errno, gc, os, socket, struct, sys, warnings
from array import array
import wsasec
from wsasec import _wsasec, BatchError, SocketBatch, Winsock
from wsasec.lab import enter_private_namespaces, missing_privileges, private

warnings.simplefilter("ignore", wsasec.SecurityWarning)
if missing_privileges():
    enter_private_namespaces()

def refused(fd):
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    error = sock.connect_ex(("127.0.0.1", 9))
    sock.detach()
    return error == errno.EAGAIN

def blocked(fd):
    sock = socket.socket(fileno=fd)
    index = sock.getsockopt(socket.SOL_SOCKET, 62)  # SO_BINDTOIFINDEX
    sock.detach()
    return index == 2**31 - 1

def descriptors():
    return sorted(os.listdir("/proc/self/fd"))

def seccomp(number, error):
    '''From now on the system call fails.'''
    allow, load, jump = 0x7FFF0000, 0x20, 0x15
    code = struct.pack("HBBI", load, 0, 0, 0) + struct.pack("HBBI", jump, 0, 1, number)
    code += struct.pack("HBBI", 6, 0, 0, 0x00050000 | error) + struct.pack("HBBI", 6, 0, 0, allow)
    buffer = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.create_string_buffer(program), 0, 0) == 0, ctypes.get_errno()
"""

# One call fails for the socket with the index; or for another, if threads make them out of order.
ONE_FAILS = """
shim = ctypes.CDLL(None)
method, kind, level, name, error, step, code, making, prepared = sys.argv[1:]
fault = (int(kind), int(level), int(name), 77, int(error))
count, code = 300, int(code)

def told(batch_error, codes):
    assert shim.failing_count() == 1
    [index] = [i for i, each in enumerate(codes) if each]
    assert index == 77 or method == "threads", index
    assert codes[index] == code, codes[index]
    if batch_error is not None:
        assert (batch_error.index, batch_error.step, batch_error.winsock) == (index, step, code), batch_error
        assert batch_error.errno == fault[-1]
    return index

with private("faults"):
    wsasec.SocketBatch(600, method=method).close()  # whatever is opened once
    wsasec.SocketBatch(600, method="plain", bind="127.0.0.1").close()
    before = descriptors()
    if making == "True":
        options = {"bind": "127.0.0.1", "nodelay": True, "send_buffer": 9000, "receive_buffer": 9000}
        shim.failing_arm(*fault)
        try:
            SocketBatch(count, method=method, threads=2, **options)
        except BatchError as error:
            told(error, error.codes)
        assert descriptors() == before  # all or none

        shim.failing_arm(*fault)
        with SocketBatch(count, method=method, threads=2, errors="return", **options) as batch:
            index = told(None, batch.codes)
            assert [i for i, fd in enumerate(batch) if fd < 0] == [index]
            assert all(refused(fd) for fd in batch if fd >= 0)
        assert descriptors() == before

    if prepared == "True":
        fds = SocketBatch(count, secure=False).detach()
        shim.failing_arm(*fault)
        try:
            wsasec.secure_many(fds, method=method, threads=2)
        except BatchError as error:
            index = told(error, error.codes)
            assert error.socket == fds[index]
            assert "can send nothing any more" in str(error)
        for i, fd in enumerate(fds):
            assert blocked(fd) if i == index else refused(fd), i
        again = wsasec.secure_many(fds, method=method, errors="return")
        # One that did not even say what it is has no entry; it stays blocked all the same.
        assert {each for i, each in enumerate(again) if i != index} == {Winsock.WSAEINVAL}
        assert blocked(fds[index])
        for fd in fds:
            os.close(fd)
        assert descriptors() == before
print("done")
"""

IP_XFRM_POLICY = 17
SO_NETNS_COOKIE = 71
SO_COOKIE = 57
WSAENOBUFS = 10055
WSAEACCES = 10013
WSAENETDOWN = 10050
SETSOCKOPT, GETSOCKOPT, SOCKET, BIND = 1, 2, 3, 4

# kind, level, name, errno; the step, the code, whether a batch makes that call, and whether secure_many does
FAULTS = {
    "socket": (SOCKET, socket.AF_INET, 0, errno.ENOBUFS, "socket", WSAENOBUFS, True, False),
    "socket-memory": (SOCKET, socket.AF_INET, 0, errno.ENOMEM, "socket", WSAENOBUFS, True, False),
    "socket-forbidden": (SOCKET, socket.AF_INET, 0, errno.EACCES, "socket", WSAEACCES, True, False),
    "identity": (GETSOCKOPT, socket.SOL_SOCKET, SO_COOKIE, errno.ENOMEM, "socket", WSAENOBUFS, True, False),
    "type": (
        GETSOCKOPT,
        socket.SOL_SOCKET,
        socket.SO_TYPE,
        errno.ENOMEM,
        "family and type",
        WSAENOBUFS,
        False,
        True,
    ),
    "mark": (GETSOCKOPT, socket.SOL_SOCKET, socket.SO_MARK, errno.ENOMEM, "state", WSAENOBUFS, False, True),
    "namespace": (
        GETSOCKOPT,
        socket.SOL_SOCKET,
        SO_NETNS_COOKIE,
        errno.ENOMEM,
        "guard",
        WSAEACCES,
        False,
        True,
    ),
    "port": (
        SETSOCKOPT,
        socket.SOL_SOCKET,
        socket.SO_REUSEPORT,
        errno.ENOMEM,
        "exclusive port",
        WSAENOBUFS,
        False,
        True,
    ),
    "policy": (SETSOCKOPT, socket.IPPROTO_IP, IP_XFRM_POLICY, errno.ENOBUFS, "", WSAENOBUFS, True, True),
    "policy-in": (SETSOCKOPT, socket.IPPROTO_IP, IP_XFRM_POLICY, errno.ENOMEM, "", WSAENOBUFS, True, True),
    "set-mark": (SETSOCKOPT, socket.SOL_SOCKET, socket.SO_MARK, errno.ENOMEM, "mark", WSAENOBUFS, True, True),
    "nodelay": (
        SETSOCKOPT,
        socket.IPPROTO_TCP,
        socket.TCP_NODELAY,
        errno.ENOBUFS,
        "socket options",
        WSAENOBUFS,
        True,
        False,
    ),
    "buffer": (
        SETSOCKOPT,
        socket.SOL_SOCKET,
        socket.SO_SNDBUF,
        errno.EPERM,
        "socket options",
        WSAEACCES,
        True,
        False,
    ),
    "bind": (BIND, socket.AF_INET, 0, errno.ENOMEM, "bind", WSAENOBUFS, True, False),
    "bind-forbidden": (BIND, socket.AF_INET, 0, errno.EACCES, "bind", WSAEACCES, True, False),
}


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if not compiler or not SOURCE.exists():
        pytest.skip("no gcc, or no failing.c beside the test")
    library = tmp_path_factory.mktemp("shim") / "failing.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", SOURCE, "-o", library], check=True, timeout=60)
    return library


def run(code: str, *words: str, preload: Path | None = None) -> str:
    environment = {**os.environ, "LD_PRELOAD": str(preload)} if preload else None
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("method", ["plain", "threads"])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_call_fails(shim: Path, fault: str, method: str) -> None:
    kind, level, name, error, step, code, making, prepared = FAULTS[fault]
    program = ONE_FAILS
    if fault.startswith("policy"):
        # Two calls for each socket: the 77th one's first, or its second.
        step = "outbound policy" if fault == "policy" else "inbound policy"
        before = "154" if fault == "policy" else "155"
        program = program.replace("77, int(error)", f"{before}, int(error)")
        if method == "threads":  # whose call it is nobody knows
            program = program.replace("batch_error.step, ", "").replace(
                "(index, step, code)", "(index, code)"
            )
    words = map(str, (kind, level, name, error, step, code, making, prepared))
    assert run(program, method, *words, preload=shim) == "done\n"


@pytest.fixture
def uring() -> None:
    failure = _wsasec.method_failure("io_uring")
    if failure:
        pytest.skip(str(failure))


# What the ring does is not seen by a library; what is done beside it, is.
@pytest.mark.parametrize("fault", ["nodelay", "buffer", "bind", "bind-forbidden"])
def test_one_call_beside_the_ring_fails(shim: Path, fault: str, uring: None) -> None:
    assert run(ONE_FAILS, "io_uring", *map(str, FAULTS[fault]), preload=shim) == "done\n"


RING_BREAKS = """
with private("faults"):
    assert _wsasec.method_failure("io_uring") is None
    SocketBatch(600).close()
    fds = SocketBatch(300, secure=False).detach()
    seccomp(426, int(sys.argv[1]))  # io_uring_enter: the ring is there, and takes nothing
    wsasec.secure_many(fds, method="io_uring")
    assert all(map(refused, fds))
    with SocketBatch(300, method="io_uring") as batch:
        assert all(map(refused, batch))
    for fd in fds:
        os.close(fd)
print("done")
"""


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOMEM, errno.EAGAIN, errno.EBUSY])
def test_a_ring_that_takes_nothing_is_done_without(error: int, uring: None) -> None:
    assert run(RING_BREAKS, str(error)) == "done\n"


NOT_TO_BE_HAD = """
number, error, word = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
seccomp(number, error)
failure = _wsasec.method_failure("io_uring")
assert failure is not None and word in str(failure), failure
before = descriptors()
with private("faults"):
    fds = SocketBatch(1500, raise_limit=True, secure=False).detach()
    for call, what in (wsasec.secure_many, fds), (SocketBatch, 10):
        try:
            call(what, method="io_uring")
        except wsasec.SecurityError as told:
            assert not isinstance(told, BatchError)
            assert str(told) == str(failure)
        else:
            raise AssertionError("it was to be had")
    wsasec.secure_many(fds, method="auto")
    assert all(map(refused, fds))
    assert "io_uring" not in wsasec.method_costs().get("secure", {})
    for fd in fds:
        os.close(fd)
    wsasec.release_namespaces()
print(failure.winsock.name)
"""

SETUP, ENTER = 425, 426


@pytest.mark.parametrize(
    ("number", "error", "word", "winsock"),
    [
        (SETUP, errno.EPERM, "seccomp", "WSAEOPNOTSUPP"),
        (SETUP, errno.ENOSYS, "Linux 6.7", "WSAEOPNOTSUPP"),
        (SETUP, errno.EINVAL, "Linux 6.7", "WSAEOPNOTSUPP"),
        (SETUP, errno.ENOMEM, "RLIMIT_MEMLOCK", "WSAENOBUFS"),
        (SETUP, errno.EMFILE, "RLIMIT_NOFILE", "WSAEMFILE"),
        (SETUP, errno.ENFILE, "fs.file-max", "WSAEMFILE"),
        (ENTER, errno.EPERM, "seccomp", "WSAEOPNOTSUPP"),
    ],
)
def test_why_there_is_no_ring(number: int, error: int, word: str, winsock: str, uring: None) -> None:
    assert run(NOT_TO_BE_HAD, str(number), str(error), word).strip() == winsock


def test_io_uring_is_turned_off(uring: None, tmp_path: Path) -> None:
    """The sysctl is the whole machine's: here it only looks set, and the system call fails as it would."""
    setting = tmp_path / "io_uring_disabled"
    setting.write_text("2\n")
    code = f"""
import subprocess
subprocess.run(["mount", "--bind", {str(setting)!r}, "/proc/sys/kernel/io_uring_disabled"], check=True)
seccomp(425, errno.EPERM)
print(_wsasec.method_failure("io_uring"))
"""
    done = subprocess.run(
        ["unshare", "--mount", "--", sys.executable, "-c", PRELUDE + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "io_uring is turned off" in done.stdout
    assert "kernel.io_uring_disabled" in done.stdout


# --- connections and traffic: the kernel has no memory for a moment ---

UNCONNECTED = """
shim = ctypes.CDLL(None)
secured, error = sys.argv[1] == "secured", int(sys.argv[2])
with private("faults"), socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
    SocketBatch(1).close()  # whatever is opened once
    before = descriptors()
    with SocketBatch(300, secure=secured) as batch:
        # The first socket's only call; later there are two for some, as there is no telling.
        shim.failing_arm(5, int(socket.AF_INET), 0, 0, error)
        report = batch.connect(listener.getsockname(), timeout=2, errors="return")
        assert shim.failing_count() == 1
        others = errno.EAGAIN if secured else 0
        assert list(report.errnos) == [error] + [others] * 299, report.errors
        shim.failing_arm(5, int(socket.AF_INET), 0, 0, error)
        try:
            batch[:1].connect(listener.getsockname(), timeout=1)
        except wsasec.ConnectError as told:
            assert told.errno == error, told
            assert told.winsock is Winsock.WSAENOBUFS, told
        assert shim.failing_count() == 1
        # It is as it was before.
        if not secured:
            assert batch[:1].connect(listener.getsockname(), timeout=20).connected == 1
    assert descriptors() == before
print("done")
"""


@pytest.mark.parametrize("error", [errno.ENOBUFS, errno.ENOMEM])
@pytest.mark.parametrize("secure", ["plain", "secured"])
def test_a_connect_fails(shim: Path, secure: str, error: int) -> None:
    assert run(UNCONNECTED, secure, str(error), preload=shim) == "done\n"


HELD_BACK = """
from wsasec import traffic
shim = ctypes.CDLL(None)
name, error, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
kind = socket.SOCK_DGRAM if name == "datagrams" else socket.SOCK_STREAM
options = {"receive_buffer": 1 << 20} if name == "datagrams" else {}
if name != "stream":
    options["mode"] = "echo"
with private("faults"):
    # In a process of its own: its calls are not to fail.
    told, tell = os.pipe()
    stay, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        with wsasec.Listener(("127.0.0.1", 0), type=kind, secure=False, **options) as listener:
            os.write(tell, str(listener.address[1]).encode())
            os.read(stay, 1)
        os._exit(0)
    with SocketBatch(4, type=kind, secure=False) as batch:
        batch.connect(("127.0.0.1", int(os.read(told, 100))), timeout=20)
        seen = []

        def progress(counts):
            seen.append(counts.sent_bytes)
            if len(seen) == 2:
                shim.failing_times(times)
                shim.failing_arm(7 if name == "datagrams" else 6, 0, 0, 0, error)

        more = {} if name == "stream" else {"drain": 20}
        result = getattr(traffic, name)(batch, seconds=3, warm_up=0, rate=1e6 if name == "stream" else 500,
                                        progress=progress, **more)
        assert shim.failing_count() == times, "they were not met"
        assert (result.failed, result.total.open) == (0, 4), result.errors
        assert result.total.sent_bytes > seen[1], "it did not go on"
        if name == "requests":
            assert (result.unanswered, result.unclean) == (0, ()), result
            assert abs(result.latency.count + result.unsent - 1500) <= 1
    os.close(go)
    assert os.waitpid(child, 0)[1] == 0
print("done")
"""


@pytest.mark.parametrize("kind", ["stream", "requests", "datagrams"])
def test_traffic_goes_on_when_there_is_memory_again(shim: Path, kind: str) -> None:
    def end(error: int, times: int) -> str:
        return run(HELD_BACK, kind, str(error), str(times), preload=shim)

    # At once, each in its own process: all of them wait most of the time.
    with ThreadPoolExecutor() as pool:
        ends = {
            (error, times): pool.submit(end, error, times)
            for error in (errno.ENOBUFS, errno.ENOMEM)
            for times in (1, 5)
        }
    assert {case: each.result() for case, each in ends.items()} == dict.fromkeys(ends, "done\n")
