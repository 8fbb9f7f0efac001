"""The daemon's socket: who is served, what is refused, and that nothing ends it."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

import hypothesis
import pytest
from daemon_talk import FakeBrain, answer, control, message, question, send, serving, until, verdict
from hypothesis import strategies as st

import wsasec
from wsasec.config.model import Account, Config
from wsasec.daemon.client import Client, DaemonError
from wsasec.daemon.protocol import ACCOUNT, ASSOCIATION, HEADER, MAGIC, Kind, NameFlag
from wsasec.daemon.questions import Questions
from wsasec.daemon.server import Limits, Server
from wsasec.keys.programs import Program
from wsasec.keys.reason import Reason
from wsasec.keys.verdict import Association, Verdict

pytestmark = pytest.mark.filterwarnings("ignore::wsasec.SecurityWarning")


HELPERS = str(Path(__file__).parents[2] / "helpers")


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("peer", [None, ("192.0.2.1", 80), ("2001:db8::1", 80)], ids=str)
def test_negotiate(tmp_path: Path, peer: tuple[str, int] | None) -> None:
    with serving(tmp_path) as talk, talk.connect() as sock, socket.socket() as secured:
        send(sock, message(Kind.NEGOTIATE, question(peer), 77), [secured.fileno()])
        assert verdict(answer(sock, Kind.NEGOTIATE, 77)) == (0, 0, 0, "")
        ((verb, asked, seconds),) = talk.brain.calls
        assert (verb, asked) == ("verify", None if peer is None else ip_address(peer[0]))
        assert 4 < seconds <= 5


def test_failures_are_told(tmp_path: Path) -> None:
    brain = FakeBrain(verdict=Verdict(Reason.OTHER_IDENTITY, "identity is 'm'\u20ac" + "x" * 300))
    with serving(tmp_path, brain=brain) as talk, talk.connect() as sock, socket.socket() as secured:
        send(sock, message(Kind.NEGOTIATE, question()), [secured.fileno()])
        code, reason, step, detail = verdict(answer(sock, Kind.NEGOTIATE))
        assert (code, reason, step) == (-10013, Reason.OTHER_IDENTITY, 32)
        assert detail.startswith("identity is 'm'\u20acxxx")
        assert len(detail.encode()) <= 247


def test_names_end_with_their_program(tmp_path: Path) -> None:
    program = """
import socket, sys
sys.path.insert(0, sys.argv[2])
from daemon_talk import *
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.connect(sys.argv[1])
with socket.socket() as secured:
    send(sock, message(Kind.SET_NAME, question(flags=1, name="CN=h\u00f6st")), [secured.fileno()])
    print(verdict(answer(sock, Kind.SET_NAME))[0], flush=True)
