"""No memory and no threads: wherever it happens, a call fails as a whole and says so, and leaves nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wsasec import _wsasec

SOURCE = Path(__file__).with_name("failing_memory.c")

PRELUDE = """
import ctypes, errno, gc, os, socket, sys, time, warnings
import wsasec
from wsasec import SocketBatch, Winsock, _wsasec, traffic
from wsasec.lab import enter_private_namespaces, missing_privileges, private

warnings.simplefilter("ignore", wsasec.SecurityWarning)
if missing_privileges():
    enter_private_namespaces()
MEMORY, THREADS = 1, 2
shim = ctypes.CDLL(None)
shim.memory_of.argtypes = [ctypes.c_size_t] * 2
shim.memory_arm.argtypes = [ctypes.c_int, ctypes.c_long]
shim.memory_failed.restype = shim.memory_counted.restype = ctypes.c_long
for line in open("/proc/self/maps"):
    area, rights, *_, path = line.split()
    if path == _wsasec.__file__ and "x" in rights:
        shim.memory_of(*(int(end, 16) for end in area.split("-")))
        break
else:
    raise AssertionError("the library has no code")


def left_over():
    '''What a call must not leave: descriptors and threads.'''
    gc.collect()
    return sorted(os.listdir("/proc/self/fd")), sorted(os.listdir("/proc/self/task"))


def sweep(kind, call):
    '''Make a call without the first piece, without the second, ... until it lacks none; return the errors.'''
    first = attempts(kind, call, None)  # with what is made once, and stays for the life of the process
    again = attempts(kind, call, left_over())
    assert len(again) <= len(first)
    return first


def attempts(kind, call, wanted):
    errors = []
    for number in range(1000):
        shim.memory_arm(kind, number)
        error = None
        try:
            call()
        except (wsasec.SecurityError, MemoryError) as caught:
            error = str(caught) or "MemoryError"
            if isinstance(caught, wsasec.SecurityError):
                assert caught.winsock is Winsock.WSAENOBUFS or kind == THREADS, caught
                assert caught.hint
        failed = shim.memory_failed()
        if wanted is not None:
            assert settled(wanted), (number, error, left_over(), wanted)
        if not failed:
            assert error is None, error
            return errors
        errors.append(error)
    raise AssertionError("without end")


def settled(wanted):
    '''A thread that has ended is listed for a moment longer.'''
    deadline = time.monotonic() + 20
    while (same := left_over() == wanted) is False and time.monotonic() < deadline:
        time.sleep(0.002)
    return same
"""


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if not compiler or not SOURCE.exists():
        pytest.skip("no gcc, or no failing_memory.c beside the test")
    library = tmp_path_factory.mktemp("shim") / "failing_memory.so"
    flags = ["-shared", "-fPIC", "-O1", "-fno-builtin"]
    subprocess.run([compiler, *flags, SOURCE, "-o", library], check=True, timeout=60)
    return library


def run(code: str, *words: str, preload: Path, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "LD_PRELOAD": str(preload), **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def available(method: str) -> None:
    failure = _wsasec.method_failure(method)
    if failure:
        pytest.skip(str(failure))


SECURED = """
method, threads = sys.argv[1], 2 if sys.argv[1] == "threads" else 0

def connects(fd):
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.setblocking(False)
        return sock.connect_ex(listener.getsockname()) in (0, errno.EINPROGRESS)

def secure():
    fds = SocketBatch(300, secure=False).detach()
    try:
        wsasec.secure_many(fds, method=method, threads=threads)
        assert not any(map(connects, fds))
    except wsasec.BatchError:
        # It knows of each what became of it: it is secured, or can send nothing at all.
        assert not any(map(connects, fds))
        raise
    finally:
        for fd in fds:
            os.close(fd)

def create():
    with SocketBatch(300, method=method, threads=threads) as batch:
        assert not any(map(connects, batch))

with private("memory"), socket.create_server(("127.0.0.1", 0), backlog=2000) as listener:
    for call in secure, create:
        print(call.__name__, len(sweep(MEMORY, call)))
    # Fewer threads do all the work, the caller's alone if there are none.
    for call in secure, create:
        assert set(sweep(THREADS, call)) <= {None}
"""


@pytest.mark.parametrize(
    "method",
    [
        "plain",
        "threads",
        "auto",
        "io_uring",
    ],
)
def test_securing(shim: Path, method: str) -> None:
    available(method)
    (_, secure), (_, create) = map(str.split, run(SECURED, method, preload=shim))
    # The numbers, the job; and before all else the profiles in use, and what is known of sockets.
    assert int(secure) >= 4
    assert int(create) >= 2


CONNECTED = """
def connect():
    with SocketBatch(300, secure=False) as batch:
        assert batch.connect(address, timeout=60).connected == 300
        assert batch.results.errors == {}

with private("memory"), socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    address = listener.getsockname()
    print(len(sweep(MEMORY, connect)))
"""


def test_connecting(shim: Path) -> None:
    # The batch itself, the connector, its times, and its destinations twice.
    assert int(*run(CONNECTED, preload=shim)) >= 5


LISTENING = """
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[1]]
secure = sys.argv[2] == "secured"

def listen():
    with wsasec.Listener(("127.0.0.1", 0), type=kind, mode="echo", threads=3, secure=secure) as listener:
        shim.memory_failed()  # from now on it lacks nothing
        if not secure:
            check(listener)

