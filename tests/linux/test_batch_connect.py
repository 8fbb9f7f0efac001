"""SocketBatch.connect() on the host's kernel: plain sockets on loopback, and secured ones without an SA."""

from __future__ import annotations

import array
import errno
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wsasec
from wsasec import ConnectError, ConnectReport, Histogram, SecurityError, SocketBatch, Winsock, _wsasec
from wsasec.connections import unfold
from wsasec.lab import Namespace

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
families = pytest.mark.parametrize(("family", "host"), FAMILIES, ids=["v4", "v6"])
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
NOWHERE = "192.0.2.1"
LONG = 60.0
"""Seconds that no test waits for, unless something is wrong."""


@contextmanager
def listening(
    family: int = socket.AF_INET, host: str = "127.0.0.1", backlog: int = 4096
) -> Iterator[socket.socket]:
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen(backlog)
        yield listener


def plain(n: int, **more: Any) -> SocketBatch:
    return SocketBatch(n, secure=False, **more)


def peers(batch: SocketBatch) -> list[Any]:
    """Ask each socket for its peer, None where it has none."""
    found: list[Any] = []
    for number in batch:
        with socket.socket(fileno=os.dup(number)) as sock:
            try:
                found.append(sock.getpeername())
            except OSError:
                found.append(None)
    return found


@pytest.fixture
def hole(realm: Namespace) -> str:
    """An address from which there is never an answer."""
    realm.run(["ip", "link", "add", "hole", "type", "veth", "peer", "name", "bottom"])
    realm.run(["ip", "link", "set", "hole", "up"])
    realm.run(["ip", "address", "add", "192.0.2.2/24", "dev", "hole"])
    realm.run(["ip", "neighbour", "add", NOWHERE, "lladdr", "02:00:00:00:00:01", "dev", "hole"])
    return NOWHERE


# --- plain sockets ---


@families
@pytest.mark.parametrize("concurrency", [0, 1, 7, 4096])
def test_all_are_connected(family: int, host: str, concurrency: int) -> None:
    with listening(family, host) as listener, plain(300, family=family) as batch:
        report = batch.connect(listener.getsockname(), timeout=LONG, concurrency=concurrency)
        assert peers(batch) == [listener.getsockname()] * 300
    assert report is batch.results
    assert (report.connected, report.failed, report.errors) == (300, 0, {})
    assert report.errnos == array.array("i", bytes(4 * 300))
    assert report.latency.count == 300
    assert (report.waited_for_sa, report.without_sa, report.sa_wait.count) == (0, 0, 0)
    assert report.latency.maximum <= report.seconds * 1e6
    assert report.rate == pytest.approx(300 / report.seconds)


def test_addresses_are_taken_in_turn() -> None:
    with listening() as first, listening(host="127.0.0.2") as second, plain(7) as batch:
        batch.connect([first.getsockname(), second.getsockname()], timeout=LONG)
        wanted = [(first, second)[i % 2].getsockname() for i in range(7)]
        assert peers(batch) == wanted


def test_a_range_of_ports() -> None:
    with plain(7, type=DGRAM) as batch:
        batch.connect([("127.0.0.1", range(7000, 7003)), ("127.0.0.2", 9)], timeout=LONG)
        ports = [7000, 7001, 7002, 9, 7000, 7001, 7002]
        assert [peer[1] for peer in peers(batch)] == ports


@families
def test_datagrams(family: int, host: str) -> None:
    with plain(20, family=family, type=DGRAM) as batch:
        report = batch.connect((host, 9), timeout=LONG)
        assert [peer[:2] for peer in peers(batch)] == [(host, 9)] * 20
        assert report.connected == report.latency.count == 20
        assert batch.connect((host, 10)).connected == 20
        assert [peer[:2] for peer in peers(batch)] == [(host, 10)] * 20


@families
def test_refused(family: int, host: str) -> None:
    with plain(50, family=family) as batch:
        with pytest.raises(ConnectError) as caught:
            batch.connect((host, 9), timeout=LONG)
        error = caught.value
        assert error.report is batch.results
        assert (error.winsock, error.errno) == (Winsock.WSAECONNREFUSED, errno.ECONNREFUSED)
        assert (error.index, error.socket, error.step) == (0, batch[0], "connect")
        assert set(error.codes) == {Winsock.WSAECONNREFUSED}
        assert str(error).startswith("50 of 50 sockets failed, first index 0: [WSAECONNREFUSED 10061]")
        assert f"cannot connect to {host}:9" in str(error)
        assert "start the server" in error.hint
        # As it was before: it can be connected once there is somebody.
        with listening(family, host) as listener:
            assert batch.connect(listener.getsockname(), timeout=LONG).connected == 50