sock.close()
sys.stdin.read()
"""
    with serving(tmp_path) as talk:
        words = [sys.executable, "-c", program, str(talk.path), HELPERS]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == "0\n"
            assert talk.brain.calls == [("set_name", None, "CN=höst", NameFlag.RAW, process.pid)]
            until(lambda: talk.server.connections == 0)
            assert talk.brain.ended == []
            assert talk.server.programs == 1
            process.stdin.close()
        until(lambda: talk.brain.ended == [process.pid])
        assert talk.server.programs == 0


@pytest.mark.parametrize(
    "kind", [Kind.NEGOTIATE, Kind.SET_NAME, Kind.DELETE_NAME, Kind.HOLD, Kind.QUERY, Kind.ACCOUNT]
)
def test_no_socket(tmp_path: Path, kind: Kind) -> None:
    with serving(tmp_path) as talk, talk.connect() as sock, Path(os.devnull).open() as file:
        left, right = socket.socketpair()
        with left, right:
            for number, descriptor in enumerate((file.fileno(), left.fileno())):
                send(sock, message(kind, question(name="x"), number), [descriptor])
                assert verdict(answer(sock, kind, number))[:3] == (-10038, 1, 31)
        assert talk.brain.calls == []


def test_query(tmp_path: Path) -> None:
    found = Association(
        secured=True, encrypted=True, protocol=50, spi_in=1, spi_out=2, encryption="rfc4106(gcm(aes))",
        identity="b.example", own_identity="a.example", profile="default", certificate=b"\x30" * 900,
    )  # fmt: skip
    brain = FakeBrain(association=found)
    with serving(tmp_path, brain=brain) as talk, talk.connect() as sock, socket.socket() as secured:
        send(sock, message(Kind.QUERY, question()), [secured.fileno()])
        body = answer(sock, Kind.QUERY)
        values = ASSOCIATION.unpack_from(body)
        assert values[1:3] == (3, 50)
        ends, strings = values[-6:], body[ASSOCIATION.size :]
        begins = (0, *ends)
        parts = [strings[begin:end] for begin, end in zip(begins, ends, strict=False)]
        wanted = [b"rfc4106(gcm(aes))", b"", b"b.example", b"a.example", b"default", b"\x30" * 900]
        assert parts == wanted


def test_accounts(tmp_path: Path) -> None:
    """Nobody is mapped who is not in the configuration, and nobody to root."""
    config = Config(
        Path("wsasec.toml"),
        accounts=(
            Account("root", identity="r"),
            Account("nobody", identity="n"),
            Account("no such", identity="x"),
        ),
    )
    with serving(tmp_path, config) as talk, talk.connect() as sock, socket.socket() as secured:
        for identity, reason in (("n", 0), ("r", Reason.NO_ACCOUNT), ("x", 88), ("b.example", 88)):
            talk.brain.identity = identity
            send(sock, message(Kind.ACCOUNT, question()), [secured.fileno()])
            body = answer(sock, Kind.ACCOUNT)
            assert verdict(body)[1] == reason, identity
            uid, gid, count, name, ident, _ = ACCOUNT.unpack_from(body)[1:]
            rest = body[ACCOUNT.size + 4 * count :]
            assert rest[name : name + ident] == identity.encode()
            if reason:
                assert (uid, gid, count) == (0xFFFFFFFF, 0xFFFFFFFF, 0)
            else:
                assert uid == 65534
                assert 0 not in memoryview(body)[ACCOUNT.size :][: 4 * count].cast("I").tolist()
                assert rest[:name] == b"nobody"


def test_answers_of_many_datagrams(tmp_path: Path) -> None:
    with serving(tmp_path) as talk, talk.connect() as sock:
        for length in (0, 1, 65520, 65521, 300_000):
            send(sock, message(Kind.CONTROL, b'{"length": %d}' % length, length))
            assert answer(sock, Kind.CONTROL, length) == b"x" * length


MALFORMED = {
    "short": b"x",
    "magic": HEADER.pack(MAGIC + 1, Kind.NEGOTIATE, 0, 1, 0),
    "kind": message(99),
    "answer": message(Kind.NEGOTIATE | Kind.ANSWER, question()),
    "length": message(Kind.NEGOTIATE, question()) + b"x",
    "no descriptor": message(Kind.NEGOTIATE, question()),
    "no sockets": message(Kind.SECURE),
    "no question": message(Kind.QUERY, b"x"),
    "json": message(Kind.CONTROL, b"[[["),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(tmp_path: Path, data: bytes) -> None:
    """That connection is closed; others are served."""
    with serving(tmp_path) as talk, talk.connect() as sock, talk.connect() as other:
        send(sock, data)
        assert sock.recv(100) == b""
        send(other, message(Kind.CONTROL, b'{"length": 3}'))
        assert answer(other, Kind.CONTROL) == b"xxx"


@pytest.mark.parametrize(
    "body",
    [
        question(flags=16),
        question()[:8] + b"\x63\0" + question()[10:],
        question() + b"\xff",
    ],
    ids=["flag", "family", "UTF-8"],
)
def test_malformed_questions(tmp_path: Path, body: bytes) -> None:
    with serving(tmp_path) as talk, talk.connect() as sock, socket.socket() as secured:
        send(sock, message(Kind.SET_NAME, body), [secured.fileno()])
        assert sock.recv(100) == b""
        assert talk.brain.calls == []


def test_too_many_descriptors(tmp_path: Path) -> None:
    with serving(tmp_path) as talk, talk.connect() as sock, socket.socket() as secured:
        until(lambda: talk.server.connections == 1)
        before = open_descriptors()
        send(sock, message(Kind.SECURE), [secured.fileno()] * 251)
        assert sock.recv(100) == b""
        until(lambda: open_descriptors() == before - 1)


def test_questions_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with serving(tmp_path) as talk, talk.connect() as sock, socket.socket() as secured:
        talk.brain.go_on.clear()
        send(sock, message(Kind.NEGOTIATE, question(), 1), [secured.fileno()])
        send(sock, message(Kind.CONTROL, b'{"length": 3}', 2))
        assert answer(sock, Kind.CONTROL, 2) == b"xxx"
        talk.brain.go_on.set()
        assert verdict(answer(sock, Kind.NEGOTIATE, 1))[0] == 0


def test_no_more_is_read_than_may_wait(tmp_path: Path) -> None:
    with serving(tmp_path, limits=Limits(pending=3)) as talk, talk.connect() as sock:
        talk.brain.go_on.clear()
        with socket.socket() as secured:
            for number in range(8):
                send(sock, message(Kind.HOLD, question(), number), [secured.fileno()])
            until(lambda: len(talk.brain.calls) == 3)
            with talk.connect() as other:
                send(other, message(Kind.CONTROL, b'{"length": 1}'))
                answer(other, Kind.CONTROL)
            assert len(talk.brain.calls) == 3
            talk.brain.go_on.set()
            for number in range(8):
                answer_of_any = sock.recv(1000)
                assert HEADER.unpack_from(answer_of_any)[3] < 8, number
            assert len(talk.brain.calls) == 8


def test_programs_of_a_daemon_before(tmp_path: Path) -> None:
    """Their end is told of, whether it comes later or came before the first look."""
    with ExitStack() as stack:
        children = [stack.enter_context(subprocess.Popen(["sleep", "1000"])) for _ in range(2)]
        stack.callback(lambda: [child.kill() for child in children])
        programs = [Program(pid, os.pidfd_open(pid)) for pid in (os.getpid(), *(c.pid for c in children))]
        children[0].kill()
        children[0].wait()
        talk = stack.enter_context(serving(tmp_path, programs=programs))
        until(lambda: talk.brain.ended == [children[0].pid])
        with talk.connect() as sock, socket.socket() as secured:
            send(sock, message(Kind.SET_NAME, question(name="b.example")), [secured.fileno()])
            assert verdict(answer(sock, Kind.SET_NAME)) == (0, 0, 0, "")
        assert talk.server.programs == 2
        children[1].kill()
        until(lambda: talk.brain.ended == [child.pid for child in children])
        until(lambda: talk.server.programs == 1)


def test_whoever_has_asked_already_is_told(tmp_path: Path) -> None:
    """Though there are too many connections, and the question was there before the answer."""
    questions = Questions(Config(Path("wsasec.toml")), FakeBrain(), control, lambda: None)
    with ExitStack() as stack:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(tmp_path / "control"))
        listener.listen()
        made = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        waiting = [stack.enter_context(sock) for sock in made]
        secured = stack.enter_context(socket.socket())
        for sock in waiting:
            sock.settimeout(20)
            sock.connect(str(tmp_path / "control"))
            send(sock, message(Kind.NEGOTIATE, question()), [secured.fileno()])
        before = open_descriptors()
        server = Server(listener, questions, Limits(connections=0))
        thread = threading.Thread(target=server.run)
        thread.start()
        for sock in waiting:
            assert HEADER.unpack_from(sock.recv(1000))[1:4] == (Kind.ANSWER, 0, 0)
            assert sock.recv(1000) == b""
        server.stop()
        thread.join(20)
        assert open_descriptors() <= before


def test_no_descriptors_are_left(tmp_path: Path) -> None:
    """That is said, whatever was asked, and the connection goes on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(tmp_path) as talk, talk.connect() as sock, socket.socket() as secured:
        until(lambda: talk.server.connections == 1)
        before = open_descriptors()
        for number, kind in enumerate((Kind.SECURE, Kind.QUERY, Kind.CONTROL)):
            until(lambda: open_descriptors() == before)  # the last question's are closed after the answer
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))
            try:
                send(sock, message(kind, question(), number), [secured.fileno()] * 3)
                body = sock.recv(1000)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert HEADER.unpack_from(body)[1:4] == (Kind.ANSWER, 0, number)
            assert verdict(body[HEADER.size :])[1:] == (Reason.DAEMON_BUSY, 31, "no descriptors are left")
        send(sock, message(Kind.CONTROL, b'{"length": 1}'))
        assert answer(sock, Kind.CONTROL) == b"x"


