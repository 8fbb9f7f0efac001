"""The double itself: it records what it is given, and does what it is told."""

from __future__ import annotations

import ctypes
import gc
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from ctypes import wintypes
from typing import Any

import pytest
from double import (
    BYTES,
    CALLS,
    STATUS_CANCELLED,
    STATUS_CONNECTION_RESET,
    Double,
    Function,
    Given,
    Handles,
    Mode,
)

WSA_IO_PENDING = 997
WSAEACCES = 10013
WSAEFAULT = 10014
WSAENOTSOCK = 10038
WSAEMSGSIZE = 10040
WSAECONNRESET = 10054
WSA_OPERATION_ABORTED = 995
STATUS_PENDING = 0x103

PEER = bytes(range(16))
SET = Function.WSASetSocketSecurity
QUERY = Function.WSAQuerySocketSecurity
SET_NAME = Function.WSASetSocketPeerTargetName
DELETE_NAME = Function.WSADeleteSocketPeerTargetName
OVERLAPPED_FUNCTIONS = [SET, QUERY, SET_NAME, DELETE_NAME]


class Overlapped(ctypes.Structure):
    _fields_ = [
        ("internal", ctypes.c_size_t),
        ("internal_high", ctypes.c_size_t),
        ("offset", ctypes.c_uint64),
        ("event", ctypes.c_void_p),
    ]


kernel32: Any = ctypes.WinDLL("kernel32", use_last_error=True)
kernel32.CreateIoCompletionPort.argtypes = (wintypes.HANDLE, wintypes.HANDLE, ctypes.c_size_t, wintypes.DWORD)
kernel32.CreateIoCompletionPort.restype = wintypes.HANDLE
kernel32.CreateEventW.restype = wintypes.HANDLE
kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
kernel32.CancelIoEx.argtypes = (wintypes.HANDLE, ctypes.c_void_p)
kernel32.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
kernel32.GetQueuedCompletionStatus.argtypes = (
    wintypes.HANDLE,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    wintypes.DWORD,
)
ws2_32: Any = ctypes.WinDLL("ws2_32", use_last_error=True)
ws2_32.WSAGetOverlappedResult.argtypes = (
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_void_p,
    wintypes.BOOL,
    ctypes.c_void_p,
)
Routine: Any = ctypes.WINFUNCTYPE(None, wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD)


class Functions:
    """The functions as ctypes calls them; each returns its error, or 0."""

    def __init__(self, library: Any) -> None:
        self.library = library

    def _call(self, name: Function, *arguments: Any) -> int:
        result = getattr(self.library, name.name)(*arguments)
        assert result in (0, -1)
        error = int(ws2_32.WSAGetLastError()) if result else 0
        assert bool(error) == bool(result)
        return error

    def with_input(
        self,
        name: Function,
        sock: int,
        data: bytes | None,
        overlapped: Overlapped | None = None,
        routine: Any = None,
        length: int | None = None,
    ) -> int:
        if name is QUERY:
            return self.query(
                sock, data, ctypes.create_string_buffer(64), ctypes.c_ulong(64), overlapped, routine
            )
        pointer = None if overlapped is None else ctypes.byref(overlapped)
        size = len(data or b"") if length is None else length
        return self._call(name, ctypes.c_size_t(sock), data, ctypes.c_ulong(size), pointer, routine)

    def query(
        self,
        sock: int,
        template: bytes | None,
        info: Any,
        length: Any,
        overlapped: Overlapped | None = None,
        routine: Any = None,
    ) -> int:
        pointer = None if overlapped is None else ctypes.byref(overlapped)
        return self._call(
            QUERY,
            ctypes.c_size_t(sock),
            template,
            ctypes.c_ulong(len(template or b"")),
            info,
            None if length is None else ctypes.byref(length),
            pointer,
            routine,
        )

    def impersonate(self, sock: int, peer: bytes | None) -> int:
        return self._call(
            Function.WSAImpersonateSocketPeer, ctypes.c_size_t(sock), peer, ctypes.c_ulong(len(peer or b""))
        )

    def revert(self) -> int:
        return self._call(Function.WSARevertImpersonation)