def test_some_refused() -> None:
    with listening() as listener, plain(9) as batch:
        addresses = [listener.getsockname(), ("127.0.0.1", 9), listener.getsockname()]
        report = batch.connect(addresses, timeout=LONG, errors="return")
        assert list(report.errnos) == [0, errno.ECONNREFUSED, 0] * 3
        assert (report.connected, report.failed) == (6, 3)
        assert report.errors == {"ECONNREFUSED": 3}
        with pytest.raises(ConnectError) as caught:
            batch[:3].connect(("127.0.0.1", 9), timeout=LONG)
        assert (caught.value.index, list(caught.value.codes)[1]) == (0, Winsock.WSAECONNREFUSED)


def test_unreachable() -> None:
    with plain(3) as batch:
        report = batch.connect((NOWHERE, 9), timeout=LONG, errors="return")
    assert report.errors == {"ENETUNREACH": 3}


def test_no_answer(hole: str) -> None:
    with plain(300) as batch:
        report = batch.connect((hole, 9), timeout=0.3, errors="return")
        assert report.errors == {"ETIMEDOUT": 300}
        assert 0.3 <= report.seconds < 5
        with pytest.raises(ConnectError, match="no answer until the deadline") as caught:
            batch.connect((hole, 9), timeout=1.0)
        assert not isinstance(caught.value, TimeoutError)
        assert caught.value.winsock is Winsock.WSAETIMEDOUT


def test_a_full_backlog() -> None:
    """The listener takes two; the others are not refused, but have no answer."""
    with listening(backlog=1) as listener, plain(20) as batch:
        report = batch.connect(listener.getsockname(), timeout=0.5, errors="return")
        assert 1 <= report.connected <= 3
        assert report.errors == {"ETIMEDOUT": 20 - report.connected}


def test_what_is_in_progress_is_waited_for_the_next_time() -> None:
    """A second connect() on what had no answer is no error: the kernel's next SYN has one."""
    accepted: list[socket.socket] = []
    with listening(backlog=1) as listener, plain(6) as batch:
        first = batch.connect(listener.getsockname(), timeout=1.0, errors="return")
        assert first.errors == {"ETIMEDOUT": 6 - first.connected}

        done = threading.Event()

        def accept() -> None:
            while not done.is_set():
                with suppress(TimeoutError):
                    accepted.append(listener.accept()[0])

        listener.settimeout(0.02)
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            # They are in progress: that the address is another now means nothing to them.
            report = batch.connect(("127.0.0.1", 9), timeout=LONG, errors="return")
        finally:
            done.set()
            thread.join()
        for sock in accepted:
            sock.close()
        assert list(report.errnos) == [errno.EISCONN if error == 0 else 0 for error in first.errnos]


def test_one_that_is_silent_does_not_keep_the_others(hole: str) -> None:
    with listening() as listener, plain(600) as batch:
        addresses = [(hole, 9), listener.getsockname()]
        report = batch.connect(addresses, timeout=2.0, concurrency=8, errors="return")
        assert list(report.errnos) == [errno.ETIMEDOUT, 0] * 300


def test_twice() -> None:
    with listening() as listener, plain(100) as batch:
        batch[:50].connect(listener.getsockname(), timeout=LONG)
        report = batch.connect(listener.getsockname(), timeout=LONG, errors="return")
        assert list(report.errnos) == [errno.EISCONN] * 50 + [0] * 50
        with pytest.raises(ConnectError, match="connected once") as caught:
            batch.connect(listener.getsockname(), timeout=LONG)
        assert set(caught.value.codes) == {Winsock.WSAEISCONN}


def test_views() -> None:
    with listening() as listener, plain(30) as batch:
        view = batch[10:20]
        report = view.connect(listener.getsockname(), timeout=LONG)
        assert report.connected == 10
        assert view.results is report
        assert batch.results is None
        assert [peer is not None for peer in peers(batch)] == [False] * 10 + [True] * 10 + [False] * 10
        assert batch[5:5].connect(listener.getsockname()).connected == 0