def test_too_many_connections(tmp_path: Path) -> None:
    with serving(tmp_path, limits=Limits(connections=2)) as talk, ExitStack() as stack:
        socks = [stack.enter_context(talk.connect()) for _ in range(2)]
        until(lambda: talk.server.connections == 2)
        with talk.connect() as third:
            body = third.recv(1000)
            assert HEADER.unpack_from(body)[1:4] == (Kind.ANSWER, 0, 0)
            assert verdict(body[HEADER.size :])[1] == Reason.DAEMON_BUSY
            assert third.recv(1000) == b""
        with pytest.raises(DaemonError, match="as many programs as it can"):
            Client(tmp_path).control("status")
        socks[0].close()
        until(lambda: talk.server.connections == 1)
        with talk.connect() as third:
            send(third, message(Kind.CONTROL, b'{"length": 1}'))
            assert answer(third, Kind.CONTROL) == b"x"


def test_who_does_not_read_is_let_go(tmp_path: Path) -> None:
    with serving(tmp_path, limits=Limits(slow_seconds=0.3)) as talk, talk.connect() as sock:
        send(sock, message(Kind.CONTROL, b'{"length": 4000000}'))
        until(lambda: talk.server.connections == 0)


def test_connections_that_go_while_they_wait(tmp_path: Path) -> None:
    with serving(tmp_path) as talk, socket.socket() as secured:
        before = open_descriptors()
        talk.brain.go_on.clear()
        with talk.connect() as sock:
            send(sock, message(Kind.NEGOTIATE, question()), [secured.fileno()])
            until(lambda: len(talk.brain.calls) == 1)
        until(lambda: talk.server.connections == 0)
        talk.brain.go_on.set()
        until(lambda: open_descriptors() == before)


