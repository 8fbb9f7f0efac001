"""Overlapped calls through a completion port: every code at its index, whatever the order of completion."""

from __future__ import annotations

import signal
import socket
import threading
import time

import pytest
from double import STATUS_CONNECTION_RESET, Double, Function, Given, Mode

import wsasec
from wsasec import IpsecSettings, SecurityFlags, Winsock

SET = Function.WSASetSocketSecurity
WINDOW = 256


@pytest.mark.parametrize("mode", [Mode.AT_ONCE, Mode.DELAYED, Mode.RANDOM])
def test_all_succeed(double: Double, mode: Mode) -> None:
    double.overlap(SET, mode, delay=0.02)
    settings = IpsecSettings(flags=SecurityFlags.GUARANTEE_ENCRYPTION, user_name="somebody")
    with wsasec.SocketBatch(600, secure=False) as batch:
        assert wsasec.secure_many(batch, settings, method="overlapped") is None
        calls = double.calls
        assert [call.socket for call in calls] == list(batch)
        assert {call.data for call in calls} == {bytes(settings)}
        assert all(call.given == Given.INPUT | Given.OVERLAPPED for call in calls)
        assert len({call.overlapped for call in calls}) <= WINDOW
        assert all(call.completed for call in calls)


def test_ten_thousand_in_random_order(double: Double) -> None:
    """One thousand of them fail; the double completes them in an order of its own."""
    double.overlap(SET, Mode.RANDOM, delay=0.005, status=STATUS_CONNECTION_RESET, skip=4_000, times=1_000)
    with wsasec.SocketBatch(10_000, secure=False) as batch:
        codes = wsasec.secure_many(batch, method="overlapped", errors="return")
        calls = double.calls
        assert double.count == 10_000
        assert sorted(call.socket for call in calls) == sorted(batch)
        failed = {call.socket for call in calls if call.status}
        assert len(failed) == 1_000
        assert [bool(code) for code in codes] == [number in failed for number in batch]
        order = [call.completed for call in calls]
        assert sorted(order) == list(range(1, 10_001))
        assert order != sorted(order)


def test_failures_have_their_index(double: Double) -> None:
    double.overlap(SET, Mode.RANDOM, delay=0.01, status=STATUS_CONNECTION_RESET, skip=300, times=20)
    with wsasec.SocketBatch(1000, secure=False) as batch:
        codes = wsasec.secure_many(batch, method="overlapped", errors="return")
        failed = {call.socket for call in double.calls if call.status}
        assert len(failed) == 20
        assert {number for number, code in zip(batch, codes, strict=True) if code} == failed
        assert {code for code in codes if code} == {Winsock.WSAECONNRESET}


def test_failures_at_once(double: Double) -> None:
    double.overlap(SET, Mode.DELAYED, delay=0.01)
    double.fail(SET, Winsock.WSAEACCES, skip=100, times=5)
    with wsasec.SocketBatch(300, secure=False) as batch:
        codes = wsasec.secure_many(batch, method="overlapped", errors="return")
        assert [i for i, code in enumerate(codes) if code] == list(range(100, 105))
        assert codes[100] == Winsock.WSAEACCES


def test_deadline(double: Double) -> None:
    """What hangs is cancelled, what was not begun is not begun."""
    double.overlap(SET, Mode.NEVER)
    with wsasec.SocketBatch(1000, secure=False) as batch:
        start = time.monotonic()
        codes = wsasec.secure_many(batch, method="overlapped", errors="return", timeout=0.3)
        assert 0.3 <= time.monotonic() - start < 20
        assert set(codes) == {Winsock.WSAETIMEDOUT}
        assert double.count == WINDOW


def test_an_exception_cancels(double: Double) -> None:
    double.overlap(SET, Mode.NEVER)

    def progress(done: int, total: int) -> None:
        assert (done, total) == (0, 500)
        raise ZeroDivisionError

    with wsasec.SocketBatch(500, secure=False) as batch, pytest.raises(ZeroDivisionError):
        wsasec.secure_many(batch, method="overlapped", progress=progress)


def test_a_signal_cancels(double: Double) -> None:
    double.overlap(SET, Mode.NEVER)
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    with wsasec.SocketBatch(500, secure=False) as batch:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            wsasec.secure_many(batch, method="overlapped")
    timer.join()


def test_closed_while_they_are_under_way(double: Double) -> None:
    double.overlap(SET, Mode.NEVER)
    with wsasec.SocketBatch(500, secure=False) as batch, pytest.raises(ValueError, match="was closed"):
        wsasec.secure_many(batch, method="overlapped", progress=lambda *_: batch.close())


def test_sockets_that_are_closed_end_their_calls(double: Double) -> None:
    """A batch is closed when its calls have ended; other sockets their owner may close at any time."""
    double.overlap(SET, Mode.NEVER)
    socks = [socket.socket() for _ in range(20)]

    def close(*_: int) -> None:
        for sock in socks:
            sock.close()

    codes = wsasec.secure_many(socks, method="overlapped", errors="return", progress=close, timeout=30)
    assert double.count == 20
    assert all(codes)
    assert Winsock.WSAETIMEDOUT not in codes


def test_memory_of_calls_that_do_not_end_is_kept(double: Double) -> None:
    """Neither cancelled nor completed until much later: nothing is freed that may still be written."""
    double.overlap(SET, Mode.ON_RELEASE)
    with wsasec.SocketBatch(300, secure=False) as batch:
        codes = wsasec.secure_many(batch, method="overlapped", errors="return", timeout=0.1)
        assert set(codes) == {Winsock.WSAETIMEDOUT}
        assert 0 < double.pending <= WINDOW
        double.release_all()
        double.settle()
    double.reset()
    with wsasec.SocketBatch(300, secure=False) as batch:
        wsasec.secure_many(batch, method="overlapped")


def test_again_by_another_port(double: Double) -> None:
    """A socket belongs to one port only; it is let go of afterwards, or else secured without one."""
    double.overlap(SET, Mode.DELAYED)
    with wsasec.SocketBatch(10, secure=False) as batch:
        for _ in range(3):
            wsasec.secure_many(batch, method="overlapped")
        assert double.count == 30


def test_not_to_be_had_for_batches(double: Double) -> None:
    with pytest.raises(wsasec.SecurityError) as caught:
        wsasec.SocketBatch(10, method="overlapped")
    assert caught.value.winsock == Winsock.WSAEOPNOTSUPP