def test_none_at_all() -> None:
    with plain(0) as batch:
        report = batch.connect(("127.0.0.1", 9))
    assert (report.connected, report.failed, report.rate) == (0, 0, 0.0)
    assert json.loads(json.dumps(report.to_dict()))["latency"]["count"] == 0


def test_closed() -> None:
    batch = plain(3)
    view = batch[:2]
    batch.close()
    for closed in (batch, view):
        with pytest.raises(ValueError, match="closed"):
            closed.connect(("127.0.0.1", 9))


def test_where_there_is_no_socket() -> None:
    # An address that is not here: there is no socket then.
    sources = ["127.0.0.1", "203.0.113.1"]
    with listening() as listener, plain(4, bind=sources, errors="return") as batch:
        assert list(batch)[1::2] == [-1, -1]
        report = batch.connect(listener.getsockname(), timeout=LONG, errors="return")
        assert list(report.errnos) == [0, errno.EBADF, 0, errno.EBADF]
        with pytest.raises(ConnectError) as caught:
            batch[1:2].connect(listener.getsockname(), timeout=LONG)
        assert caught.value.winsock is Winsock.WSAENOTSOCK


def test_a_descriptor_that_was_closed_behind_its_back() -> None:
    with listening() as listener:
        # The connector's own descriptor takes the lowest number that is free.
        lower = os.dup(listener.fileno())
        batch = plain(3)
        os.close(batch[1])
        os.close(lower)
        report = batch.connect(listener.getsockname(), timeout=LONG, errors="return")
        assert list(report.errnos) == [0, errno.EBADF, 0]
        # The number is to be one that it may close.
        os.dup2(batch[0], batch[1])
        batch.close()


def test_closed_meanwhile() -> None:
    """By another thread. It ends before they are closed: their numbers may be other sockets' at once."""
    batch = SocketBatch(100)
    told = threading.Event()

    def close() -> None:
        told.wait(LONG)
        batch.close()

    thread = threading.Thread(target=close)
    thread.start()
    open_then: list[bool] = []

    def progress(done: int, total: int) -> None:
        told.set()
        thread.join()
        with pytest.raises(ValueError, match="closed"):
            batch.detach()
        open_then.append(all(os.fstat(number) for number in batch))

    with pytest.raises(ValueError, match="the batch was closed"):
        batch.connect(("127.0.0.1", 9), timeout=LONG, errors="return", progress=progress)
    assert open_then == [True]
    assert set(batch) == {-1}


def test_a_blocking_socket_is_not_waited_for(hole: str) -> None:
    with plain(2) as batch:
        os.set_blocking(batch[0], True)
        report = batch.connect((hole, 9), timeout=1.0, errors="return")
        assert list(report.errnos) == [errno.EINVAL, errno.ETIMEDOUT]


def test_the_same_socket_twice(hole: str) -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        numbers = array.array("i", [sock.fileno()] * 2)
        address = _packed(hole, 9)
        errnos, *_ = _wsasec.connect_many(numbers, address, 1, 1.0, 0, None)
        assert list(errnos) == [errno.ETIMEDOUT, errno.EALREADY]


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["tcp", "udp"])
def test_no_port_is_left(realm: Namespace, kind: int) -> None:
    realm.sysctl("net.ipv4.ip_local_port_range", "40000 40003")
    with listening() as listener, plain(6, type=kind) as batch:
        # The listener has one of the four; datagram sockets have ports of their own.
        report = batch.connect(listener.getsockname(), timeout=LONG, errors="return")
        assert set(report.errors) == {"EADDRNOTAVAIL"}
        assert 2 <= report.connected <= 4
        with pytest.raises(ConnectError, match="more source addresses"):
            batch[report.errnos.index(errno.EADDRNOTAVAIL) :].connect(listener.getsockname(), timeout=LONG)