def test_a_failing_brain(tmp_path: Path) -> None:
    """That is the end of the connection that asked, and of nothing else."""
    with serving(tmp_path) as talk, talk.connect() as sock, socket.socket() as secured:
        talk.brain.verdict = None  # type: ignore[assignment]
        send(sock, message(Kind.NEGOTIATE, question()), [secured.fileno()])
        assert sock.recv(100) == b""
        talk.brain.verdict = Verdict()
        with talk.connect() as other:
            send(other, message(Kind.NEGOTIATE, question()), [secured.fileno()])
            assert verdict(answer(other, Kind.NEGOTIATE))[0] == 0


@hypothesis.settings(max_examples=300)
@hypothesis.given(
    data=st.one_of(
        st.binary(max_size=400),
        st.builds(
            message,
            st.sampled_from([int(kind) for kind in Kind]) | st.integers(0, 0xFFFF),
            st.one_of(
                st.binary(max_size=300),
                st.builds(
                    lambda seconds, flags, storage, name: (
                        question(None, seconds, flags)[:8] + storage.ljust(128, b"\0") + name
                    ),
                    st.integers(0, 4_000_000),
                    st.integers(0, 7),
                    st.binary(max_size=128),
                    st.binary(max_size=60),
                ),
                st.just(b'{"length": 100000}'),
            ),
        ),
    ),
    count=st.integers(0, 5),
)
def test_any_bytes(fuzzed: list, data: bytes, count: int) -> None:  # type: ignore[type-arg]
    """Whatever comes, the daemon serves others, and keeps no descriptor."""
    talk, secured, before = fuzzed
    with talk.connect() as sock:
        if data:
            send(sock, data, [secured.fileno()] * count)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(70000):
            pass
    with talk.connect() as other:
        send(other, message(Kind.CONTROL, b'{"length": 3}'))
        assert answer(other, Kind.CONTROL) == b"xxx"
    until(lambda: talk.server.connections == 0)
    # As root the socket may have been secured, for which the process keeps descriptors of its own.
    wsasec.release_namespaces()
    until(lambda: open_descriptors() <= before + talk.server.programs)


@pytest.fixture
def fuzzed(tmp_path: Path):  # type: ignore[no-untyped-def]
    with serving(tmp_path) as talk, socket.socket() as secured:
        yield talk, secured, open_descriptors()


def test_it_may_be_stopped_after_its_end(tmp_path: Path) -> None:
    with serving(tmp_path) as talk, talk.connect() as sock:
        talk.server.stop()
        assert sock.recv(100) == b""
        until(lambda: talk.server._wake < 0)
        talk.server.stop()


def test_stopping_ends_who_waits(tmp_path: Path) -> None:
    brain = FakeBrain()
    brain.go_on.clear()
    with serving(tmp_path, brain=brain) as talk, talk.connect() as sock, socket.socket() as secured:
        send(sock, message(Kind.NEGOTIATE, question()), [secured.fileno()])
        until(lambda: len(brain.calls) == 1)
        stopper = threading.Thread(target=talk.server.stop)
        stopper.start()
        stopper.join()
        assert sock.recv(100) == b""
