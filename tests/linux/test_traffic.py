"""wsasec.traffic over loopback: what it counts is what the peer received, and failures stop nothing else."""

from __future__ import annotations

import array
import errno
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from wire import wait_for

import wsasec
from wsasec import traffic

STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
DEADLINE = 20.0
FOREVER = 3600.0
HOST = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
FAMILIES = pytest.mark.parametrize("family", list(HOST), ids=["v4", "v6"])
POLICIES = {(socket.IPPROTO_IP, 17), (socket.IPPROTO_IPV6, 35)}
TCP_USER_TIMEOUT = 18


RUNS = pytest.mark.parametrize(
    ("run", "kind", "mode"),
    [
        (traffic.stream, STREAM, "sink"),
        (traffic.requests, STREAM, "echo"),
        (traffic.datagrams, DGRAM, "sink"),
    ],
    ids=["stream", "requests", "datagrams"],
)


# The engine's threads are none that Python knows of.
pytestmark = pytest.mark.usefixtures("no_task_left")


@contextmanager
def served(
    n: int, mode: str, kind: int = STREAM, family: int = socket.AF_INET, **options: Any
) -> Iterator[tuple[wsasec.Listener, wsasec.SocketBatch]]:
    """Plain sockets that are connected to a plain listener."""
    if kind == DGRAM:  # what a sender that was kept waiting sends at once, fits
        options = {"receive_buffer": 1 << 20, **options}
    with (
        wsasec.Listener((HOST[family], 0), secure=False, mode=mode, type=kind, **options) as listener,
        wsasec.SocketBatch(n, family=family, type=kind, secure=False) as batch,
    ):
        batch.connect([listener.address])
        yield listener, batch


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver's thread that is kept waiting has lost nothing."""
    monkeypatch.setattr(traffic, "_RECEIVER_QUIET", 5.0)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def pairs(n: int) -> tuple[list[socket.socket], list[socket.socket]]:
    """Connections of which the test has both ends."""
    with socket.create_server((HOST[socket.AF_INET], 0), backlog=n) as listener:
        near = [socket.create_connection(listener.getsockname()) for _ in range(n)]
        far = [listener.accept()[0] for _ in range(n)]
    return near, far


def close(*socks: list[socket.socket]) -> None:
    for sock in (sock for part in socks for sock in part):
        sock.close()


def reset(sock: socket.socket) -> None:
    if sock.fileno() < 0:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# --- what is counted ---


@FAMILIES
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [100, 131072])
def test_stream_counts(family, threads, size):
    with served(10, "sink", family=family) as (listener, batch):
        result = traffic.stream(batch, seconds=0.6, warm_up=0.1, threads=threads, message_bytes=size)
        batch.close()
        until(lambda: listener.counts.open == 0)
        assert listener.counts.received_bytes == result.total.sent_bytes
    assert 0 < result.bytes == sum(result.bytes_by_stream) <= result.total.sent_bytes
    assert result.bytes == pytest.approx(result.gbit_per_second * result.seconds * 1e9 / 8)
    assert (result.failed, result.total.open, result.total.phase) == (0, 10, "done")
    assert result.total.received_bytes == 0


def test_stream_against_an_echo():
    """What comes back is read, or both ends would wait for each other."""
    with served(3, "echo") as (_, batch):
        result = traffic.stream(batch, seconds=2, warm_up=0)
    assert result.total.received_bytes > 10 << 20
    assert result.stalled == 0


def test_stream_rate_is_a_limit():
    with served(5, "sink") as (_, batch):
        result = traffic.stream(batch, seconds=0.5, warm_up=0, threads=2, rate=10e6, message_bytes=10_000)
    assert 0 < result.total.sent_bytes <= 0.5 * 10e6 + 3 * 10_000


@FAMILIES
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("rate", [None, 2000])
@pytest.mark.parametrize("size", [1, 64, 400_000])
def test_request_counts(family, threads, rate, size):
    with served(10, "echo", family=family, nodelay=True) as (listener, batch):
        result = traffic.requests(
            batch, seconds=0.6, warm_up=0.1, threads=threads, rate=rate, request_bytes=size, drain=DEADLINE
        )
        until(lambda: listener.counts.sent_bytes == result.total.received_bytes)
        assert listener.counts.received_bytes == result.total.sent_bytes
    total = result.total
    assert total.sent_messages == total.received_messages > 0
    assert total.sent_bytes == total.received_bytes == total.sent_messages * size
    assert 0 < result.requests == sum(result.requests_by_socket) <= total.received_messages
    assert (result.unclean, result.unanswered, result.failed) == ((), 0, 0)
    if rate:  # nothing is missing; each thread may be off by one
        assert abs(result.latency.count + result.unsent - 0.6 * rate) <= threads
    assert 0 < result.latency.percentile(50) <= result.latency.percentile(99.9) <= result.latency.maximum