def test_no_descriptor_is_left() -> None:
    code = """
import resource, wsasec
with wsasec.SocketBatch(1, secure=False) as batch:
    resource.setrlimit(resource.RLIMIT_NOFILE, (batch[0] + 1, batch[0] + 1))
    try:
        batch.connect(("127.0.0.1", 9))
    except wsasec.SecurityError as error:
        print(type(error).__name__, error.winsock.name, error.step)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "SecurityError WSAEMFILE connect", done.stderr


# --- secured sockets, and no SA ---


@families
@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["tcp", "udp"])
def test_no_association(family: int, host: str, kind: int) -> None:
    with SocketBatch(500, family=family, type=kind) as batch:
        before = time.process_time()
        with pytest.raises(
            ConnectError, match=r"no security association with .*:9 in profile default"
        ) as caught:
            batch.connect([(host, 9), (host, 10)], timeout=0.5)
        spent = time.process_time() - before
        error, report = caught.value, caught.value.report
        assert (error.winsock, error.profile, error.step) == (Winsock.WSAETIMEDOUT, "default", "connect")
        assert set(error.codes) == {Winsock.WSAETIMEDOUT}
        assert set(report.errnos) == {errno.EAGAIN}
        assert (report.without_sa, report.waited_for_sa, report.connected) == (500, 500, 0)
        assert (report.latency.count, report.sa_wait.count) == (0, 0)
        assert report.seconds >= 0.5
        assert spent < 0.4, "it spins"
        # One by one at its first try, and then two addresses with four of them, 18 times at most.
        assert sum(number_is_bound(number) for number in batch) <= (2 + 2 * 4 * 18 if kind == DGRAM else 0)
        again = batch.connect((host, 9), timeout=1.0, errors="return")
        assert again.errors == {"EAGAIN": 500}


def number_is_bound(number: int) -> bool:
    with socket.socket(fileno=os.dup(number)) as sock:
        return sock.getsockname()[1] != 0


def test_no_association_of_one_address() -> None:
    """Plain and secured sockets side by side: who has to wait does not keep who has not."""
    with listening() as listener, plain(100) as clear, SocketBatch(100) as secured:
        numbers = array.array("i", [each for pair in zip(secured, clear, strict=True) for each in pair])
        host, port = listener.getsockname()
        addresses = _packed(host, 9) + _packed(host, port)
        errnos, connected, waited, *_ = _wsasec.connect_many(numbers, addresses, 2, 1.5, 0, None)
        assert list(errnos) == [errno.EAGAIN, 0] * 100
        assert (connected, waited) == (100, 100)


def test_of_one_address_some_have_an_association() -> None:
    """As with several source addresses: those that can be connected are, also behind those that cannot."""
    with listening() as listener, plain(100) as clear, SocketBatch(100) as secured:
        numbers = array.array("i", [each for pair in zip(secured, clear, strict=True) for each in pair])
        errnos, connected, waited, _, latency, wait, _ = _wsasec.connect_many(
            numbers, _packed(*listener.getsockname()), 1, 1.0, 0, None
        )
        assert list(errnos) == [errno.EAGAIN, 0] * 100
        assert (connected, waited, latency.count, wait.count) == (100, 200, 100, 100)


def test_a_thousand_addresses_without_association() -> None:
    with SocketBatch(2000) as batch:
        before = time.process_time()
        report = batch.connect(("127.0.0.1", range(1, 1001)), timeout=0.5, errors="return")
        assert report.errors == {"EAGAIN": 2000}
        assert time.process_time() - before < 0.45, "it spins"


def test_no_time_at_all() -> None:
    with SocketBatch(10) as batch:
        report = batch.connect(("127.0.0.1", 9), timeout=0, errors="return")
        assert set(report.errnos) <= {errno.EAGAIN, errno.ETIMEDOUT}


# --- interruptions ---


class Stop(Exception):
    pass


def test_a_signal_ends_it() -> None:
    def stop(*_: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with SocketBatch(100) as batch:
            # It may come before the call has begun.
            with pytest.raises(Stop):  # noqa: PT012
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                batch.connect(("127.0.0.1", 9), timeout=LONG)
            assert batch.results is None
            # Nothing is broken.
            assert batch.connect(("127.0.0.1", 9), timeout=1.0, errors="return").errors == {"EAGAIN": 100}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_that_is_no_reason_to_end_it() -> None:
    caught: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: caught.append(number))
    try:
        with SocketBatch(10) as batch:
            signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
            report = batch.connect(("127.0.0.1", 9), timeout=0.5, errors="return")
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert report.errors == {"EAGAIN": 10}
            assert report.seconds >= 0.5
            assert len(caught) > 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_what_was_connected_when_it_was_interrupted_stays_so(hole: str) -> None:
    def stop(done: int, total: int) -> None:
        raise Stop

    with listening() as listener, plain(20) as batch:
        with pytest.raises(Stop):
            batch.connect([listener.getsockname(), (hole, 9)], timeout=LONG, progress=stop)
        report = batch.connect([listener.getsockname(), (hole, 9)], timeout=1.0, errors="return")
        assert list(report.errnos) == [errno.EISCONN, errno.ETIMEDOUT] * 10


def test_progress() -> None:
    seen: list[tuple[int, int, float]] = []
    with listening() as listener, plain(10) as clear, SocketBatch(10) as secured:
        numbers = array.array("i", [*clear, *secured])
        _wsasec.connect_many(
            numbers,
            _packed(*listener.getsockname()),
            1,
            0.55,
            0,
            lambda done, total: seen.append((done, total, time.monotonic())),
        )
    assert 1 <= len(seen) <= 5
    assert {(done, total) for done, total, _ in seen} == {(10, 20)}
    times = [when for *_, when in seen]
    assert all(later - earlier >= 0.099 for earlier, later in pairwise(times))


def test_ctrl_c_in_a_program() -> None:
    code = """