@pytest.fixture
def functions(double: Double) -> Functions:
    return Functions(double.library)


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as one:
        yield one


class Port:
    """A completion port."""

    def __init__(self) -> None:
        self.handle = kernel32.CreateIoCompletionPort(ctypes.c_void_p(-1).value, None, 0, 0)
        assert self.handle

    def add(self, sock: socket.socket, key: int) -> None:
        assert kernel32.CreateIoCompletionPort(sock.fileno(), self.handle, key, 0) == self.handle

    def take(self, seconds: float = 10) -> tuple[int, int, int, int] | None:
        """Return the address, the key, the length and the error (0: none) of the next packet."""
        length, key, overlapped = wintypes.DWORD(), ctypes.c_size_t(), ctypes.c_void_p()
        fine = kernel32.GetQueuedCompletionStatus(
            self.handle,
            ctypes.byref(length),
            ctypes.byref(key),
            ctypes.byref(overlapped),
            round(seconds * 1000),
        )
        if not overlapped.value:
            return None
        return overlapped.value, key.value, length.value, 0 if fine else ctypes.get_last_error()


@pytest.fixture
def port() -> Iterator[Port]:
    one = Port()
    yield one
    kernel32.CloseHandle(one.handle)


def result(sock: socket.socket, overlapped: Overlapped) -> int:
    """Return the error that an overlapped call was completed with, or 0."""
    length, flags = wintypes.DWORD(), wintypes.DWORD()
    fine = ws2_32.WSAGetOverlappedResult(
        sock.fileno(), ctypes.byref(overlapped), ctypes.byref(length), False, ctypes.byref(flags)
    )
    return 0 if fine else int(ws2_32.WSAGetLastError())


def test_calls_are_recorded_as_they_were(double: Double, functions: Functions, sock: socket.socket) -> None:
    handle = sock.fileno()
    length = ctypes.c_ulong(64)
    assert functions.with_input(SET, handle, b"settings") == 0
    assert functions.query(handle, bytes(140), ctypes.create_string_buffer(64), length) == 0
    assert functions.with_input(SET_NAME, handle, bytes(range(150))) == 0
    assert functions.with_input(DELETE_NAME, handle, PEER) == 0
    assert functions.impersonate(handle, PEER) == 0
    assert functions.revert() == 0

    calls = double.calls
    assert [call.function for call in calls] == list(Function)[:6]
    assert [call.number for call in calls] == list(range(6))
    assert [call.data for call in calls] == [b"settings", bytes(140), bytes(range(150)), PEER, PEER, b""]
    assert [call.length for call in calls] == [8, 140, 150, 16, 16, 0]
    assert [call.socket for call in calls] == [handle] * 5 + [0]
    assert {call.thread for call in calls} == {threading.get_native_id()}
    query = Given.INPUT | Given.OUTPUT | Given.LENGTH
    assert [call.given for call in calls] == [Given.INPUT, query, *[Given.INPUT] * 3, Given(0)]
    assert calls[1].output_length == 64
    assert not any(call.error or call.overlapped or call.routine for call in calls)


def test_null_is_told_from_nothing(double: Double, functions: Functions, sock: socket.socket) -> None:
    functions.with_input(SET, sock.fileno(), None)
    functions.with_input(SET, sock.fileno(), b"")
    functions.with_input(SET, sock.fileno(), None, length=88)
    functions.query(sock.fileno(), None, None, None)
    functions.impersonate(sock.fileno(), None)
    assert [call.given for call in double.calls] == [Given(0), Given.INPUT, *[Given(0)] * 3]
    assert [call.length for call in double.calls] == [0, 0, 88, 0, 0]


def test_the_port_is_made_exclusive_as_by_windows(
    double: Double, functions: Functions, sock: socket.socket
) -> None:
    for _ in range(2):
        assert functions.with_input(SET, sock.fileno(), b"") == 0
    assert [call.exclusive for call in double.calls] == [False, True]
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE)
    assert functions.with_input(SET, 0xBAD0, b"") == WSAENOTSOCK
    assert double.calls[-1].exclusive is None