def test_rate_of_less_than_one_a_socket():
    with served(50, "echo") as (_, batch):
        result = traffic.requests(batch, seconds=0.5, warm_up=0, rate=40)
    assert abs(result.latency.count + result.unsent - 20) <= 1
    assert max(result.requests_by_socket) == 1


@FAMILIES
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("mode", ["sink", "echo"])
def test_datagram_counts(family, threads, mode, patient):
    with served(5, mode, DGRAM, family) as (listener, batch):
        for size in (1, 16, 1000):
            before = listener.counts.received_datagrams
            result = traffic.datagrams(
                batch,
                seconds=0.5,
                warm_up=0.05,
                threads=threads,
                rate=1000,
                datagram_bytes=size,
                receiver=listener,
                drain=DEADLINE,
            )
            assert listener.counts.received_datagrams - before == result.sent == result.received
            assert (result.lost, result.loss, result.failed) == (0, 0.0, 0)
            assert result.echoed == (result.sent if mode == "echo" else 0)
            assert result.latency.count == (result.datagrams if mode == "echo" and size >= 16 else 0)
            assert (
                0
                < result.datagrams
                == sum(result.datagrams_by_socket)
                <= result.sent
                <= 0.55 * 1000 + threads
            )
            assert (result.total.without_sa, result.total.stale) == (0, 0)


def test_datagrams_that_are_lost_are_counted():
    """Far more than a socket's buffer holds, to a receiver that reads nothing until all is over."""
    with socket.socket(type=DGRAM) as near, socket.socket(type=DGRAM) as far:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        far.bind(("127.0.0.1", 0))
        near.connect(far.getsockname())

        class Receiver:
            received_datagrams = 0

            @property
            def counts(self) -> Receiver:
                far.setblocking(False)
                try:
                    while far.recv(2000):
                        self.received_datagrams += 1
                except BlockingIOError:
                    return self

        receiver = Receiver()
        result = traffic.datagrams([near], seconds=0.5, warm_up=0, receiver=receiver)
        assert 0 < receiver.received_datagrams == result.received < 100 < result.sent
        assert result.lost == result.sent - result.received
        assert traffic.datagrams([near], seconds=0.5, warm_up=0).lost is None


