"""First connections: the key daemon is asked, once, and what it says is tried or told."""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from told_daemon import FakeDaemon, block, number_of
from wire import wait_for

import wsasec
from wsasec import ConnectError, SecurityError, SecurityFlags, Settings, SocketBatch, Winsock

LONG = 60.0
STEP = number_of("WSASEC_STEP_NEGOTIATE", "wsasec_step")

REASONS = {
    "NO_PROPOSAL": (Winsock.WSAEACCES, "none of the proposals"),
    "AUTHENTICATION": (Winsock.WSAEACCES, "authentication failed"),
    "OTHER_IDENTITY": (Winsock.WSAEACCES, "not whom the name asks for"),
    "PEER_SILENT": (Winsock.WSAETIMEDOUT, "does not answer IKE"),
    "NO_CHARON": (Winsock.WSAENETDOWN, "charon"),
    "NOT_ALLOWED": (Winsock.WSAEACCES, "does not allow this user"),
}


def verdict(reason: str, detail: str = "what it said") -> list[Any]:
    return [-REASONS[reason][0], number_of(f"WSASEC_REASON_{reason}", "wsasec_reason"), STEP, detail]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(4096)
        yield sock


def connect_sync(sock: socket.socket, address: Any, timeout: float = LONG) -> None:
    wsasec.connect(sock, address, timeout)


def connect_async(sock: socket.socket, address: Any, timeout: float = LONG) -> None:
    sock.setblocking(False)
    asyncio.run(wsasec.aio.connect(sock, address, timeout))


def connect_batch(sock: socket.socket, address: Any, timeout: float = LONG) -> None:
    """By the loop in C, which takes any descriptors."""
    sock.setblocking(False)
    with SocketBatch(1, secure=False) as batch:
        os.dup2(sock.fileno(), batch[0])
        batch.connect(address, timeout=timeout)


all_ways = pytest.mark.parametrize(
    "connect", [connect_sync, connect_async, connect_batch], ids=["sync", "asyncio", "C"]
)
Connect = Callable[..., None]


@all_ways
def test_keys_are_made(tmp_path: Path, connect: Connect, listener: socket.socket) -> None:
    with FakeDaemon(tmp_path, open=True) as daemon, socket.socket() as sock:
        wsasec.secure(sock)
        begin = time.monotonic()
        connect(sock, listener.getsockname())
        assert time.monotonic() - begin < 5
        assert sock.getpeername() == listener.getsockname()
        assert daemon.questions() == [["NEGOTIATE", 1, "127.0.0.1", 136]]


@all_ways
@pytest.mark.parametrize("reason", REASONS)
def test_there_will_be_none(tmp_path: Path, connect: Connect, reason: str) -> None:
    with FakeDaemon(tmp_path, verdict=verdict(reason)) as daemon, socket.socket() as sock:
        wsasec.secure(sock)
        begin = time.monotonic()
        with pytest.raises(SecurityError, match=REASONS[reason][1]) as caught:
            connect(sock, ("127.0.0.1", 9))
        assert time.monotonic() - begin < 5
        assert "what it said" in str(caught.value)
        assert (caught.value.winsock, caught.value.step) == (REASONS[reason][0], "negotiation")
        assert daemon.kinds() == {"NEGOTIATE": 1}


@all_ways
def test_the_deadline_is_kept(tmp_path: Path, connect: Connect) -> None:
    """Also where the daemon does not answer."""
    with FakeDaemon(tmp_path, delay=60) as daemon, socket.socket() as sock:
        wsasec.secure(sock)
        begin = time.monotonic()
        with pytest.raises(SecurityError, match="no security association"):
            connect(sock, ("127.0.0.1", 9), 0.3)
        assert 0.29 <= time.monotonic() - begin < 5
        wait_for(daemon.kinds, "it has read the question")
        assert daemon.kinds() == {"NEGOTIATE": 1}