def test_bare_calls_leave_the_socket_alone(double: Double, functions: Functions, sock: socket.socket) -> None:
    double.bare()
    assert functions.with_input(SET, sock.fileno(), b"") == 0
    assert functions.with_input(SET, 0xBAD0, b"") == 0
    assert [call.exclusive for call in double.calls] == [None, None]
    assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE)


def test_calls_fail_when_they_are_told(double: Double, functions: Functions, sock: socket.socket) -> None:
    functions.with_input(SET, sock.fileno(), b"")
    double.fail(SET, WSAEACCES, skip=2, times=1)
    errors = [functions.with_input(SET, sock.fileno(), b"") for _ in range(5)]
    assert errors == [0, 0, WSAEACCES, 0, 0]
    assert [call.error for call in double.calls] == [0, *errors]
    double.fail(Function.WSAImpersonateSocketPeer, WSAEFAULT)
    double.fail(Function.WSARevertImpersonation, WSAEACCES)
    assert [functions.impersonate(1, PEER) for _ in range(3)] == [WSAEFAULT] * 3
    assert functions.revert() == WSAEACCES
    double.reset()
    assert functions.revert() == 0
    assert len(double.calls) == 1


def test_a_query_answers_what_it_is_told(double: Double, functions: Functions, sock: socket.socket) -> None:
    double.answer(3, main_mode=5, quick_mode=6, error=7, lookup=PEER)
    for protocol, size in ((1, 24), (2, 64)):
        template = bytes([protocol]) + bytes(151)
        length = ctypes.c_ulong(100)
        info = ctypes.create_string_buffer(b"\xff" * 100, 100)
        assert functions.query(sock.fileno(), template, info, length) == 0
        assert length.value == size
        assert info.raw[:8] == bytes([protocol, 0, 0, 0, 3, 0, 0, 0])
        assert info.raw[size:] == b"\xff" * (100 - size)
    assert info.raw[24:60] == bytes([5, *[0] * 7, 6, *[0] * 7, 7, 0, 0, 0]) + PEER


def test_a_query_says_how_much_room_it_needs(
    double: Double, functions: Functions, sock: socket.socket
) -> None:
    length = ctypes.c_ulong(0)
    assert functions.query(sock.fileno(), None, None, length) == WSAEMSGSIZE
    assert length.value == 24
    double.size_error(WSAEFAULT)
    assert functions.query(sock.fileno(), None, None, length) == WSAEFAULT
    length = ctypes.c_ulong(23)
    assert functions.query(sock.fileno(), None, ctypes.create_string_buffer(23), length) == WSAEMSGSIZE
    assert functions.query(sock.fileno(), None, ctypes.create_string_buffer(24), None) == WSAEFAULT


@pytest.mark.parametrize("kind", [Handles.EVENTS, Handles.TOKENS])
def test_handles_are_handed_out_and_counted(
    double: Double, functions: Functions, sock: socket.socket, kind: Handles
) -> None:
    double.hand_out(kind)
    info, length = ctypes.create_string_buffer(24), ctypes.c_ulong(24)
    assert functions.query(sock.fileno(), bytes(144), info, length) == 0
    assert info.raw[8:] == bytes(16), "no mask, no tokens"
    assert functions.query(sock.fileno(), bytes(136) + b"\x08" + bytes(7), info, length) == 0
    assert double.open_handles == 2
    for left, start in ((1, 8), (0, 16)):
        assert kernel32.CloseHandle(int.from_bytes(info.raw[start : start + 8], "little"))
        assert double.open_handles == left