def test_echoes_of_another_run_are_told_apart():
    with socket.socket(type=DGRAM) as near, socket.socket(type=DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        near.connect(far.getsockname())
        far.connect(near.getsockname())
        far.settimeout(DEADLINE)
        traffic.datagrams([near], seconds=0.5, warm_up=0, rate=100, datagram_bytes=64)
        old = far.recv(100)
        number, made = struct.unpack("!QQ", old[:16])
        assert (len(old), number) == (64, 0)
        assert 0 < made <= time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        far.send(old)
        far.send(b"short")
        result = traffic.datagrams([near], seconds=0.5, warm_up=0, rate=100, datagram_bytes=64)
        assert (result.total.stale, result.echoed) == (2, 0)


@pytest.mark.parametrize("rate", [None, 200])
def test_a_pause_of_the_peer(rate):
    """With a rate, all requests that were due in the pause have waited; without one, a single one has."""
    near, far = pairs(1)

    def serve() -> None:
        for i in range(1 << 30):
            if not (data := far[0].recv(64)):
                return
            if i == 20:
                time.sleep(0.3)
            far[0].sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    result = traffic.requests(near, seconds=1, warm_up=0, rate=rate, drain=DEADLINE)
    close(near)
    thread.join()
    close(far)
    late = sum(count for upper, count in result.latency.buckets() if upper >= 100_000)
    assert late >= 1
    if rate:
        assert late >= 0.2 * rate - 2
        assert abs(result.latency.count + result.unsent - rate) <= 1


def test_sockets_stay_as_they_were():
    """Blocking ones stay blocking, though none of the engine's calls blocks; and they can be used on."""
    near, far = pairs(3)
    near[1].settimeout(5)
    flags = [os.get_blocking(sock.fileno()) for sock in near]
    result = traffic.stream(near, seconds=0.5, warm_up=0)  # nobody reads
    assert result.failed == 0
    assert [os.get_blocking(sock.fileno()) for sock in near] == flags == [True, False, True]
    for sock in far:
        sock.settimeout(DEADLINE)
    total = 0
    for sock, peer in zip(near, far, strict=True):
        sock.shutdown(socket.SHUT_WR)
        while data := peer.recv(1 << 20):
            total += len(data)
    assert total == result.total.sent_bytes
    close(near, far)


@RUNS
def test_what_is_measured(run, kind, mode):
    """As long as asked for, without the warm-up and what comes after."""
    pace = {"rate": 1e6, "message_bytes": 1000} if run is traffic.stream else {"rate": 10_000}

    def as_asked() -> bool:
        with served(4, mode, kind) as (_, batch):
            began = time.monotonic()
            result = run(batch, seconds=0.7, warm_up=0.4, threads=2, **pace)
            elapsed = time.monotonic() - began
        assert 1.1 <= result.total.seconds <= elapsed
        measured, everything = {
            traffic.stream: lambda: (result.bytes, result.total.sent_bytes),
            traffic.requests: lambda: (result.requests, result.total.received_messages),
            traffic.datagrams: lambda: (result.datagrams, result.sent),
        }[run]()
        assert 0 < measured < everything
        # Of what passed in 1.1 s and a bit; the warm-up may have had up to 100 ms less.
        return result.seconds == pytest.approx(0.7, abs=0.005) and measured < everything * 0.8

    # A thread that has to wait for the processor begins, or ends, that much later.
    wait_for(as_asked, "it is measured as long as asked for", DEADLINE)


def test_json_and_progress():
    seen: list[traffic.TrafficCounts] = []
    with served(4, "echo") as (_, batch):
        began = time.monotonic()
        result = traffic.requests(batch, seconds=0.5, threads=2, progress=seen.append)
        elapsed = time.monotonic() - began
    assert 1 <= len(seen) <= elapsed / 0.1 + 1
    assert [one.sent_bytes for one in seen] == sorted(one.sent_bytes for one in seen)
    assert {one.phase for one in seen} <= {"warm-up", "measured", "drain", "done"}
    read = json.loads(json.dumps(result.to_dict()))
    assert (read["kind"], read["sockets"], read["requests"]) == ("requests", 4, result.requests)
    assert set(read["latency"]) >= {"p50", "p90", "p99", "p99_9"}


# --- what fails ---


@pytest.mark.parametrize("run", [traffic.stream, traffic.requests])
def test_a_peer_that_resets(run):
    mode = "echo" if run is traffic.requests else "sink"
    near, far = pairs(1)
    with served(3, mode) as (_, batch):
        numbers = array.array("i", [*batch[:2], near[0].fileno(), batch[2], -1])
        result = run(numbers, seconds=0.5, warm_up=0.3, threads=2, progress=lambda _: reset(far[0]))
    assert [code in (errno.ECONNRESET, errno.EPIPE) for code in result.errors] == [
        False,
        False,
        True,
        False,
        False,
    ]
    assert (result.errors[4], result.failed, result.total.open) == (errno.EBADF, 2, 3)
    moved = result.requests_by_socket if run is traffic.requests else result.bytes_by_stream
    assert all(moved[i] > 0 for i in (0, 1, 3))
    assert result.total.seconds > 0.7
    close(near)


def test_a_peer_that_ends_its_side():
    near, far = pairs(2)
    far[0].shutdown(socket.SHUT_WR)
    far[1].close()
    result = traffic.requests(near, seconds=FOREVER)
    assert result.errors[0] == errno.EPIPE
    assert result.errors[1] in (errno.EPIPE, errno.ECONNRESET)
    assert result.seconds == 0
    close(near, far)


@pytest.mark.parametrize("run", [traffic.stream, traffic.requests, traffic.datagrams])
def test_ends_with_the_last_socket(run):
    kind = DGRAM if run is traffic.datagrams else STREAM
    mode = "sink" if run is traffic.stream else "echo"
    with served(5, mode, kind) as (listener, batch):
        result = run(batch, seconds=FOREVER, threads=2, progress=lambda _: listener.close())
        known = {errno.ECONNREFUSED} if kind == DGRAM else {errno.ECONNRESET, errno.EPIPE}
        assert set(result.errors) <= known
        assert result.seconds < FOREVER / 2


@pytest.mark.parametrize("run", [traffic.stream, traffic.requests, traffic.datagrams])
def test_not_what_is_wanted(run):
    wrong = STREAM if run is traffic.datagrams else DGRAM
    with (
        socket.socket(type=wrong) as other,
        socket.socket(type=DGRAM if run is traffic.datagrams else STREAM) as unconnected,
        Path("/dev/null").open() as file,
    ):
        result = run([other, file, unconnected], seconds=FOREVER)
    assert list(result.errors[:2]) == [errno.EPROTOTYPE, errno.ENOTSOCK]
    assert result.errors[2] in (errno.EPIPE, errno.EDESTADDRREQ)


@pytest.mark.parametrize("rate", [None, 1000])
def test_no_response(rate):
    near, far = pairs(2)
    result = traffic.requests(near, seconds=0.6, warm_up=0, rate=rate, drain=0.05)
    assert (result.unclean, result.unanswered, result.requests, result.failed) == ((0, 1), 2, 0, 0)
    assert result.latency.count == 0
    assert result.unsent == (598 if rate else 0)
    close(near, far)


def test_a_late_response_is_drained():
    near, far = pairs(1)
    go = threading.Event()

    def answer() -> None:
        data = far[0].recv(64, socket.MSG_WAITALL)
        go.wait(DEADLINE)
        far[0].sendall(data)

    thread = threading.Thread(target=answer)
    thread.start()
    result = traffic.requests(
        near,
        seconds=0.5,
        warm_up=0,
        drain=DEADLINE,
        progress=lambda counts: counts.phase == "drain" and go.set(),
    )
    thread.join()
    assert (result.unclean, result.unanswered, result.requests, result.latency.count) == ((), 0, 0, 1)
    close(near, far)


# --- the kernel has policies, and no security association: nothing leaves ---


def secure_late(fd: int, family: int) -> None:
    """Give a connected socket the policies of a secured one: what it is when its association is lost."""
    with socket.socket(family, DGRAM, fileno=os.dup(fd)) as sock:
        for level, name, value in wsasec.socket_options(family=family):
            if (level, name) in POLICIES:
                sock.setsockopt(level, name, value)


def clear(fd: int, family: int) -> None:
    with socket.socket(family, DGRAM, fileno=os.dup(fd)) as sock:
        level, name = (socket.IPPROTO_IPV6, 35) if family == socket.AF_INET6 else (socket.IPPROTO_IP, 17)
        sock.setsockopt(level, name, None, 0)


@FAMILIES
def test_datagrams_without_association(family, patient):
    """They are refused at once, and poll() says that all is well: it is tried again, and not all the time."""
    with served(2, "sink", DGRAM, family) as (listener, batch):
        secure_late(batch[0], family)
        result = traffic.datagrams(batch, seconds=1, warm_up=0, receiver=listener, rate=1000, drain=DEADLINE)
        assert result.datagrams_by_socket[0] == 0 < result.datagrams_by_socket[1]
        assert (result.failed, result.lost) == (0, 0)
        # 1, 2, 4, ... 32 ms, then every 50.
        assert 3 <= result.total.without_sa <= 6 + 1000 / 50 + 1


@FAMILIES
@pytest.mark.parametrize("rate", [None, 2000])
def test_datagrams_with_an_association_for_a_time(family, rate):
    with served(1, "sink", DGRAM, family) as (listener, batch):
        seen: list[traffic.TrafficCounts] = []

        def change(counts: traffic.TrafficCounts) -> None:
            seen.append(counts)
            if len(seen) == 2:
                secure_late(batch[0], family)
            if len(seen) == 6:
                clear(batch[0], family)

        result = traffic.datagrams(
            batch, seconds=3, warm_up=0, receiver=listener, rate=rate, drain=DEADLINE, progress=change
        )
        assert len(seen) > 8
        assert seen[3].sent_messages == seen[4].sent_messages < seen[-1].sent_messages
        away = seen[6].seconds - seen[1].seconds
        assert 0 < result.total.without_sa <= 6 + away / 0.05 + 1
        assert result.failed == 0
        assert result.received > 0


def test_stream_without_association():
    """TCP takes what its buffer holds, and waits; after that it goes on."""
    near, far = pairs(2)
    secure_late(near[0].fileno(), socket.AF_INET)
    result = traffic.stream(near[:1], seconds=0.6, warm_up=0)
    assert (result.bytes, result.stalled, result.failed) == (0, 1, 0)
    assert result.total.sent_bytes > 0
    far[0].setblocking(False)
    with pytest.raises(BlockingIOError):
        far[0].recv(1)
    clear(near[0].fileno(), socket.AF_INET)
    result = traffic.requests(near[:1], seconds=0.5, warm_up=0, drain=0)
    far[0].settimeout(DEADLINE)
    assert far[0].recv(1)
    close(near, far)


def test_tcp_gives_up():
    near, far = pairs(2)
    near[1].setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, 300)
    secure_late(near[1].fileno(), socket.AF_INET)
    result = traffic.stream([near[1]], seconds=FOREVER)
    assert list(result.errors) == [errno.ETIMEDOUT]
    close(near, far)


