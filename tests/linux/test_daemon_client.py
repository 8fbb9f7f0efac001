"""The client of the key daemon, with a daemon that answers whatever there is."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_daemon
import pytest
from fake_daemon import ANSWER, GOOD, HEADER, MAGIC, NEGOTIATE, FakeDaemon, Question, verdict
from hypothesis import given
from hypothesis import strategies as st
from reachable import open_to_all

import wsasec
from wsasec import SecurityError, Winsock
from wsasec.keys.reason import Reason
from wsasec.lab import private

PEER = ("127.0.0.1", 9)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WSASEC_RUN", str(tmp_path))
    return tmp_path


@pytest.fixture
def daemon(folder: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(folder) as running:
        yield running


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as made:
        wsasec.secure(made)
        yield made


def failure(call: Callable[[], object]) -> SecurityError:
    with pytest.raises(SecurityError) as caught:
        call()
    return caught.value


def ask(sock: socket.socket, timeout: float = 5) -> None:
    wsasec.negotiate(sock, PEER, timeout=timeout)


def test_asking(daemon: FakeDaemon, sock: socket.socket) -> None:
    ask(sock, timeout=7)
    ask(sock)
    first, second = daemon.questions
    assert first.kind == NEGOTIATE
    assert first.milliseconds == 7000
    assert first.peer[:8] == bytes([socket.AF_INET, 0, 0, 9, 127, 0, 0, 1])
    assert first.cookies == (sock.getsockopt(socket.SOL_SOCKET, 57, 8),)
    assert first.number != second.number
    assert daemon.connections == 1


def test_no_daemon(folder: Path, sock: socket.socket) -> None:
    assert "no key daemon runs" in str(failure(lambda: ask(sock)))
    with FakeDaemon(folder) as daemon:
        ask(sock)
    daemon.path.write_text("a file, no socket")
    error = failure(lambda: ask(sock))
    assert error.winsock is Winsock.WSAENETDOWN
    assert "no key daemon runs" in str(error)


def test_a_daemon_that_was_started_anew(folder: Path, sock: socket.socket) -> None:
    for _ in range(3):
        with FakeDaemon(folder) as daemon:
            ask(sock)
            assert daemon.connections == 1


def test_the_folder_of_another_namespace(daemon: FakeDaemon, sock: socket.socket) -> None:
    """A thread that goes elsewhere asks the daemon there, though there are connections to the one here."""
    ask(sock)
    errors = []

    def elsewhere() -> None:
        with private():
            errors.append(failure(lambda: ask(sock)))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "no key daemon runs" in str(errors[0])


@pytest.mark.parametrize("detail", [b"", b"identity is 'a', 'b' was asked for", "é".encode() * 123, b"\xff"])
def test_verdicts(daemon: FakeDaemon, sock: socket.socket, detail: bytes) -> None:
    daemon.handler = lambda question: [question.answer(verdict(-10060, 78, 32, detail))]
    error = failure(lambda: ask(sock))
    assert error.winsock is Winsock.WSAETIMEDOUT
    assert error.step == "negotiation"
    assert error.strerror.endswith(": " + detail.decode(errors="replace")) == bool(detail)
    daemon.handler = fake_daemon.good
    ask(sock)
    with pytest.raises(SecurityError) as caught:
        wsasec.secure(sock)
    assert "was asked for" not in str(caught.value)


def test_silence(daemon: FakeDaemon, sock: socket.socket) -> None:
    daemon.handler = lambda _: []
    start = time.monotonic()
    error = failure(lambda: ask(sock, timeout=0.1))
    assert 0.1 <= time.monotonic() - start < 20
    assert error.winsock is Winsock.WSAETIMEDOUT
    assert "does not answer" in str(error)
    daemon.handler = fake_daemon.good
    ask(sock)
    assert daemon.connections == 2


def test_a_daemon_that_hangs_up(daemon: FakeDaemon, sock: socket.socket) -> None:
    daemon.handler = lambda _: None
    assert "it ended before it had answered" in str(failure(lambda: ask(sock)))
    daemon.handler = fake_daemon.good
    ask(sock)


@pytest.mark.parametrize("mine", [True, False])
def test_a_question_that_is_not_taken(daemon: FakeDaemon, sock: socket.socket, mine: bool) -> None:
    """An answer of no kind says why; after one to no question, another connection is used."""
    body = verdict(-10055, int(Reason.DAEMON_BUSY), 31, b"too many connections")

    def refuse(question: Question) -> list[bytes]:
        return [HEADER.pack(MAGIC, ANSWER, 0, question.number if mine else 0, len(body)) + body]

    daemon.handler = refuse
    error = failure(lambda: ask(sock))
    assert error.winsock is Winsock.WSAENOBUFS
    assert str(error).count("too many connections") == 1
    daemon.handler = fake_daemon.good
    ask(sock)
    assert daemon.connections == (1 if mine else 2)


def test_a_daemon_that_takes_no_more_connections(daemon: FakeDaemon, sock: socket.socket) -> None:
    daemon.refusal = verdict(-10055, int(Reason.DAEMON_BUSY), 31, b"too many connections")
    error = failure(lambda: ask(sock))
    assert error.winsock is Winsock.WSAENOBUFS
    assert error.strerror.endswith("serves as many programs as it can: too many connections")
    daemon.refusal = GOOD
    assert "another version" in str(failure(lambda: ask(sock)))
    daemon.refusal = None
    ask(sock)
    assert daemon.connections == 3


def headers() -> st.SearchStrategy[Callable[[Question], bytes]]:
    """Answers of which one thing is wrong."""

    def wrong(place: int, value: int, size: int) -> Callable[[Question], bytes]:
        def make(question: Question) -> bytes:
            parts = [MAGIC, question.kind | ANSWER, 0, question.number, len(GOOD)]
            parts[place] = value ^ 1 if parts[place] == value else value
            return HEADER.pack(*parts) + GOOD[:size] + bytes(max(0, size - len(GOOD)))

        return make

    sixteen = st.integers(0, 0xFFFF)
    return st.tuples(st.integers(0, 4), sixteen, st.integers(0, 600)).map(lambda given: wrong(*given))


@given(headers() | st.binary(min_size=1, max_size=400).map(lambda data: lambda _: data))
def test_garbage(daemon: FakeDaemon, sock: socket.socket, make: Callable[[Question], bytes]) -> None:
    daemon.handler = lambda question: [make(question)]
    error = failure(lambda: ask(sock))
    assert "another version of the protocol" in str(error)
    assert error.winsock is Winsock.WSAENETDOWN
    daemon.handler = fake_daemon.good
    ask(sock)


@given(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.binary(max_size=248),
)
def test_verdicts_of_all_kinds(
    daemon: FakeDaemon, sock: socket.socket, code: int, reason: int, step: int, detail: bytes
) -> None:
    """Nothing but 0 is a success, and nothing that makes no sense is believed."""
    daemon.handler = lambda question: [question.answer(verdict(code, reason, step, detail))]
    if code == 0:
        ask(sock)
    else:
        assert failure(lambda: ask(sock)).winsock != 0


@given(st.integers(0, 255), st.integers(257, 5000))
def test_sizes(daemon: FakeDaemon, sock: socket.socket, short: int, long: int) -> None:
    for size in short, long:
        daemon.handler = lambda question, size=size: [question.answer(GOOD[:size].ljust(size, b"\0"))]
        assert "another version" in str(failure(lambda: ask(sock)))


def test_many_threads(daemon: FakeDaemon, sock: socket.socket) -> None:
    def work() -> None:
        for _ in range(50):
            ask(sock)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(daemon.questions) == 1000
    assert len({question.number for question in daemon.questions}) == 1000


def test_children_do_not_use_their_parents_connections(daemon: FakeDaemon, sock: socket.socket) -> None:
    ask(sock)
    child = os.fork()
    if not child:
        status = 1
        try:
            ask(sock)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    ask(sock)
    assert daemon.connections == 2


def test_a_number_that_was_closed_and_used_again(daemon: FakeDaemon, sock: socket.socket) -> None:
    ask(sock)
    pair = socket.socketpair()
    taken = [
        fd
        for fd in [int(path.name) for path in Path("/proc/self/fd").iterdir()]
        if is_connected_to(fd, daemon)
    ]
    assert len(taken) == 1
    os.dup2(pair[0].fileno(), taken[0])
    ask(sock)
    assert daemon.connections == 2
    wsasec.release_namespaces()
    pair[0].send(b"x")
    assert pair[1].recv(9) == b"x"
    assert stat.S_ISSOCK(os.fstat(taken[0]).st_mode)
    os.close(taken[0])
    for end in pair:
        end.close()


def is_connected_to(fd: int, daemon: FakeDaemon) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return False
        with socket.socket(fileno=os.dup(fd)) as sock:
            return sock.family == socket.AF_UNIX and sock.getpeername() == str(daemon.path)
    except OSError:
        return False


def test_signals_do_not_end_it(daemon: FakeDaemon, sock: socket.socket) -> None:
    def slow(question: Question) -> list[bytes]:
        time.sleep(0.3)
        return fake_daemon.good(question)

    daemon.handler = slow
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    timer = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGUSR1])
    timer.start()
    ask(sock)
    timer.join()
    signal.signal(signal.SIGUSR1, before)
    assert seen


def test_somebody_elses_daemon(folder: Path, sock: socket.socket) -> None:
    """Only root's and the user's own are believed."""
    open_to_all(folder, 0o777)
    os.seteuid(65534)
    try:
        daemon = FakeDaemon(folder).__enter__()
    finally:
        os.seteuid(0)
    try:
        assert "user 65534 is there instead" in str(failure(lambda: ask(sock)))
        assert not daemon.questions
    finally:
        daemon.__exit__()


def test_closed_sockets(daemon: FakeDaemon) -> None:
    closed = socket.socket()
    wsasec.secure(closed)
    number = closed.fileno()
    closed.close()
    assert failure(lambda: wsasec.negotiate(number, PEER)).winsock is Winsock.WSAENOTSOCK


def test_negotiating(daemon: FakeDaemon) -> None:
    wsasec.negotiate(("127.0.0.1", 443))
    wsasec.negotiate(("::1", 443))
    four, six = daemon.questions
    assert four.peer[:2] == socket.AF_INET.to_bytes(2, "little")
    assert six.peer[:2] == socket.AF_INET6.to_bytes(2, "little")
    assert len(four.cookies) == 1
    with socket.socket() as plain:
        assert failure(lambda: wsasec.negotiate(plain, PEER)).winsock is Winsock.WSAEINVAL
    with socket.socket() as sock, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        wsasec.secure(sock)
        wsasec.secure(datagrams)
        assert failure(lambda: wsasec.negotiate(sock)).winsock is Winsock.WSAENOTCONN
        assert failure(lambda: wsasec.negotiate(datagrams)).winsock is Winsock.WSAEFAULT
        wsasec.negotiate(datagrams, PEER)
        for call in (
            lambda: wsasec.negotiate(sock, PEER, settings=wsasec.Settings()),
            lambda: wsasec.negotiate(PEER, PEER),
            lambda: wsasec.negotiate(sock, PEER, timeout=-1),
            lambda: wsasec.negotiate(sock, ("::1", 9)),
        ):
            with pytest.raises(ValueError):
                call()
        with pytest.raises(TypeError):
            wsasec.negotiate(sock, PEER, timeout="1")  # type: ignore[arg-type]