@pytest.mark.parametrize("function", OVERLAPPED_FUNCTIONS)
@pytest.mark.parametrize("mode", [Mode.AT_ONCE, Mode.DELAYED, Mode.RANDOM])
@pytest.mark.parametrize("status", [0, STATUS_CONNECTION_RESET])
@pytest.mark.parametrize("is_told", [False, True])
def test_calls_are_completed_through_the_port(
    double: Double,
    functions: Functions,
    sock: socket.socket,
    port: Port,
    function: Function,
    mode: Mode,
    status: int,
    is_told: bool,
) -> None:
    if is_told:
        double.port(port.handle, 77)
    else:
        port.add(sock, 77)
    double.overlap(function, mode, delay=0.02, status=status)
    overlapped = Overlapped()
    pending = 0 if mode is Mode.AT_ONCE else WSA_IO_PENDING
    assert functions.with_input(function, sock.fileno(), bytes(144), overlapped) == pending
    packet = port.take()
    assert packet is not None
    assert packet[:2] == (ctypes.addressof(overlapped), 77)
    assert bool(packet[3]) == bool(status)
    assert result(sock, overlapped) == (WSAECONNRESET if status else 0)
    assert port.take(0.05) is None
    double.settle()
    (call,) = double.calls
    assert (call.overlapped, call.completed, call.status) == (ctypes.addressof(overlapped), 1, status)
    assert Given.OVERLAPPED in call.given
    assert call.error == pending


def test_an_answer_comes_with_its_completion(
    double: Double, functions: Functions, sock: socket.socket, port: Port
) -> None:
    port.add(sock, 1)
    double.answer(3)
    double.overlap(QUERY, Mode.ON_RELEASE)
    overlapped, info, length = Overlapped(), ctypes.create_string_buffer(24), ctypes.c_ulong(30)
    assert functions.query(sock.fileno(), None, info, length, overlapped) == WSA_IO_PENDING
    time.sleep(0.03)
    assert (info.raw, length.value, overlapped.internal) == (bytes(24), 30, STATUS_PENDING)
    double.release(0)
    assert port.take() is not None
    assert (info.raw[4], length.value) == (3, 24)


def test_calls_are_completed_in_any_order_within_the_delay(
    double: Double, functions: Functions, sock: socket.socket, port: Port
) -> None:
    port.add(sock, 1)
    double.overlap(SET, Mode.RANDOM, delay=0.05)
    many = [Overlapped() for _ in range(100)]
    for one in many:
        assert functions.with_input(SET, sock.fileno(), b"", one) == WSA_IO_PENDING
    came = [packet[0] for packet in (port.take() for _ in many) if packet]
    assert sorted(came) == sorted(ctypes.addressof(one) for one in many)
    assert came != [ctypes.addressof(one) for one in many]
    double.settle()
    assert double.completed == 100
    order = sorted(double.calls, key=lambda call: call.completed)
    assert [call.overlapped for call in order] == came


def test_calls_are_completed_one_by_one_when_released(
    double: Double, functions: Functions, sock: socket.socket, port: Port
) -> None:
    port.add(sock, 1)
    double.overlap(SET, Mode.ON_RELEASE, status=STATUS_CONNECTION_RESET, skip=1, times=1)
    many = [Overlapped() for _ in range(3)]
    for one in many:
        assert functions.with_input(SET, sock.fileno(), b"", one) == WSA_IO_PENDING
    assert port.take(0.05) is None
    for number in (2, 1):
        double.release(number)
        packet = port.take()
        assert packet is not None
        assert packet[0] == ctypes.addressof(many[number])
        assert bool(packet[3]) == (number == 1)
    assert double.completed == 2  # `pending` falls only when the packet is out
    double.release_all()
    assert port.take() is not None
    double.settle()


@pytest.mark.parametrize("quietly", [False, True])
def test_an_event_is_set(
    double: Double, functions: Functions, sock: socket.socket, port: Port, quietly: bool
) -> None:
    port.add(sock, 1)
    double.overlap(SET, Mode.ON_RELEASE)
    event = kernel32.CreateEventW(None, True, True, None)
    overlapped = Overlapped(event=event | quietly)  # with the lowest bit there is no packet
    assert functions.with_input(SET, sock.fileno(), b"", overlapped) == WSA_IO_PENDING
    assert kernel32.WaitForSingleObject(event, 0) != 0
    double.release(0)
    assert kernel32.WaitForSingleObject(event, 10_000) == 0
    assert overlapped.internal == 0
    assert (port.take(0.05) is None) == quietly
    kernel32.CloseHandle(event)