# --- what ends a run ---


class Stop(Exception):
    pass


@RUNS
@pytest.mark.parametrize("threads", [1, 3])
def test_no_descriptor_left(run, kind, mode, threads):
    """However many there are, short of enough: it says so, and does not begin."""
    with served(5, mode, kind) as (listener, batch):
        if kind == STREAM:
            listener.wait_accepted(5, DEADLINE)  # it takes descriptors, too
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(batch[0])
        os.close(free)
        more = 0
        while True:
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, hard))
            try:
                result = run(batch, seconds=0.05, warm_up=0, threads=threads)
                break
            except wsasec.SecurityError as error:
                assert error.winsock is wsasec.Winsock.WSAEMFILE  # noqa: PT017
                assert "RLIMIT_NOFILE" in error.hint  # noqa: PT017
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            more += 1
        assert result.failed == 0
        assert more >= threads


class Deaf:
    """A receiver whose counts are not to be had at the n-th time."""

    def __init__(self, number: int) -> None:
        self.left = number

    @property
    def counts(self) -> Any:
        self.left -= 1
        if self.left <= 0:
            raise Stop
        return self

    received_datagrams = 0


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_receiver_that_cannot_be_asked(number):
    with served(3, "sink", DGRAM) as (_, batch):
        with pytest.raises(Stop):
            traffic.datagrams(
                batch, seconds=0.1, warm_up=0, rate=1000, drain=DEADLINE, threads=2, receiver=Deaf(number)
            )
        # They can be used on.
        assert traffic.datagrams(batch, seconds=0.1, warm_up=0, rate=1000).sent > 0