import sys, warnings, wsasec
warnings.simplefilter("ignore", wsasec.SecurityWarning)
with wsasec.SocketBatch(1000) as batch:
    print("ready", flush=True)
    try:
        batch.connect(("127.0.0.1", 9), timeout=60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        _wait_for(lambda: _waits(child.pid), "it waits")
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    assert (out, child.returncode) == ("interrupted\n", 0), err


def _waits(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            links.append(str(entry.readlink()))
    return state == "S" and any("eventpoll" in link for link in links)


def _wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.002)


def test_other_threads_go_on() -> None:
    """The lock of the interpreter is free while it waits."""
    counted = 0
    done = threading.Event()

    def count() -> None:
        nonlocal counted
        while not done.wait(0.001):
            counted += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        with SocketBatch(10) as batch:
            batch.connect(("127.0.0.1", 9), timeout=0.3, errors="return")
    finally:
        done.set()
        thread.join()
    assert counted > 10


def test_in_a_child_process() -> None:
    """A fork in the middle does not trouble parent or child."""
    with listening() as listener, plain(10) as batch:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with SocketBatch(10, secure=False) as own:
                    status = int(own.connect(listener.getsockname(), timeout=10).connected != 10)
            finally:
                os._exit(status)
        assert batch.connect(listener.getsockname(), timeout=LONG).connected == 10
        assert os.waitpid(pid, 0)[1] == 0


# --- arguments ---


def _packed(host: str, port: int) -> bytes:
    return wsasec.addresses.pack_address(socket.AF_INET, (host, port))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (("localhost", 80), "a name is resolved first"),
        (("example.invalid", 80), "a name is resolved first"),
        (("::1", 80), "family AF_INET"),
        (("127.0.0.1", 0), "port 0"),
        (("127.0.0.1", 65536), "port 65536"),
        (("127.0.0.1", range(65530, 65540)), "port 65536"),
        (("127.0.0.1", range(5, 5)), "no address"),
        ([], "no address"),
        ((), "no address"),
        ("127.0.0.1", "an address is"),
        ([("127.0.0.1",)], "an address is"),
        (["127.0.0.1"], "an address is"),
        ([5], "an address is"),
    ],
    ids=repr,
)
def test_bad_addresses(address: Any, message: str) -> None:
    with plain(2) as batch:
        with pytest.raises(ValueError, match=message):
            batch.connect(address)
        assert peers(batch) == [None, None]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"timeout": -1}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"timeout": True}, TypeError),
        ({"concurrency": -1}, ValueError),
        ({"concurrency": 1 << 32}, ValueError),
        ({"concurrency": True}, TypeError),
        ({"concurrency": "1"}, TypeError),
        ({"errors": "ignore"}, ValueError),
        ({"addresses": ("127.0.0.1", "80")}, TypeError),
        ({"addresses": ("127.0.0.1", True)}, TypeError),
    ],
    ids=repr,
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception]) -> None:
    arguments = {"addresses": ("127.0.0.1", 9)} | arguments
    with plain(2) as batch, pytest.raises(error):
        batch.connect(**arguments)