def check(listener):
    with socket.socket(type=kind) as sock:
        sock.settimeout(20)
        sock.connect(listener.address)
        sock.send(b"x")
        assert sock.recv(1) == b"x"

def again():
    '''On a socket of the caller's: it stays as it was, and his.'''
    with socket.socket(type=kind) as sock:
        if secure:
            wsasec.secure(sock)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        try:
            wsasec.Listener(sock=sock, type=kind, mode="echo", threads=3, secure=secure).close()
        except wsasec.SecurityError:
            assert (sock.gettimeout(), os.get_blocking(sock.fileno())) == (5, False)
            sock.getsockname()
            raise

with private("memory"):
    for call in listen, again:
        memory, threads = sweep(MEMORY, call), sweep(THREADS, call)
        assert None not in memory + threads
        print(len(memory), len(threads), *set(threads), sep="|")
"""


@pytest.mark.parametrize("secure", ["plain", "secured"])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_listening(shim: Path, kind: str, secure: str) -> None:
    for line in run(LISTENING, kind, secure, preload=shim):
        memory, threads, _ = line.split("|")
        assert int(memory) >= 6  # the listener, its connections, its workers, and three buffers
        assert int(threads) == 3


TRAFFIC = """
kind = socket.SOCK_DGRAM if sys.argv[1] == "datagrams" else socket.SOCK_STREAM
run = getattr(traffic, sys.argv[1])

def go():
    more = {} if run is traffic.stream else {"drain": 0}
    result = run(batch, seconds=0.05, warm_up=0, threads=3, **more)
    assert (result.failed, len(result.errors)) == (0, 9)

with private("memory"), socket.socket(type=kind) as peer:
    peer.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        peer.listen(100)  # and never accepts: the kernel takes what comes
    with SocketBatch(9, type=kind, secure=False) as batch:
        batch.connect(peer.getsockname(), timeout=60)
        memory, threads = sweep(MEMORY, go), sweep(THREADS, go)
        assert None not in memory + threads
        print(len(memory), len(threads), *set(threads), sep="|")
"""


@pytest.mark.parametrize("kind", ["stream", "requests", "datagrams"])
def test_traffic(shim: Path, kind: str) -> None:
    memory, threads, _ = run(TRAFFIC, kind, preload=shim)[0].split("|")
    assert int(memory) >= 3 + 3 * 3  # the run, its message, its threads, and three pieces for each of those
    assert int(threads) == 3


def test_that_there_are_no_threads_is_said(shim: Path) -> None:
    for line in run(TRAFFIC, "stream", preload=shim), run(LISTENING, "tcp", "plain", preload=shim):
        assert "thread" in line[0].split("|")[2]


KEPT = """
with private("memory"), wsasec.Listener(("127.0.0.1", 0), mode="echo", secure=False) as listener:
    address = listener.address
    with socket.create_connection(address) as deaf, socket.create_connection(address) as other:
        listener.wait_accepted(2, 20)
        shim.memory_arm(MEMORY, 0)
        # It takes no echo: the listener has to keep what it could not send.
        deaf.settimeout(20)
        try:
            while True:
                deaf.send(bytes(1 << 16))
        except ConnectionError:
            pass
        assert shim.memory_failed() == 1
        other.settimeout(20)
        other.sendall(b"others go on")
        assert other.recv(100) == b"others go on"
        counts = listener.counts
        print(counts.open, counts.closed, counts.resets)
"""


def test_an_echo_that_cannot_be_kept(shim: Path) -> None:
    """Its connection ends, and no other."""
    assert run(KEPT, preload=shim) == ["1 1 1"]


UNKNOWN = """
with private("memory"), wsasec.Listener(("127.0.0.1", 0), mode="echo", secure=False) as listener:
    shim.memory_arm(MEMORY, 0)
    with socket.create_connection(listener.address), socket.create_connection(listener.address) as other:
        other.settimeout(20)
        other.sendall(b"others go on")
        assert other.recv(100) == b"others go on"
        assert shim.memory_failed() == 1
        counts = listener.counts
        print(counts.accepted, counts.errors, counts.open)
"""


def test_a_connection_that_there_is_no_room_for(shim: Path) -> None:
    """It is counted, and is none of the listener's."""
    assert run(UNKNOWN, preload=shim) == ["1 1 1"]


ALLOCATIONS = """
method, most = sys.argv[1], 4000

def used(count):
    with SocketBatch(count, secure=False) as batch:
        before = shim.memory_counted()
        codes = wsasec.secure_many(batch, method=method, threads=2 if method == "threads" else 0)
        after = shim.memory_counted()
        assert codes is None or not any(codes)
        return after - before

def made(count):
    before = shim.memory_counted()
    batch = SocketBatch(count, method=method, threads=2 if method == "threads" else 0)
    after = shim.memory_counted()
    batch.close()
    return after - before

wsasec.raise_descriptor_limit()
with private("memory"):
    for each in used, made:
        each(most)  # whatever is needed once
        each(most)
        # More at times, where a call lasts long: what is looked for is one for each socket.
        print(*(min(each(count) for _ in range(5)) for count in (most // 2, most)))
"""


@pytest.mark.parametrize("method", ["plain", "threads", "io_uring"])
def test_no_memory_is_asked_for_a_socket(shim: Path, method: str) -> None:
    """Neither by the library nor for an object of the interpreter: all of those are seen here."""
    available(method)
    for line in run(ALLOCATIONS, method, preload=shim, PYTHONMALLOC="malloc"):
        few, many = map(int, line.split())
        assert 0 < few == many