@RUNS
def test_an_exception_of_the_callback(run, kind, mode):
    def stop(counts: traffic.TrafficCounts) -> None:
        raise Stop

    with served(5, mode, kind) as (_, batch), pytest.raises(Stop):
        run(batch, seconds=FOREVER, threads=3, progress=stop)


@RUNS
def test_closed_meanwhile(run, kind, mode):
    """The sockets live until the last byte was sent: their numbers may be others' afterwards."""
    with served(5, mode, kind) as (_, batch):
        numbers = list(batch)
        told: list[traffic.TrafficCounts] = []

        def close_batch(counts: traffic.TrafficCounts) -> None:
            told.append(counts)
            with pytest.raises(ValueError, match="in use"):
                batch.sockets()
            batch.close()
            for number in numbers:
                os.fstat(number)

        with pytest.raises(ValueError, match="the batch was closed"):
            run(batch[1:4], seconds=FOREVER, threads=2, progress=close_batch)
        assert len(told) == 1
        assert set(batch) == {-1}
        for number in numbers:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(number)


@RUNS
def test_ctrl_c(run, kind, mode):
    with served(5, mode, kind) as (_, batch):
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        # It may come before the call has begun.
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            timer.start()
            run(batch, seconds=FOREVER, threads=2)
        timer.join()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork_in_the_callback():
    """The child has no threads, and says so; the parent's go on."""
    children: list[int] = []

    def fork(counts: traffic.TrafficCounts) -> None:
        if not children:
            children.append(os.fork())

    with served(3, "echo") as (_, batch):
        parent = os.getpid()
        try:
            result = traffic.requests(batch, seconds=0.6, progress=fork)
        except RuntimeError:
            os._exit(7 if os.getpid() != parent else 1)
        if os.getpid() != parent:
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 7
        assert result.failed == 0
        assert result.unanswered == 0


def test_end_of_the_interpreter():
    """A run in a daemon thread does not keep the process, nor bring it down."""
    script = """
import socket, threading
from wsasec import traffic
listener = socket.create_server(("127.0.0.1", 0))
sock = socket.create_connection(listener.getsockname())
began = threading.Event()
threading.Thread(
    target=traffic.stream,
    args=([sock],),
    kwargs={"seconds": 3600, "threads": 1, "progress": lambda counts: began.set()},
    daemon=True,
).start()
assert began.wait(20)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_the_batch_goes_with_the_call():
    """The descriptors are copied: the buffer is only needed to begin."""
    with served(2, "sink") as (_, batch):
        numbers = array.array("i", batch)
        result = traffic.stream(numbers, seconds=0.5, warm_up=0.1, progress=lambda _: None)
        numbers.append(1)  # a buffer still exported could not be resized
        assert result.failed == 0
