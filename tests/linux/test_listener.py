"""Listener on the host's kernel: plain connections and datagrams, errors, and its end."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import wsasec
from wsasec import Listener, _wsasec
from wsasec.lab import Namespace

TIMEOUT = 10.0
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
SO_REUSEPORT = (socket.SOL_SOCKET, socket.SO_REUSEPORT)


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + TIMEOUT
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {TIMEOUT} s: {what}"
        time.sleep(0.002)
    return answer


@pytest.fixture(autouse=True)
def no_threads_left(realm: Any, no_task_left: None) -> None:
    """The listener's threads are none that Python knows of."""


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["v4", "v6"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def plain(host: str = "127.0.0.1", **options: Any) -> Listener:
    return Listener((host, 0), secure=False, **options)


@contextlib.contextmanager
def clients(listener: Listener, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket(listener.family))
            sock.settimeout(TIMEOUT)
            sock.connect(listener.address)
            made.append(sock)
        listener.wait_accepted(count, TIMEOUT)
        yield made


def receive(sock: socket.socket, size: int) -> bytes:
    parts = []
    while size and (part := sock.recv(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


# --- streams ---


@pytest.mark.parametrize("threads", [1, 3])
def test_sink(host: str, threads: int) -> None:
    with plain(host, threads=threads) as listener, clients(listener, 20) as socks:
        assert listener.counts.open == 20
        for sock in socks:
            sock.sendall(b"x" * 100_000)
        wait_for(lambda: listener.counts.received_bytes == 20 * 100_000, "all arrives")
        for sock in socks[:5]:
            sock.close()
        wait_for(lambda: listener.counts.open == 15, "five are closed")
        counts = listener.counts
        assert (counts.accepted, counts.closed, counts.resets, counts.sent_bytes) == (20, 5, 0, 0)
    assert listener.counts.received_bytes == 20 * 100_000  # and after the end, too


@pytest.mark.parametrize("threads", [1, 3])
def test_echo(host: str, threads: int) -> None:
    with plain(host, mode="echo", threads=threads, nodelay=True) as listener, clients(listener, 10) as socks:
        data = [os.urandom(5000) for _ in socks]
        for sock, mine in zip(socks, data, strict=True):
            sock.sendall(mine)
        assert [receive(sock, 5000) for sock in socks] == data


def test_echo_to_a_peer_that_does_not_read(realm: Namespace) -> None:
    """What it took of it is bounded; all comes back when the peer reads, in order."""
    # The kernel's buffers grow, on some systems up to more than is sent here.
    for name in ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"):
        realm.sysctl(name, f"4096 65536 {1 << 20}")
    with plain(mode="echo") as listener, clients(listener, 2) as (sock, other):
        data = os.urandom(32 << 20)
        view = memoryview(data)
        sock.setblocking(False)
        sent = 0
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        while poll.poll(500):
            sent += sock.send(view[sent:])
            assert sent < len(data), "the listener keeps reading"
        counts = listener.counts
        assert counts.received_bytes - counts.sent_bytes <= 1 << 16
        other.sendall(b"others go on")
        assert receive(other, 12) == b"others go on"
        sock.settimeout(TIMEOUT)
        assert receive(sock, sent) == data[:sent]
        sock.sendall(b"and again")
        assert receive(sock, 9) == b"and again"


def test_echo_after_the_peer_ended_its_side() -> None:
    with plain(mode="echo") as listener, clients(listener, 1) as (sock,):
        data = os.urandom(3 << 20)
        sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        assert receive(sock, len(data)) == data
        assert sock.recv(1) == b""
        sender.join()
        wait_for(lambda: listener.counts.open == 0, "it is closed")
        assert listener.counts.resets == 0


def test_discard() -> None:
    with plain(mode="discard", discard_after=1000) as listener, clients(listener, 3) as socks:
        for sock in socks:
            sock.sendall(b"x" * 999)
        wait_for(lambda: listener.counts.received_bytes == 3 * 999, "all arrives")
        assert listener.counts.open == 3
        for sock in socks[:2]:
            sock.sendall(b"x")
            assert sock.recv(1) == b""
        assert listener.counts.closed == 2
        assert listener.counts.resets == 0


def test_peers_that_reset() -> None:
    with plain(mode="echo", threads=2) as listener, clients(listener, 10) as socks:
        for sock in socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        wait_for(lambda: listener.counts.closed == 10, "all are closed")
        assert listener.counts.resets == 10
        with clients(listener, 1) as (sock,):
            sock.sendall(b"still there")
            assert receive(sock, 11) == b"still there"


def test_dealt_to_threads_in_turn() -> None:
    """Two connections that never rest, of which each thread has one, do not starve a third."""
    with plain(threads=2) as listener, clients(listener, 3) as (first, second, third):
        stop = threading.Event()

        def flood(sock: socket.socket) -> None:
            while not stop.is_set():
                sock.sendall(bytes(1 << 18))

        threads = [threading.Thread(target=flood, args=(sock,)) for sock in (first, second)]
        for thread in threads:
            thread.start()
        third.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        third.close()
        wait_for(lambda: listener.counts.resets == 1, "the third is served")
        stop.set()
        for thread in threads:
            thread.join()


# --- datagrams ---


@pytest.mark.parametrize("threads", [1, 2])
def test_datagram_sink(host: str, threads: int) -> None:
    with (
        plain(host, type=DGRAM, threads=threads, receive_buffer=1 << 20) as listener,
        socket.socket(listener.family, DGRAM) as sock,
    ):
        sock.connect(listener.address)
        for size in (0, 1, 1000, 60_000):
            for _ in range(5):
                sock.send(b"x" * size)
        wait_for(lambda: listener.counts.received_datagrams == 20, "all arrive")
        wait_for(lambda: listener.counts.received_bytes == 5 * 61_001, "all bytes are counted")
        assert listener.counts.dropped_datagrams == 0


def test_datagram_echo(host: str) -> None:
    with plain(host, type=DGRAM, mode="echo") as listener, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.socket(listener.family, DGRAM)) for _ in range(5)]
        for number, sock in enumerate(socks):
            sock.settimeout(TIMEOUT)
            sock.connect(listener.address)
            for part in range(20):
                sock.send(b"%d %d" % (number, part))
        for number, sock in enumerate(socks):
            for part in range(20):
                assert sock.recv(100) == b"%d %d" % (number, part)


def test_datagrams_that_the_kernel_drops() -> None:
    """Received and dropped make what was sent: nothing is lost without being counted."""
    sent = 2000
    with socket.socket(socket.AF_INET, DGRAM) as sock, socket.socket(socket.AF_INET, DGRAM) as sender:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        sock.bind(("127.0.0.1", 0))
        sender.connect(sock.getsockname())
        for _ in range(sent):  # nobody reads as yet
            sender.send(bytes(500))
        with Listener(sock=sock, secure=False) as listener:
            counts = wait_for(
                lambda: (now := listener.counts).received_datagrams + now.dropped_datagrams == sent and now,
                "every datagram is in a count",
            )
    assert counts.dropped_datagrams > 0
    assert counts.received_datagrams > 0
    assert listener.counts == counts


# --- waiting, ending ---


def test_sleeps_when_there_is_nothing_to_do() -> None:
    with plain(mode="echo") as listener, clients(listener, 1) as [sock]:
        before = time.process_time()
        for _ in range(100):
            sock.sendall(b"x")
            assert receive(sock, 1) == b"x"
            time.sleep(0.01)
        assert time.process_time() - before < 0.5  # of more than a second


def test_wait_accepted() -> None:
    with plain() as listener:
        listener.wait_accepted(0, 0)
        with pytest.raises(TimeoutError, match=r"0 of 1 connections within 0\.05 s"):
            listener.wait_accepted(1, 0.05)
        late = threading.Timer(0.1, socket.create_connection, [listener.address])
        late.start()
        listener.wait_accepted(1, TIMEOUT)
        late.join()
        with pytest.raises(ValueError):
            listener.wait_accepted(1, -1)
    with pytest.raises(ValueError, match="closed"):
        listener.wait_accepted(2, TIMEOUT)


def test_close_ends_a_wait() -> None:
    listener = plain()
    closer = threading.Timer(0.1, listener.close)
    closer.start()
    with pytest.raises(ValueError, match="closed"):
        listener.wait_accepted(1, TIMEOUT)
    closer.join()


def test_signals_are_heard() -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        # It may come before the call has begun.
        with plain(threads=2) as listener, pytest.raises(Interrupted):  # noqa: PT012
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            listener.wait_accepted(1, TIMEOUT)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_close_with_connections() -> None:
    listener = plain(mode="echo", threads=3)
    with clients(listener, 20) as socks:
        for sock in socks:
            sock.sendall(b"x" * 1000)
        listener.close()
        listener.close()
        assert listener.closed
        for sock in socks:
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(4096):
                    pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(listener.address)
        counts = listener.counts
        assert counts.accepted == 20


def test_closed_by_many_at_once() -> None:
    for _ in range(20):
        listener = plain(threads=2)
        threads = [threading.Thread(target=listener.close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert listener.counts.accepted == 0


def test_forgotten() -> None:
    listener = plain()
    with pytest.warns(ResourceWarning, match="unclosed <Listener at"):
        del listener


def test_the_port_is_free_again_at_once() -> None:
    """Also while connections of the one before are in TIME_WAIT."""
    with plain(mode="discard", discard_after=1) as listener, clients(listener, 3) as socks:
        for sock in socks:
            sock.sendall(b"x")
            assert sock.recv(1) == b""
        address = listener.address
    with Listener(address, secure=False), pytest.raises(OSError) as caught:
        Listener(address, secure=False)
    assert caught.value.errno == errno.EADDRINUSE


def run(code: str, *arguments: str, **options: Any) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_interpreter_ends_with_a_live_listener() -> None:
    """Without a word of it, and with its connections ended."""
    out = run(
        """
import socket, wsasec
kept = [wsasec.Listener(("127.0.0.1", 0), secure=False, mode="echo", threads=2) for _ in range(3)]
socks = [socket.create_connection(each.address) for each in kept]
for each in kept:
    each.wait_accepted(1, 10)
print("end")
"""
    )
    assert out.split() == ["end"]


def test_fork() -> None:
    """A child has no part in it: what the parent closes is closed, though the child lives."""
    out = run(
        """
import os, socket, warnings, wsasec
listener = wsasec.Listener(("127.0.0.1", 0), secure=False, mode="echo", threads=2)
sock = socket.create_connection(listener.address)
sock.settimeout(10)
listener.wait_accepted(1, 10)
before = len(os.listdir("/proc/self/fd"))
here, there = os.pipe()
child = os.fork()
if child == 0:
    os.close(there)
    # Two epolls, eventfd, listening socket and connection are gone; one end of the pipe is new.
    count = len(os.listdir("/proc/self/fd"))
    try:
        listener.wait_accepted(2, 10)
        code = 1
    except ValueError:
        code = 0 if listener.closed and count == before - 5 + 1 else 2
    listener.close()
    listener.close()
    os.read(here, 1)
    os._exit(code)
sock.sendall(b"still there")
assert sock.recv(100) == b"still there"
listener.close()
assert sock.recv(100) == b""  # though the child lives
try:
    socket.create_connection(listener.address)
except ConnectionRefusedError:
    os.close(there)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    )
    assert out.split() == ["0"]


def test_fork_under_load() -> None:
    """Descriptors and memory are in any state then; the children end, and the parent's go on."""
    out = run(
        """
import os, socket, threading, wsasec
listener = wsasec.Listener(("127.0.0.1", 0), secure=False, mode="echo", threads=2)
stop = threading.Event()
def work():
    while not stop.is_set():
        with socket.create_connection(listener.address) as sock:
            sock.settimeout(10)
            sock.sendall(b"x" * 1000)
            left = 1000
            while left:
                left -= len(sock.recv(1000))
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
codes = []
for _ in range(30):
    child = os.fork()
    if child == 0:
        listener.close()
        del listener
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
for thread in threads:
    thread.join()
listener.close()
print(sum(codes), listener.counts.resets)
"""
    )
    assert out.split() == ["0", "0"]


def test_no_descriptors_left() -> None:
    """It does not spin meanwhile, counts it, and takes the connections when there is room again."""
    out = run(
        """
import json, os, resource, socket, time, wsasec
listener = wsasec.Listener(("127.0.0.1", 0), secure=False, threads=2)
socks = [socket.socket() for _ in range(30)]
used = max(map(int, os.listdir("/proc/self/fd")))
resource.setrlimit(resource.RLIMIT_NOFILE, (used + 10, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for sock in socks:
    sock.connect(listener.address)
deadline = time.monotonic() + 10
while not listener.counts.errors and time.monotonic() < deadline:
    time.sleep(0.01)
before = time.monotonic()  # first: what is counted lies within what is measured
some = listener.counts
time.sleep(0.5)
more = listener.counts.errors - some.errors
spent = time.monotonic() - before
for sock in socks[:25]:
    sock.close()
listener.wait_accepted(30, 10)
listener.close()
print(json.dumps([some.accepted, some.errors, more, spent]))
"""
    )
    accepted, errors, more, spent = json.loads(out)
    assert 0 < accepted < 30
    assert errors > 0
    # Two threads look again every 20 ms, not more often.
    assert more <= 2 * (spent / 0.02 + 1)


def test_no_descriptors_left_for_a_busy_thread() -> None:
    """It looks again for what waits though it never sleeps."""
    out = run(
        """
import os, resource, signal, socket, time, wsasec
listener = wsasec.Listener(("127.0.0.1", 0), secure=False, threads=1)
busy = [socket.create_connection(listener.address) for _ in range(4)]
listener.wait_accepted(4, 10)
child = os.fork()
if child == 0:
    for sock in busy:
        sock.setblocking(False)
    data = bytes(1 << 20)
    while True:
        for sock in busy:
            try:
                sock.send(data)
            except BlockingIOError:
                pass
sock = socket.socket()
with socket.socket() as probe:
    free = probe.fileno()
resource.setrlimit(resource.RLIMIT_NOFILE, (free, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
sock.connect(listener.address)
end = time.monotonic() + 20
while listener.counts.errors < 25 and time.monotonic() < end:
    time.sleep(0.01)
print(listener.counts.errors)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
listener.close()
"""
    )
    assert int(out) >= 25  # it looks every 20 ms, if it has the processor


# --- the socket ---


def test_secured() -> None:
    with Listener(("127.0.0.1", 0)) as listener, socket.socket() as sock:
        assert listener.type == STREAM
        # No ESP here, and no SA: nobody is heard.
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.connect(listener.address)
        assert listener.counts.accepted == 0


def test_fallback_is_accepted() -> None:
    """A listener that may fall back to clear has connections that may."""
    settings = wsasec.Settings(flags=wsasec.SecurityFlags.ALLOW_INSECURE)
    with Listener(("127.0.0.1", 0), settings=settings, mode="echo") as listener:
        with clients(listener, 1) as (sock,):
            sock.sendall(b"in clear")
            assert receive(sock, 8) == b"in clear"
        assert listener.counts.refused == 0


@pytest.mark.parametrize("secure", [True, False], ids=["secured", "plain"])
@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["tcp", "udp"])
def test_sock(secure: bool, kind: int) -> None:
    with socket.socket(socket.AF_INET, kind) as sock:
        if secure:
            wsasec.secure(sock)
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
        with Listener(sock=sock, secure=secure) as listener:
            assert sock.fileno() == -1
            assert (listener.address, listener.type) == (address, kind)


def test_sock_that_is_not_secured() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        with pytest.raises(wsasec.SecurityError, match="not secured") as caught:
            Listener(sock=sock)
        assert caught.value.winsock == wsasec.Winsock.WSAEINVAL
        # It is the caller's as before.
        with socket.create_connection(sock.getsockname()), sock.accept()[0]:
            pass


def test_sock_secured_by_options() -> None:
    """This process keeps nothing of it; its mark tells."""
    with socket.socket() as sock:
        for option in wsasec.socket_options(family=socket.AF_INET):
            sock.setsockopt(*option)
        sock.bind(("127.0.0.1", 0))
        with Listener(sock=sock):
            pass


def test_shared_port_is_refused_on_secured_sockets() -> None:
    with pytest.raises(ValueError, match="would take them in clear"):
        Listener(("127.0.0.1", 0), reuse_port=True)
    with socket.socket() as sock:
        wsasec.secure(sock)
        sock.setsockopt(*SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ValueError, match="would take them in clear"):
            Listener(sock=sock)
        # However it is called: C looks for itself.
        sock.listen()
        engine = _wsasec.ListenerEngine()
        with pytest.raises(wsasec.SecurityError, match="SO_REUSEPORT"):
            engine._start(sock, 0, False, False, 1, 0, 0)


def test_shared_port_of_secured_datagram_sockets_is_refused() -> None:
    """By either option: a plain socket on the port would get all that comes."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        wsasec.secure(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ValueError, match="SO_REUSEADDR"):
            Listener(sock=sock)
        with pytest.raises(wsasec.SecurityError, match="SO_REUSEADDR"):
            _wsasec.ListenerEngine()._start(sock, 0, False, False, 1, 0, 0)


def test_shared_port_of_plain_sockets() -> None:
    with plain(reuse_port=True) as one, Listener(one.address, secure=False, reuse_port=True) as other:
        assert one.address == other.address


@pytest.mark.parametrize("size", [1 << 16, 1 << 24])
def test_receive_buffer(size: int) -> None:
    with socket.socket(socket.AF_INET, DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        kept = os.dup(sock.fileno())
        with Listener(sock=sock, secure=False, receive_buffer=size), socket.socket(fileno=kept) as copy:
            limited = min(size, int(Path("/proc/sys/net/core/rmem_max").read_text()))
            # The kernel doubles it. Only the root of the whole system may go past the limit.
            assert copy.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) in (2 * size, 2 * limited)


@pytest.mark.parametrize(
    ("error", "arguments", "options"),
    [
        (TypeError, (), {}),
        (ValueError, (("127.0.0.1", 0),), {"mode": "source"}),
        (ValueError, (("127.0.0.1", 0),), {"mode": "discard"}),
        (ValueError, (("127.0.0.1", 0),), {"discard_after": 5}),
        (ValueError, (("127.0.0.1", 0),), {"threads": 0}),
        (ValueError, (("127.0.0.1", 0),), {"threads": 257}),
        (ValueError, (("127.0.0.1", 0),), {"mode": "discard", "discard_after": 1, "type": DGRAM}),
        (OSError, (("192.0.2.1", 0),), {}),
        (wsasec.SecurityError, (("127.0.0.1", 0),), {"read_size": 1 << 30}),
        (TypeError, (("127.0.0.1", 0),), {"settings": "all"}),
    ],
)
def test_refused(error: type[Exception], arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    with pytest.raises(error):
        Listener(*arguments, **options)


def test_sock_and_address() -> None:
    with socket.socket() as sock, pytest.raises(TypeError):
        Listener(("127.0.0.1", 0), sock=sock)


def test_counts_are_data() -> None:
    with plain() as listener, clients(listener, 1):
        counts = listener.counts
    assert json.loads(json.dumps(counts.to_dict()))["accepted"] == 1
    assert pickle.loads(pickle.dumps(counts)) == counts
    with pytest.raises(TypeError):
        pickle.dumps(listener)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert repr(listener).endswith("sink, closed>")