@all_ways
def test_without_a_daemon(tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsasec.sockets.kernel_without_esp", lambda: False)
    with socket.socket() as sock:
        wsasec.secure(sock)
        with pytest.raises(SecurityError, match="no security association") as caught:
            connect(sock, ("127.0.0.1", 9), 0.1)
        assert "no key daemon runs" in caught.value.hint


@all_ways
def test_a_daemon_that_dies(tmp_path: Path, connect: Connect) -> None:
    """It may be started again: so it goes on to the deadline."""
    with FakeDaemon(tmp_path, delay=60) as daemon, socket.socket() as sock:
        wsasec.secure(sock)
        daemon.kill()
        with pytest.raises(SecurityError, match="no security association"):
            connect(sock, ("127.0.0.1", 9), 0.3)


# --- names ---


@all_ways
def test_names_are_held_against_the_peer(tmp_path: Path, connect: Connect, listener: socket.socket) -> None:
    with FakeDaemon(tmp_path, open=True) as daemon, socket.socket() as sock:
        wsasec.secure(sock)
        block(sock)
        connect(sock, listener.getsockname())
        assert daemon.kinds() == {"NEGOTIATE": 1}


@all_ways
def test_another_peer(tmp_path: Path, connect: Connect, listener: socket.socket) -> None:
    told = verdict("OTHER_IDENTITY", "identity is 'X', 'Y' was asked for")
    with FakeDaemon(tmp_path, verdict=told) as daemon, socket.socket() as sock:
        wsasec.secure(sock)
        block(sock)
        with pytest.raises(SecurityError, match="identity is 'X', 'Y' was asked for"):
            connect(sock, listener.getsockname())
        assert daemon.kinds() == {"NEGOTIATE": 1}
        with pytest.raises(PermissionError):
            sock.connect(listener.getsockname())


@all_ways
def test_an_open_gate_is_closed_after_a_failure(tmp_path: Path, connect: Connect) -> None:
    with FakeDaemon(tmp_path, open=True) as daemon, socket.socket() as sock:
        wsasec.secure(sock)
        block(sock)
        with pytest.raises((ConnectionRefusedError, ConnectError)):
            connect(sock, ("127.0.0.1", 9))
        assert daemon.kinds() == {"NEGOTIATE": 1, "HOLD": 1}


@all_ways
def test_a_firewall_is_asked_about_once(tmp_path: Path, connect: Connect, listener: socket.socket) -> None:
    """Success, and EPERM all the same."""
    with FakeDaemon(tmp_path) as daemon, socket.socket() as sock:
        wsasec.secure(sock)
        block(sock)
        with pytest.raises(OSError, match="not permitted"):
            connect(sock, listener.getsockname())
        assert daemon.kinds() == {"NEGOTIATE": 1, "HOLD": 1}


@all_ways
def test_an_open_gate_is_closed_at_the_deadline(tmp_path: Path, connect: Connect) -> None:
    """The connection is still being made."""
    with socket.socket() as busy, ExitStack() as stack:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        for _ in range(4):  # until there is no room for another: then it does not answer
            other = stack.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(busy.getsockname())
        with FakeDaemon(tmp_path, open=True) as daemon, socket.socket() as sock:
            wsasec.secure(sock)
            block(sock)
            with pytest.raises((TimeoutError, ConnectError)):
                connect(sock, busy.getsockname(), 0.5)
            assert daemon.kinds() == {"NEGOTIATE": 1, "HOLD": 1}


@all_ways
def test_a_gate_that_may_be_opened_too_late(tmp_path: Path, connect: Connect) -> None:
    """The question is given up; what the daemon does about it is to be undone all the same."""
    with FakeDaemon(tmp_path, delay=60) as daemon, socket.socket() as sock:
        wsasec.secure(sock)
        block(sock)
        with pytest.raises(OSError):
            connect(sock, ("127.0.0.1", 9), 0.3)
        assert daemon.kinds() == {"NEGOTIATE": 1, "HOLD": 1}


def test_a_daemon_that_closes_no_gates(tmp_path: Path, listener: socket.socket) -> None:
    """It is waited for once, however many sockets there are; and they can send nothing."""
    with (
        FakeDaemon(tmp_path, open=True, hold_delay=60) as daemon,
        SocketBatch(20) as batch,
        ExitStack() as stack,
    ):
        socks = [stack.enter_context(socket.socket(fileno=os.dup(number))) for number in batch]
        for sock in socks:
            block(sock)
        begin = time.monotonic()
        report = batch.connect(("127.0.0.1", 9), timeout=LONG, errors="return")
        assert time.monotonic() - begin < 5
        assert report.errors == {"ECONNREFUSED": 20}
        assert daemon.kinds() == {"NEGOTIATE": 20, "HOLD": 1}
        for sock in socks:
            with pytest.raises(OSError) as caught:
                sock.connect(listener.getsockname())
            assert caught.value.errno == errno.ENODEV


def interrupt(*_: object) -> None:
    raise InterruptedError


def test_an_interrupted_connector_closes_gates(tmp_path: Path) -> None:
    """Its sockets may be used for another peer."""
    with FakeDaemon(tmp_path, delay=60) as daemon, SocketBatch(2) as batch:
        for number in batch:
            with socket.socket(fileno=os.dup(number)) as sock:
                block(sock)
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(InterruptedError):
                batch.connect(("127.0.0.1", 9), timeout=LONG)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert daemon.kinds() == {"NEGOTIATE": 2, "HOLD": 2}


# --- sockets that may be in clear ---


CLEAR = Settings(SecurityFlags.ALLOW_INSECURE)


def clear_sync(address: Any, timeout: float = LONG) -> None:
    with socket.socket() as sock:
        wsasec.secure(sock, CLEAR)
        wsasec.connect(sock, address, timeout)


def clear_async(address: Any, timeout: float = LONG) -> None:
    async def main() -> None:
        _, writer = await wsasec.aio.open_connection(*address, settings=CLEAR, timeout=timeout)
        writer.close()

    asyncio.run(main())


def clear_batch(address: Any, timeout: float = LONG) -> None:
    with SocketBatch(20, settings=CLEAR) as batch:
        assert batch.connect(address, timeout=timeout).connected == 20


in_clear = pytest.mark.parametrize(
    "connect", [clear_sync, clear_async, clear_batch], ids=["sync", "asyncio", "C"]
)


@in_clear
@pytest.mark.parametrize("told", [{}, {"verdict": verdict("PEER_SILENT")}], ids=["keys", "no keys"])
def test_in_clear_after_the_negotiation(
    tmp_path: Path, connect: Connect, listener: socket.socket, told: dict[str, Any]
) -> None:
    with FakeDaemon(tmp_path, delay=0.3, **told) as daemon:
        begin = time.monotonic()
        connect(listener.getsockname())
        assert 0.3 <= time.monotonic() - begin < 5
        assert daemon.kinds() == {"NEGOTIATE": 1}


@in_clear
def test_in_clear_after_a_while(tmp_path: Path, connect: Connect, listener: socket.socket) -> None:
    with FakeDaemon(tmp_path, delay=60) as daemon:
        begin = time.monotonic()
        connect(listener.getsockname(), 2.0)
        assert 0.9 <= time.monotonic() - begin < 1.9
        assert daemon.kinds() == {"NEGOTIATE": 1}


def test_in_clear_not_because_others_give_up(tmp_path: Path, listener: socket.socket) -> None:
    """Sockets of a loop share a question: it goes on for those that still wait for its answer."""

    async def impatient(sock: socket.socket) -> None:
        with pytest.raises(SecurityError):
            await wsasec.aio.connect(sock, ("127.0.0.1", 9), 0.2)

    async def main() -> float:
        with socket.socket() as sock:
            wsasec.secure(sock)
            sock.setblocking(False)
            other = asyncio.ensure_future(impatient(sock))
            begin = time.monotonic()
            _, writer = await wsasec.aio.open_connection(
                *listener.getsockname(), settings=CLEAR, timeout=LONG
            )
            writer.close()
            await other
        return time.monotonic() - begin

    with FakeDaemon(tmp_path, delay=1.0):
        assert 1.0 <= asyncio.run(main()) < 5


@in_clear
def test_in_clear_at_once_without_a_daemon(connect: Connect, listener: socket.socket) -> None:
    begin = time.monotonic()
    connect(listener.getsockname())
    assert time.monotonic() - begin < 5


# --- many ---


def test_one_question_for_ten_thousand(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path, verdict=verdict("PEER_SILENT"), delay=0.2) as daemon:
        with SocketBatch(10_000, raise_limit=True) as batch:
            report = batch.connect(("127.0.0.1", range(1000, 1100)), timeout=LONG, errors="return")
        assert report.errors == {"EAGAIN": 10_000}
        assert report.seconds < 20
        assert daemon.kinds() == {"NEGOTIATE": 1}


def test_one_question_for_many_in_a_loop(tmp_path: Path) -> None:
    async def one(sock: socket.socket) -> None:
        with pytest.raises(SecurityError, match="does not answer IKE"):
            await wsasec.aio.connect(sock, ("127.0.0.1", 9), LONG)

    async def main() -> None:
        await asyncio.gather(*map(one, socks))

    with FakeDaemon(tmp_path, verdict=verdict("PEER_SILENT"), delay=0.5) as daemon:
        with SocketBatch(2000, raise_limit=True) as batch:
            socks = batch.sockets()
        for sock in socks:
            sock.setblocking(False)
        asyncio.run(main())
        for sock in socks:
            sock.close()
        assert daemon.kinds() == {"NEGOTIATE": 1}


def test_one_host_does_not_hold_up_another(tmp_path: Path, listener: socket.socket) -> None:
    with FakeDaemon(tmp_path, delay=60) as daemon:
        with SocketBatch(200, secure=False) as plain, SocketBatch(200) as secured:
            for i in range(0, 200, 2):
                os.dup2(secured[i], plain[i])
            addresses = [("127.0.0.2", 9), listener.getsockname()]
            report = plain.connect(addresses, timeout=1.0, errors="return")
        assert report.connected == 100
        assert report.errors == {"EAGAIN": 100}
        assert report.latency.maximum < 500_000
        assert daemon.kinds() == {"NEGOTIATE": 1}


def test_many_hosts(tmp_path: Path) -> None:
    """More than are asked about at a time; those that fail are told apart."""
    hosts = [f"127.0.1.{number}" for number in range(1, 41)]
    told = {"by_host": {hosts[7]: {"verdict": verdict("AUTHENTICATION")}}}
    with FakeDaemon(tmp_path, verdict=verdict("PEER_SILENT"), delay=0.05, **told) as daemon:
        with SocketBatch(400) as batch:
            with pytest.raises(ConnectError, match="does not answer IKE") as caught:
                batch.connect([(host, 9) for host in hosts], timeout=LONG)
            codes = [Winsock.WSAETIMEDOUT] * 40
            codes[7] = Winsock.WSAEACCES
            assert list(caught.value.codes) == codes * 10
            assert pickle.loads(pickle.dumps(caught.value)).codes == caught.value.codes
            with pytest.raises(ConnectError, match="authentication failed"):
                batch[7:8].connect((hosts[7], 9), timeout=LONG)
        assert daemon.kinds() == {"NEGOTIATE": 41}


def test_many_with_names(tmp_path: Path, listener: socket.socket) -> None:
    with FakeDaemon(tmp_path, open=True) as daemon, SocketBatch(100) as batch:
        for number in batch:
            with socket.socket(fileno=os.dup(number)) as sock:
                block(sock)
        assert batch.connect(listener.getsockname(), timeout=LONG).connected == 100
        assert daemon.kinds() == {"NEGOTIATE": 100}


def test_plain_connect_is_as_it_was(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon, socket.socket() as sock:
        wsasec.secure(sock)
        with pytest.raises(BlockingIOError) as caught:
            sock.connect(("127.0.0.1", 9))
        assert caught.value.errno == errno.EAGAIN
        assert not daemon.questions()