@pytest.mark.parametrize("mode", [Mode.AT_ONCE, Mode.DELAYED])
@pytest.mark.parametrize("status", [0, STATUS_CONNECTION_RESET])
def test_a_routine_is_called(
    double: Double, functions: Functions, sock: socket.socket, mode: Mode, status: int
) -> None:
    seen = []
    routine = Routine(lambda *arguments: seen.append((threading.get_native_id(), *arguments)))
    double.overlap(SET, mode, delay=0.02, status=status)
    overlapped = Overlapped()
    functions.with_input(SET, sock.fileno(), b"", overlapped, routine)
    assert not seen, "not before the thread waits"
    deadline = time.monotonic() + 10
    while not seen and time.monotonic() < deadline:
        kernel32.SleepEx(100, True)
    error = WSAECONNRESET if status else 0
    assert seen == [(threading.get_native_id(), error, 0, ctypes.addressof(overlapped), 0)]
    assert Given.ROUTINE in double.calls[0].given
    assert double.calls[0].routine == ctypes.cast(routine, ctypes.c_void_p).value


def test_what_never_ends_can_be_cancelled(
    double: Double, functions: Functions, sock: socket.socket, port: Port
) -> None:
    port.add(sock, 5)
    double.overlap(SET, Mode.NEVER)
    overlapped = Overlapped()
    assert functions.with_input(SET, sock.fileno(), b"", overlapped) == WSA_IO_PENDING
    assert port.take(0.05) is None
    assert kernel32.CancelIoEx(sock.fileno(), ctypes.byref(overlapped))
    packet = port.take()
    assert packet is not None
    assert (packet[0], packet[3]) == (ctypes.addressof(overlapped), WSA_OPERATION_ABORTED)
    assert functions.with_input(SET, sock.fileno(), b"", overlapped) == WSA_IO_PENDING
    sock.close()
    packet = port.take()
    assert packet is not None
    assert packet[3] != 0


def test_reset_completes_what_is_pending(
    double: Double, functions: Functions, sock: socket.socket, port: Port
) -> None:
    port.add(sock, 1)
    double.overlap(SET, Mode.ON_RELEASE)
    overlapped = Overlapped()
    assert functions.with_input(SET, sock.fileno(), b"", overlapped) == WSA_IO_PENDING
    double.reset()
    assert overlapped.internal == STATUS_CANCELLED
    assert port.take() is not None
    assert (double.pending, double.count, double.calls) == (0, 0, [])


def test_threads_are_told_apart(double: Double, functions: Functions, sock: socket.socket) -> None:
    double.bare()
    threads = []

    def work() -> None:
        threads.append(threading.get_native_id())
        for _ in range(500):
            functions.with_input(SET, sock.fileno(), threading.get_native_id().to_bytes(4, "little"))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    calls = double.calls
    assert len(calls) == 2000
    assert {call.thread for call in calls} == set(threads)
    assert all(call.data == call.thread.to_bytes(4, "little") for call in calls)


def test_there_is_room_for_much_and_the_rest_is_counted(double: Double, functions: Functions) -> None:
    double.bare()
    long = bytes(BYTES + 1)
    for _ in range(CALLS + 5):
        functions.with_input(SET, 1, long)
    assert double.count == CALLS + 5
    assert double.calls_of(SET)[-1].number == CALLS - 1
    assert (double.calls[0].length, double.calls[0].data) == (BYTES + 1, bytes(BYTES))


def test_another_process_can_be_watched() -> None:
    name = f"wsasec-double-test-{os.getpid()}"
    there = Double(name)
    program = (
        "import ctypes; fwpuclnt = ctypes.WinDLL('fwpuclnt.dll', winmode=0x800);"
        "assert fwpuclnt.WSARevertImpersonation() == 0"
    )
    subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"WSASEC_DOUBLE": name}, check=True, timeout=60
    )
    assert [call.function for call in there.calls] == [Function.WSARevertImpersonation]
    gc.collect()