def test_for_ever() -> None:
    with listening() as listener, plain(2) as batch:
        assert batch.connect(listener.getsockname(), timeout=float("inf")).connected == 2


def test_the_core_takes_no_other_family() -> None:
    """AF_UNSPEC would disconnect."""
    numbers = array.array("i", [-1])
    for family in (socket.AF_UNSPEC, socket.AF_UNIX, socket.AF_INET6):
        address = family.to_bytes(2, sys.byteorder) + bytes(14)
        with pytest.raises(SecurityError) as caught:
            _wsasec.connect_many(numbers, address, 1, 1.0, 0, None)
        assert caught.value.winsock is Winsock.WSAEINVAL
    for addresses, count in ((b"", 0), (b"", 1), (_packed("127.0.0.1", 9)[:8], 1)):
        with pytest.raises(SecurityError):
            _wsasec.connect_many(numbers, addresses, count, 1.0, 0, None)


ports = st.one_of(
    st.integers(1, 65535),
    st.builds(range, st.integers(1, 65535), st.integers(1, 65535)).filter(lambda r: len(r) < 20),
)
hosts = st.one_of(st.ip_addresses().map(str), st.text(max_size=20))


@given(st.lists(st.tuples(hosts, ports), max_size=8))
def test_unfolding(addresses: list[Any]) -> None:
    wanted = [
        (host, each) for host, port in addresses for each in (port if isinstance(port, range) else (port,))
    ]
    if wanted:
        assert unfold(addresses) == wanted
    else:
        with pytest.raises(ValueError, match="no address"):
            unfold(addresses)
    for address in addresses:
        if address[1]:
            assert unfold(address) == unfold([address])


@settings(max_examples=60)
@given(
    n=st.integers(0, 40),
    addresses=st.lists(
        st.tuples(st.ip_addresses(v=4, network="127.0.0.0/8").map(str), ports), min_size=1, max_size=5
    ),
    concurrency=st.integers(0, 50),
)
def test_any_addresses(n: int, addresses: list[Any], concurrency: int) -> None:
    """Datagram sockets tell where they were connected to."""
    try:
        wanted = unfold(addresses)
    except ValueError:
        return
    with plain(n, type=DGRAM) as batch:
        report = batch.connect(addresses, timeout=LONG, concurrency=concurrency, errors="return")
        assert peers(batch) == [wanted[i % len(wanted)] if report.errnos[i] == 0 else None for i in range(n)]
        # The network's own address and the broadcast address may not be connected to.
        assert set(report.errors) <= {"EACCES", "ENETUNREACH", "EINVAL"}


# --- the report ---


def report() -> ConnectReport:
    latency = Histogram()
    latency.record(100)
    return ConnectReport(array.array("i", [0, 11, 111, 11]), 1, 3, 0.5, latency, 2, Histogram())


def test_report() -> None:
    made = report()
    assert (made.rate, made.without_sa, made.errors) == (2.0, 2, {"EAGAIN": 2, "ECONNREFUSED": 1})
    data = json.loads(json.dumps(made.to_dict()))
    assert data["latency"]["count"] == 1
    assert (data["connected"], data["failed"], data["waited_for_sa"], data["without_sa"]) == (1, 3, 2, 2)
    with pytest.raises(AttributeError):
        made.connected = 5  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(made)).errnos == made.errnos


def test_error_can_be_pickled() -> None:
    with plain(2) as batch, pytest.raises(ConnectError) as caught:
        batch.connect(("127.0.0.1", 9), timeout=LONG)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is ConnectError
    assert str(again) == str(caught.value)
    assert again.report.errnos == caught.value.report.errnos


def test_no_reference_is_kept() -> None:
    """The buffer is given back, so that the batch can be given away."""
    kept: AbstractContextManager[Any]
    with listening() as listener:
        batch = plain(3)
        batch.connect(listener.getsockname(), timeout=LONG)
        made = batch.sockets()
        assert [sock.getpeername() for sock in made] == [listener.getsockname()] * 3
        for kept in made:
            with kept:
                pass
