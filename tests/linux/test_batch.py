"""SocketBatch: what it makes, how it is used, and how its sockets come to an end."""

from __future__ import annotations

import array
import errno
import fcntl
import gc
import os
import pickle
import re
import resource
import shutil
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from types import FrameType

import pytest

import wsasec
from wsasec import BatchError, IpsecFlags, IpsecSettings, SecurityError, SocketBatch, Winsock, _wsasec

METHODS = ["plain", "io_uring", "threads"]
SO_NETNS_COOKIE = 71
KINDS = [(f, t) for f in (socket.AF_INET, socket.AF_INET6) for t in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    failure = _wsasec.method_failure(request.param)
    if failure:
        pytest.skip(str(failure))
    return request.param


def mark_of(fd: int) -> int:
    with socket.socket(fileno=os.dup(fd)) as sock:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)


def refused(fd: int, family: int = socket.AF_INET) -> bool:
    """Whether the socket sends nothing for the want of an SA."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    error = sock.connect_ex(("::1" if family == socket.AF_INET6 else "127.0.0.1", 9))
    sock.detach()
    return error == errno.EAGAIN


def is_open(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True


@pytest.mark.parametrize(("family", "kind"), KINDS)
def test_all_are_secured(method: str, family: int, kind: int) -> None:
    with SocketBatch(100, family=family, type=kind, method=method) as batch:
        assert len(batch) == 100
        assert (batch.family, batch.type, batch.closed) == (family, kind, False)
        assert batch.codes == array.array("i", bytes(400))
        assert batch.error is None
        for fd in batch:
            assert _wsasec.profile_of(fd) == "default"
            assert not os.get_blocking(fd)
            assert not os.get_inheritable(fd)
            with pytest.raises(SecurityError, match="secured already"):
                wsasec.secure(fd)
            assert refused(fd, family)
        fds = list(batch)
    assert not any(map(is_open, fds))


def test_plain_sockets(method: str) -> None:
    with SocketBatch(50, secure=False, method=method) as batch:
        assert {mark_of(fd) for fd in batch} == {0}
        assert wsasec.secure_many(batch, method=method) is None
        assert all(map(refused, batch))


def test_settings_are_as_for_secure(method: str) -> None:
    skip = IpsecSettings(ipsec_flags=IpsecFlags.SKIP_FILTER_INSTANTIATION)
    with SocketBatch(40, settings=skip, method=method) as batch:
        assert {mark_of(fd) for fd in batch} == {0}
        assert _wsasec.profile_of(batch[0]) == "default"


def test_options_and_source_addresses(method: str) -> None:
    with SocketBatch(
        40,
        bind=["127.0.0.2", "127.0.0.3"],
        nodelay=True,
        send_buffer=30_000,
        receive_buffer=20_000,
        method=method,
    ) as batch:
        for i, fd in enumerate(batch):
            with socket.socket(fileno=os.dup(fd)) as sock:
                assert sock.getsockname()[0] == f"127.0.0.{2 + i % 2}"
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 60_000
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 40_000
            assert refused(fd)


def test_source_ports() -> None:
    with SocketBatch(3, bind=[("127.0.0.1", 4000 + i) for i in range(3)]) as batch:
        names = [socket.socket(fileno=os.dup(fd)) for fd in batch]
        assert [sock.getsockname()[1] for sock in names] == [4000, 4001, 4002]
        for sock in names:
            sock.close()
        with pytest.raises(BatchError, match="address is in use") as caught:
            SocketBatch(2, bind=("127.0.0.1", 4001))
        assert caught.value.winsock == Winsock.WSAEADDRINUSE
    with pytest.raises(BatchError, match="not one of this host") as caught:
        SocketBatch(2, bind="192.0.2.1")
    assert (caught.value.winsock, caught.value.step) == (Winsock.WSAEADDRNOTAVAIL, "bind")
    with SocketBatch(1, family=socket.AF_INET6, bind="::1") as batch:
        assert refused(batch[0], socket.AF_INET6)


def test_the_first_failure_is_that_of_the_lowest_index(method: str) -> None:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 5150))
        other.bind(("127.0.0.1", 5260))
        ports = [("127.0.0.1", 5000 + i) for i in range(400)]
        for _ in range(5):
            with pytest.raises(BatchError, match="1 of 400 sockets failed, first index 150") as caught:
                SocketBatch(400, bind=ports, method=method, threads=4 if method == "threads" else 0)
            assert [i for i, code in enumerate(caught.value.codes) if code] == [150]
            assert caught.value.step == "bind"
        with SocketBatch(400, bind=ports, method=method, errors="return") as batch:
            assert [i for i, code in enumerate(batch.codes) if code] == [150, 260]
            assert [i for i, fd in enumerate(batch) if fd < 0] == [150, 260]
            assert batch.codes[150] == Winsock.WSAEADDRINUSE
            assert (batch.error.winsock, batch.error.step) == (Winsock.WSAEADDRINUSE, "bind")


def test_they_live_in_the_namespace_of_the_thread(method: str) -> None:
    def namespace_of(sock: socket.socket) -> bytes:
        return sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)

    with SocketBatch(130, method=method) as batch, socket.socket() as here:
        for fd in batch:
            sock = socket.socket(fileno=fd)
            found = namespace_of(sock)
            sock.detach()
            assert found == namespace_of(here)


def test_none() -> None:
    with SocketBatch(0) as batch:
        assert len(batch) == 0
        assert list(batch) == []
        assert batch.sockets() == []
    with SocketBatch(0) as batch:
        assert bytes(memoryview(batch)) == b""
        assert batch.detach() == array.array("i")


def test_it_is_a_sequence_of_descriptors() -> None:
    with SocketBatch(10) as batch:
        fds = list(batch)
        assert [batch[i] for i in range(10)] == fds
        assert [batch[i] for i in range(-10, 0)] == fds
        assert fds[3] in batch
        assert -2 not in batch
        for index in (10, -11, 2**40):
            with pytest.raises(IndexError):
                batch[index]
        for wrong in ("0", 1.0, None):
            with pytest.raises(TypeError):
                batch[wrong]  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            batch[0] = 5  # type: ignore[index]


def test_it_is_a_buffer_of_c_ints() -> None:
    with SocketBatch(10) as batch:
        view = memoryview(batch)
        assert (view.format, view.shape, view.strides, view.itemsize, view.readonly, view.obj) == (
            "i",
            (10,),
            (4,),
            4,
            True,
            batch,
        )
        assert view.tolist() == list(batch)
        assert view[2:5].tolist() == list(batch)[2:5]
        assert array.array("i", bytes(batch)).tolist() == list(batch)
        with pytest.raises(TypeError):
            view[0] = 5
        part = memoryview(batch[4:6])
        assert part.tolist() == list(batch)[4:6]
    assert view.tolist() == [-1] * 10
    assert part.tolist() == [-1] * 2
    del batch
    gc.collect()
    assert view.tolist() == [-1] * 10  # the memory lives as long as somebody looks at it
    assert len(view.obj) == 10


def test_a_slice_is_a_view() -> None:
    batch = SocketBatch(10)
    view = batch[2:8]
    assert isinstance(view, SocketBatch)
    assert list(view) == list(batch)[2:8]
    assert list(view[1:-1]) == list(batch)[3:7]
    assert view[1:3].owner is batch
    assert len(batch[8:2]) == 0
    assert len(view.codes) == 6
    assert (view.family, view.type, view.closed) == (batch.family, batch.type, False)
    with pytest.raises(ValueError, match="step"):
        batch[::2]
    for act in (view.close, view.detach, view.sockets):
        with pytest.raises(ValueError, match="does not own"):
            act()
    with view:
        pass
    assert all(map(is_open, batch))
    fds = list(batch)
    del view, act
    with pytest.warns(ResourceWarning, match="unclosed"):
        del batch
    assert not any(map(is_open, fds))


def test_a_view_keeps_its_batch() -> None:
    view = SocketBatch(10)[2:8]
    gc.collect()
    assert all(map(is_open, view))
    view.owner.close()
    assert view.closed
    assert list(view) == [-1] * 6
    assert view[0] == -1


@pytest.mark.parametrize("part", [slice(0, 4), slice(2, 6)], ids=["first", "later"])
def test_a_view_in_a_cycle_closes_nothing(part: slice) -> None:
    """The garbage collector takes its reference to the batch from it before it is gone."""
    with SocketBatch(8) as batch:
        cycle: list[object] = [batch[part]]
        cycle.append(cycle)
        del cycle
        gc.collect()
        assert all(map(is_open, batch))


def test_a_batch_in_a_cycle_is_closed() -> None:
    batch = SocketBatch(8)
    fds = list(batch)
    cycle: list[object] = [batch[2:6]]
    cycle.append(cycle)
    del cycle, batch
    with pytest.warns(ResourceWarning, match="unclosed"):
        gc.collect()
    assert not any(map(is_open, fds))


def test_sockets_own_their_descriptors() -> None:
    batch = SocketBatch(5, type=socket.SOCK_DGRAM)
    fds = list(batch)
    socks = batch.sockets()
    assert [sock.fileno() for sock in socks] == fds
    assert {(sock.family, sock.type, sock.gettimeout()) for sock in socks} == {
        (socket.AF_INET, socket.SOCK_DGRAM, None)
    }
    assert batch.closed
    assert list(batch) == [-1] * 5
    batch.close()
    assert all(map(is_open, fds))
    for sock in socks:
        sock.close()
    for act in (batch.sockets, batch.detach):
        with pytest.raises(ValueError, match="closed"):
            act()


def test_sockets_that_cannot_be_made_are_all_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(socket.socket):
        left = 3

        def __init__(self, *arguments: object) -> None:
            if not Failing.left:
                raise MemoryError
            Failing.left -= 1
            super().__init__(*arguments)

    batch = SocketBatch(5)
    fds = list(batch)
    monkeypatch.setattr(socket, "socket", Failing)
    with pytest.raises(MemoryError):
        batch.sockets()
    assert not any(map(is_open, fds))


def test_ctrl_c_among_sockets_leaks_none_and_closes_none_twice() -> None:
    """At each instruction that turns a descriptor into a socket; from Python 3.12 on, at each line."""
    # Since then a tracer that asks for instructions while it is called is not told of them.
    unit, least = ("opcode", 50) if sys.version_info < (3, 12) else ("line", 8)
    code = SocketBatch.sockets.__code__
    left = 0

    def trace(frame: FrameType, event: str, _: object) -> object:
        nonlocal left
        inside = frame.f_code in (code, socket.socket.__init__.__code__)
        frame.f_trace_opcodes = inside
        if event == unit and (frame.f_locals | frame.f_back.f_locals).get("number") == fds[0]:
            left -= 1
            if not left:
                raise KeyboardInterrupt
        return trace if inside else None

    fds: list[int] = []
    for step in range(1, 1000):
        batch = SocketBatch(2, secure=False)
        fds = list(batch)
        left = step
        sys.settrace(trace)
        try:
            socks = batch.sockets()
        except KeyboardInterrupt as interrupt:
            sys.settrace(None)
            assert not any(map(is_open, fds)), step
            others = [socket.socket() for _ in fds]  # they have the numbers now
            assert sorted(sock.fileno() for sock in others) == sorted(fds)
            interrupt.__traceback__ = None  # the last that knows the objects
            for sock in others:
                sock.getsockname()
                sock.close()
        else:
            sys.settrace(None)
            break
    for sock in socks:
        sock.close()
    assert step > least


def test_a_descriptor_that_was_closed_elsewhere_keeps_none_open() -> None:
    batch = SocketBatch(3, secure=False)
    fds = list(batch)
    os.close(fds[1])
    with pytest.raises(OSError, match="Bad file descriptor"):
        batch.sockets()
    assert not any(map(is_open, fds))


def test_detach() -> None:
    with SocketBatch(5) as batch:
        fds = batch.detach()
        assert batch.closed
    assert isinstance(fds, array.array)
    assert all(map(is_open, fds))
    for fd in fds:
        os.close(fd)


def test_close_twice_and_repr() -> None:
    batch = SocketBatch(5)
    assert repr(batch) == "<SocketBatch of 5 AF_INET SOCK_STREAM, open>"
    assert "view" in repr(batch[1:2])
    batch.close()
    batch.close()
    assert repr(batch) == "<SocketBatch of 5 AF_INET SOCK_STREAM, closed>"


def test_it_does_not_travel() -> None:
    with SocketBatch(2) as batch, pytest.raises(TypeError, match="send_fds"):
        pickle.dumps(batch)


def test_a_forgotten_batch_is_closed_and_told() -> None:
    fds = list(batch := SocketBatch(5))
    with pytest.warns(ResourceWarning, match="unclosed <SocketBatch of 5"):
        del batch
    assert not any(map(is_open, fds))


def test_a_failed_batch_is_not_told() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(BatchError):
            SocketBatch(5, bind="192.0.2.1")
        gc.collect()


@pytest.fixture
def few_descriptors() -> int:
    """Leaves some hundred descriptors; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    yield 300
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_descriptor_limit(few_descriptors: int, method: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with pytest.raises(BatchError, match=r"no file descriptor left after \d+ of 400 sockets") as caught:
        SocketBatch(400, method=method)
    error = caught.value
    assert (error.winsock, error.errno, error.step) == (Winsock.WSAEMFILE, errno.EMFILE, "socket")
    assert "the limit is 300 descriptors a process (RLIMIT_NOFILE)" in str(error)
    assert f"raise_limit=True raises it to the hard limit of {hard}" in str(error)
    assert 200 < int(re.search(r"after (\d+) of", str(error))[1]) < 300
    assert error.index > 200 or method == "threads"
    assert [i for i, code in enumerate(error.codes) if code] == [error.index]
    with SocketBatch(400, errors="return", method=method) as batch:
        kept = [fd for fd in batch if fd >= 0]
        assert 200 < len(kept) < 300
        assert [code != 0 for code in batch.codes] == [fd < 0 for fd in batch]
        assert set(batch.codes) == {0, Winsock.WSAEMFILE}
        assert isinstance(batch.error, SecurityError)
        assert str(batch.error).startswith("[WSAEMFILE 10024] no file descriptor left after ")
        assert "(RLIMIT_NOFILE)" in batch.error.hint
        assert batch[:1].error is batch.error
        assert all(map(refused, kept))
        codes = wsasec.secure_many(batch, errors="return")
        assert [code == Winsock.WSAENOTSOCK for code in codes] == [fd < 0 for fd in batch]
    with SocketBatch(400, raise_limit=True, method=method) as batch:
        assert min(batch) >= 0
    assert wsasec.raise_descriptor_limit() == hard


def test_at_the_hard_limit_the_remedy_is_another() -> None:
    code = """
import resource, warnings, wsasec
warnings.simplefilter("ignore")
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
try:
    wsasec.SocketBatch(200, secure=False, raise_limit=True)
except wsasec.BatchError as error:
    print(error)
"""
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert re.search(r"after 9\d of 200 sockets.*raise the hard limit \(ulimit -Hn", told.stdout), told


def test_reserved_ports_have_their_own_words() -> None:
    code = """
import os, warnings, wsasec
warnings.simplefilter("ignore")
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
try:
    wsasec.SocketBatch(2, secure=False, bind=("127.0.0.1", 1))
except wsasec.BatchError as error:
    print(error.winsock, error)
"""
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "10013" in told.stdout
    assert "port is reserved for privileged programs" in told.stdout
    assert "CAP_NET_ADMIN" not in told.stdout


def test_rows_are_closed_by_one_call(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is missing: apt-get install strace")
    code = """
import os, wsasec
batch = wsasec.SocketBatch(300, secure=False)
gap = batch[150]
os.getppid()
batch.close()
os.getppid()
"""
    log = tmp_path / "log"
    only = "trace=getppid,close,close_range"
    subprocess.run(["strace", "-o", log, "-e", only, sys.executable, "-c", code], timeout=60, check=True)
    _, part, _ = re.split(r"^getppid\(.*\n", log.read_text(), flags=re.MULTILINE)
    assert re.fullmatch(r"close_range\(\d+, \d+, 0\) += 0\n", part), part


def test_many_threads_have_batches_of_their_own(method: str) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                with SocketBatch(200, method=method) as batch:
                    assert all(map(refused, batch))
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


def test_many_threads_close_one_batch() -> None:
    """Each descriptor is closed once: a number that somebody else has by then is his."""
    for _ in range(20):
        batch = SocketBatch(300, secure=False)
        barrier = threading.Barrier(4, timeout=30)
        failures: list[BaseException] = []

        def work(batch=batch, barrier=barrier, failures=failures) -> None:  # type: ignore[no-untyped-def]
            barrier.wait()
            try:
                batch.close()
                mine = [socket.socket() for _ in range(30)]
                for sock in mine:
                    sock.getsockname()
                    sock.close()
            except OSError as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failures


def test_closed_or_given_away_but_not_both() -> None:
    for _ in range(20):
        batch = SocketBatch(100, secure=False)
        fds = list(batch)
        barrier = threading.Barrier(2, timeout=30)
        given: list[array.array[int]] = []

        def work(batch=batch, barrier=barrier, given=given) -> None:  # type: ignore[no-untyped-def]
            barrier.wait()
            try:
                given.append(batch.detach())
            except ValueError:
                given.append(array.array("i"))

        thread = threading.Thread(target=work)
        thread.start()
        barrier.wait()
        batch.close()
        thread.join(60)
        assert [is_open(fd) for fd in fds] == [bool(given[0])] * 100
        for fd in given[0]:
            os.close(fd)


def test_a_child_of_fork_has_its_own(method: str) -> None:
    with SocketBatch(100, method=method) as batch:
        for act in ("close", "leave", "make"):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    if act == "close":
                        batch.close()
                    if act == "make":
                        with SocketBatch(100, method=method) as own:
                            status = not all(map(refused, own))
                    else:
                        status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0, act
            assert all(map(refused, batch)), act


@pytest.mark.parametrize("more", ["", "view = batch[1:5]", "look = memoryview(batch)", "batch.self = batch"])
def test_a_batch_that_lives_when_the_interpreter_ends(more: str) -> None:
    code = f"""
import warnings, wsasec
warnings.simplefilter("always")
batch = wsasec.SocketBatch(500, secure=False)
{more}
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if not more:
        assert "ResourceWarning: unclosed <SocketBatch of 500" in done.stderr
