"""The functions about peers: what Windows is given, and what becomes of answers, tokens and identities."""

from __future__ import annotations

import _thread
import ctypes
import gc
import signal
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from double import Double, Function, Given, Handles, Mode

import wsasec
from wsasec import IpsecSettings, QueryFields, SecurityError, SocketInfo, Token, Winsock, WSAGetLastError
from wsasec.errors import errno_of

SET = Function.WSASetSocketSecurity
QUERY = Function.WSAQuerySocketSecurity
SET_NAME = Function.WSASetSocketPeerTargetName
DELETE_NAME = Function.WSADeleteSocketPeerTargetName
IMPERSONATE = Function.WSAImpersonateSocketPeer
REVERT = Function.WSARevertImpersonation

WSA_IO_PENDING = 997
INET6_ON_WINDOWS = 23
V4 = ("192.0.2.7", 4660)
V6 = ("2001:db8::7", 4660, 0x12345, 9)
SOCKADDR4 = struct.pack("<H", 2) + bytes.fromhex("1234 c0000207") + bytes(8)
SOCKADDR6 = (
    struct.pack("<H", INET6_ON_WINDOWS)
    + bytes.fromhex("1234 00012345 20010db8000000000000000000000007")
    + struct.pack("<I", 9)
)

# Any may come: those of the contract, some of Winsock's others, one of the system's own.
CODES = [
    10013,
    10014,
    10022,
    10035,
    10038,
    10040,
    10043,
    10045,
    10047,
    10050,
    10054,
    10055,
    10056,
    10057,
    10060,
]
CODES += [10093, 10091, 11001, 5]

KERNEL32: Any = ctypes.WinDLL("kernel32", use_last_error=True)
KERNEL32.CloseHandle.argtypes = (ctypes.c_void_p,)


class Overlapped(ctypes.Structure):
    _fields_ = [
        ("internal", ctypes.c_size_t),
        ("internal_high", ctypes.c_size_t),
        ("offset", ctypes.c_uint64),
        ("event", ctypes.c_void_p),
    ]


@pytest.fixture
def stream() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        yield sock


@pytest.fixture
def datagram() -> Iterator[socket.socket]:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        yield sock


@pytest.fixture
def datagram6() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        yield sock


def only(double: Double) -> Any:
    (call,) = double.calls
    return call


def in_thread(work: Callable[[], object]) -> BaseException | None:
    """Return what the work raised in a thread of its own."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is returned
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


# Settings.


def test_settings_with_strings_are_given_whole(double: Double, stream: socket.socket) -> None:
    settings = IpsecSettings(
        qm_policy=uuid.UUID(int=7), user_name="ürsula", domain_name="D\U0001f600", password="ge heim"
    )
    wsasec.secure(stream, settings)
    call = only(double)
    assert (call.function, call.socket) == (SET, stream.fileno())
    assert call.data == bytes(settings)
    assert call.data[84:].decode("utf-16-le") == "ürsulaD\U0001f600ge heim"
    assert call.length == len(call.data) == 84 + 2 * 16


def test_settings_of_many(double: Double) -> None:
    settings = IpsecSettings(user_name="u", password="p" * 50)
    for method in "plain", "threads", "overlapped":
        double.reset()
        socks = [socket.socket() for _ in range(5)]
        wsasec.secure_many(socks, settings, method=method)
        assert {call.data for call in double.calls_of(SET)} == {bytes(settings)}
        assert {call.socket for call in double.calls_of(SET)} == {sock.fileno() for sock in socks}
        for sock in socks:
            sock.close()
    double.reset()
    with wsasec.SocketBatch(3, settings=settings, method="plain"):
        assert [call.data for call in double.calls_of(SET)] == [bytes(settings)] * 3


# Queries.


def test_a_query_of_a_stream(double: Double, stream: socket.socket) -> None:
    double.answer(1)
    assert wsasec.query(stream) == wsasec.SocketSecurity(True, False, False, SocketInfo.CONNECTION_SECURED)
    call = only(double)
    assert (call.function, call.socket) == (QUERY, stream.fileno())
    assert call.data == struct.pack("<I", 1) + bytes(140)
    assert (call.length, call.output_length) == (144, 24)
    assert call.given == Given.INPUT | Given.OUTPUT | Given.LENGTH


@pytest.mark.parametrize(
    ("fixture", "peer", "packed"), [("datagram", V4, SOCKADDR4), ("datagram6", V6, SOCKADDR6)]
)
def test_a_query_of_datagrams(
    double: Double, request: pytest.FixtureRequest, fixture: str, peer: tuple[Any, ...], packed: bytes
) -> None:
    sock = request.getfixturevalue(fixture)
    double.answer(7)
    answer = wsasec.query(sock, peer=peer, access_mask=0xFEDCBA98)
    assert (answer.secured, answer.encrypted, answer.impersonated) == (True, True, True)
    call = only(double)
    assert call.data == struct.pack("<II", 1, 0) + packed.ljust(128, b"\0") + struct.pack(
        "<II", 0xFEDCBA98, 0
    )
    assert call.length == 144


@pytest.mark.parametrize("fields", [None, QueryFields.NONE, QueryFields.MM_SA_ID, QueryFields.QM_SA_ID])
@pytest.mark.parametrize("abort", [False, True])
def test_a_query_of_ipsec2(
    double: Double, stream: socket.socket, fields: QueryFields | None, abort: bool
) -> None:
    lookup = uuid.uuid4()
    double.answer(3, main_mode=2**63, quick_mode=2**64 - 1, error=13801, lookup=lookup.bytes_le)
    answer = wsasec.query(stream, peer=V4, ipsec2=True, fields=fields, abort_on_change=abort)
    asked = QueryFields(3) if fields is None else fields
    assert answer == wsasec.SocketSecurity(
        secured=True,
        encrypted=True,
        impersonated=False,
        flags=SocketInfo(3),
        mm_sa_id=2**63 if asked & 1 else None,
        qm_sa_id=2**64 - 1 if asked & 2 else None,
        negotiation_error=13801,
        sa_lookup_context=lookup,
    )
    call = only(double)
    assert call.data == struct.pack("<I4x128sIIII", 2, SOCKADDR4, 0, abort, asked, 0)
    assert (call.length, call.output_length) == (152, 64)


def test_flags_that_nobody_knows_yet(double: Double, stream: socket.socket) -> None:
    double.answer(0x80000001)
    answer = wsasec.query(stream)
    assert answer.secured
    assert int(answer.flags) == 0x80000001


def test_a_query_for_which_windows_wants_more_room(double: Double, stream: socket.socket) -> None:
    double.answer(3, length=64)
    double.hand_out(Handles.EVENTS)
    answer = wsasec.query(stream, access_mask=8)
    assert [call.output_length for call in double.calls] == [24, 64]
    assert [call.error for call in double.calls] == [Winsock.WSAEMSGSIZE, 0]
    assert (answer.encrypted, answer.mm_sa_id) == (True, None)
    assert double.open_handles == 2
    answer.close()
    assert double.open_handles == 0


def test_a_short_answer_to_ipsec2(double: Double, stream: socket.socket) -> None:
    double.answer(1, main_mode=5, length=24)
    answer = wsasec.query(stream, ipsec2=True)
    assert (answer.secured, answer.mm_sa_id, answer.sa_lookup_context) == (True, None, None)


# Tokens.


@pytest.fixture
def answer(double: Double, stream: socket.socket) -> wsasec.SocketSecurity:
    double.hand_out(Handles.EVENTS)
    found = wsasec.query(stream, access_mask=8)
    assert double.open_handles == 2
    return found


def test_no_tokens_where_none_are_asked_for(double: Double, stream: socket.socket) -> None:
    double.hand_out(Handles.EVENTS)
    found = wsasec.query(stream)
    assert (found.application_token, found.machine_token) == (None, None)
    assert double.open_handles == 0


def test_tokens_are_closed_once(double: Double, answer: wsasec.SocketSecurity) -> None:
    first, second = answer.application_token, answer.machine_token
    assert first is not None
    assert second is not None
    assert len({first.handle, second.handle}) == 2
    for _ in range(2):
        first.close()
        assert first.closed
        assert double.open_handles == 1
    with second:
        assert double.open_handles == 1
    assert double.open_handles == 0
    answer.close()


def test_an_answer_closes_its_tokens(double: Double, answer: wsasec.SocketSecurity) -> None:
    with pytest.raises(ZeroDivisionError), answer:
        raise ZeroDivisionError
    assert double.open_handles == 0


def handles_of(answer: wsasec.SocketSecurity) -> set[int]:
    return {token.handle for token in (answer.application_token, answer.machine_token) if token is not None}


def test_a_handle_that_has_another_owner_by_now(double: Double, answer: wsasec.SocketSecurity) -> None:
    """What was closed once is never closed again, as its number may be another's."""
    token = answer.application_token
    assert token is not None
    handle = token.handle
    token.close()
    others = []
    with socket.socket() as sock:
        while len(others) < 20 and not any(handle in handles_of(other) for other in others):
            others.append(wsasec.query(sock, access_mask=8))
    before = double.open_handles
    token.close()
    del token
    answer.close()
    del answer
    gc.collect()
    assert double.open_handles == before - 1
    for other in others:
        other.close()
    assert double.open_handles == 0


def test_tokens_are_closed_when_they_are_collected(double: Double, stream: socket.socket) -> None:
    double.hand_out(Handles.EVENTS)
    wsasec.query(stream, access_mask=8)
    gc.collect()
    assert double.open_handles == 0
    cycle: list[Any] = [wsasec.query(stream, access_mask=8)]
    cycle.append(cycle)
    assert double.open_handles == 2
    del cycle
    gc.collect()
    assert double.open_handles == 0


def test_a_detached_token_is_the_callers(double: Double, answer: wsasec.SocketSecurity) -> None:
    assert answer.application_token is not None
    handle = answer.application_token.detach()
    answer.close()
    del answer
    gc.collect()
    assert double.open_handles == 1
    with Token(handle):
        assert double.open_handles == 1
    assert double.open_handles == 0


def test_a_token_that_somebody_else_closed(double: Double, answer: wsasec.SocketSecurity) -> None:
    token = answer.application_token
    assert token is not None
    assert KERNEL32.CloseHandle(token.handle)
    with pytest.raises(SecurityError, match="cannot be closed") as caught:
        answer.close()
    assert caught.value.winsock == 6
    assert caught.value.winsock.name == "WINSOCK_6"
    assert token.closed
    assert double.open_handles == 0  # the other, all the same
    answer.close()


def test_many_threads_close_one_token(double: Double, stream: socket.socket) -> None:
    double.hand_out(Handles.EVENTS)
    for _ in range(20):
        found = wsasec.query(stream, access_mask=8)
        token = found.application_token
        assert token is not None
        threads = [threading.Thread(target=token.close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found.close()
    assert double.open_handles == 0


# Names.


@pytest.mark.parametrize("name", ["h", "host/server.example", "ünï\U0001f600", "x" * 58])
def test_a_name(double: Double, stream: socket.socket, name: str) -> None:
    wsasec.set_peer_target_name(stream, name)
    call = only(double)
    encoded = name.encode("utf-16-le")
    assert (call.function, call.socket) == (SET_NAME, stream.fileno())
    assert call.data == (struct.pack("<II128sI", 1, 0, b"", len(encoded)) + encoded).ljust(144, b"\0")
    assert call.length == max(144, 140 + len(encoded))
    assert call.given == Given.INPUT


@pytest.mark.parametrize(
    ("fixture", "peer", "packed"), [("datagram", V4, SOCKADDR4), ("datagram6", V6, SOCKADDR6)]
)
def test_a_name_for_a_peer_of_datagrams(
    double: Double, request: pytest.FixtureRequest, fixture: str, peer: tuple[Any, ...], packed: bytes
) -> None:
    sock = request.getfixturevalue(fixture)
    wsasec.set_peer_target_name(sock, "host/b", peer=peer)
    wsasec.delete_peer_target_name(sock, peer)
    first, second = double.calls
    assert (first.function, second.function) == (SET_NAME, DELETE_NAME)
    assert first.socket == second.socket == sock.fileno()
    assert first.data[8:136] == packed.ljust(128, b"\0")
    assert (second.data, second.length) == (packed, len(packed))


# Errors.


def calls(stream: socket.socket) -> dict[Function, Callable[[], object]]:
    def enter() -> None:
        with wsasec.impersonate(stream, peer=V4):
            raise AssertionError("entered")

    return {
        QUERY: lambda: wsasec.query(stream),
        SET_NAME: lambda: wsasec.set_peer_target_name(stream, "a"),
        DELETE_NAME: lambda: wsasec.delete_peer_target_name(stream, V4),
        IMPERSONATE: enter,
        REVERT: wsasec.revert_impersonation,
    }


@pytest.mark.parametrize("function", [QUERY, SET_NAME, DELETE_NAME, IMPERSONATE, REVERT])
@pytest.mark.parametrize("code", CODES)
def test_every_error(double: Double, stream: socket.socket, function: Function, code: int) -> None:
    double.fail(function, code)
    with pytest.raises(SecurityError) as caught:
        calls(stream)[function]()
    error = caught.value
    assert isinstance(error, wsasec.ImpersonationError) == (function is REVERT)
    assert error.winsock == code
    assert isinstance(error.winsock, Winsock)
    assert error.errno == OSError(0, "", None, code).errno
    assert error.hint
    assert error.step == function.name
    assert error.winsock.name in str(error)
    assert only(double).function is function


@pytest.mark.parametrize("code", CODES)
def test_every_error_as_in_c(double: Double, stream: socket.socket, code: int) -> None:
    for function in QUERY, SET_NAME, DELETE_NAME, IMPERSONATE, REVERT:
        double.fail(function, code)
    fd, name = stream.fileno(), bytes(144)
    for call in (
        lambda: wsasec.WSAQuerySocketSecurity(fd, None, 0, bytearray(24), ctypes.c_ulong(24)),
        lambda: wsasec.WSASetSocketPeerTargetName(fd, name, 144),
        lambda: wsasec.WSADeleteSocketPeerTargetName(fd, SOCKADDR4, 16),
        lambda: wsasec.WSAImpersonateSocketPeer(fd, None, 0),
        wsasec.WSARevertImpersonation,
    ):
        assert call() == wsasec.SOCKET_ERROR
        assert WSAGetLastError() == code
        assert wsasec.WSASetSocketSecurity(-1, None, 0) == wsasec.SOCKET_ERROR
        assert WSAGetLastError() == Winsock.WSAENOTSOCK
    assert [call.function for call in double.calls] == [QUERY, SET_NAME, DELETE_NAME, IMPERSONATE, REVERT]


def test_pythons_own_errno() -> None:
    pairs = [(10013, 13), (10022, 22), (10024, 24), (10038, 10038), (10045, 10045), (10091, 10091)]
    for number, expected in pairs:
        assert errno_of(number) == expected
        assert SecurityError("x", winsock=number).errno == expected


def test_wrong_calls_do_not_reach_windows(
    double: Double, stream: socket.socket, datagram: socket.socket
) -> None:
    closed = socket.socket()
    closed.close()
    for call, code in (
        (lambda: wsasec.query(datagram), Winsock.WSAEINVAL),
        (lambda: wsasec.query(closed), Winsock.WSAENOTSOCK),
        (lambda: wsasec.set_peer_target_name(datagram, "a"), Winsock.WSAEINVAL),
        (lambda: wsasec.impersonate(datagram).__enter__(), Winsock.WSAEFAULT),
        (lambda: wsasec.impersonate(closed).__enter__(), Winsock.WSAENOTSOCK),
    ):
        with pytest.raises(SecurityError) as caught:
            call()
        assert caught.value.winsock is code
    with pytest.raises(ValueError, match="no address of the family"):
        wsasec.delete_peer_target_name(stream, V6)
    length = ctypes.c_ulong()
    assert wsasec.WSAQuerySocketSecurity(stream, None, 0, None, length) == wsasec.SOCKET_ERROR
    assert (WSAGetLastError(), length.value) == (Winsock.WSAEMSGSIZE, 24)
    assert double.count == 0


# Acting as the peer.

BOTH = [IMPERSONATE, REVERT]


def functions(double: Double) -> list[Function]:
    return [call.function for call in double.calls]


def test_the_identity_is_taken_and_given_back(double: Double, stream: socket.socket) -> None:
    for _ in range(3):
        with wsasec.impersonate(stream):
            assert functions(double)[-1] is IMPERSONATE
        assert functions(double)[-1] is REVERT
    assert functions(double) == BOTH * 3
    assert {call.thread for call in double.calls} == {threading.get_native_id()}
    first = double.calls[0]
    assert (first.socket, first.given, first.length) == (stream.fileno(), Given(0), 0)


def test_the_peer_of_datagrams(double: Double, datagram: socket.socket, datagram6: socket.socket) -> None:
    with wsasec.impersonate(datagram, peer=V4):
        pass
    with wsasec.impersonate(datagram6, peer=V6):
        pass
    one, _, two, _ = double.calls
    assert (one.data, one.length, one.socket) == (SOCKADDR4, 16, datagram.fileno())
    assert (two.data, two.length, two.socket) == (SOCKADDR6, 28, datagram6.fileno())


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_it_is_given_back_whatever_happens(
    double: Double, stream: socket.socket, error: type[BaseException]
) -> None:
    with pytest.raises(error), wsasec.impersonate(stream):
        raise error
    assert functions(double) == BOTH


def test_ctrl_c_at_any_moment(double: Double, stream: socket.socket) -> None:
    """A signal that comes in at any place of it leaves the thread with its own identity."""
    stop = threading.Event()
    interrupted = 0
    is_armed = False  # else it would come between two attempts, too, and end the test

    def raise_once(*_: object) -> None:
        nonlocal is_armed
        if is_armed:
            is_armed = False
            raise KeyboardInterrupt

    def interrupt() -> None:
        while not stop.wait(0.0005):
            _thread.interrupt_main()

    thread = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, raise_once)
    try:
        thread.start()
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and double.count < 15_000:
            try:
                is_armed = True
                with wsasec.impersonate(stream):
                    pass
                is_armed = False
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        stop.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert interrupted
    seen = functions(double)
    assert seen.count(IMPERSONATE) == seen.count(REVERT) > 0
    assert seen == BOTH * (len(seen) // 2)


def test_what_cannot_be_entered_is_not_left(double: Double, stream: socket.socket) -> None:
    double.fail(IMPERSONATE, 10013, times=1)
    with pytest.raises(SecurityError), wsasec.impersonate(stream):
        raise AssertionError("entered")
    assert functions(double) == [IMPERSONATE]
    with wsasec.impersonate(stream):
        pass
    assert functions(double) == [IMPERSONATE, *BOTH]


def test_not_one_within_another(double: Double, stream: socket.socket) -> None:
    with wsasec.impersonate(stream) as one:
        for again in one, wsasec.impersonate(stream):
            with pytest.raises(RuntimeError, match="acts as a peer already"):
                again.__enter__()
        # Another thread is another matter.
        assert in_thread(lambda: wsasec.impersonate(stream).__enter__().__exit__(None, None, None)) is None
    assert functions(double) == [IMPERSONATE, *BOTH, REVERT]
    with one:
        pass


def test_not_twice_at_a_time(double: Double, stream: socket.socket) -> None:
    """Entered while it is being entered, as by another thread: one of both would never be left."""

    class Socket:
        entered = False

        def fileno(self) -> int:
            if not self.entered:
                self.entered = True
                one.__enter__()
            return stream.fileno()

    one = wsasec.impersonate(Socket())
    with pytest.raises(RuntimeError, match="acts as a peer already"):
        one.__enter__()
    one.__exit__(None, None, None)
    assert functions(double) == BOTH


def test_not_left_in_another_thread(double: Double, stream: socket.socket) -> None:
    with wsasec.impersonate(stream) as one:
        error = in_thread(lambda: one.__exit__(None, None, None))
        assert isinstance(error, RuntimeError)
        assert "that one still acts as the peer" in str(error)
        assert functions(double) == [IMPERSONATE]
    assert functions(double) == BOTH
    assert {call.thread for call in double.calls} == {threading.get_native_id()}


def test_one_that_is_dropped(double: Double, stream: socket.socket) -> None:
    wsasec.impersonate(stream).__enter__()
    gc.collect()
    assert functions(double) == BOTH
    with ExitStack() as stack:
        stack.enter_context(wsasec.impersonate(stream))
    assert functions(double) == BOTH * 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_is_dropped_in_another_thread(
    double: Double, stream: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", lambda what: told.append(str(what.exc_value)))
    kept = []
    assert in_thread(lambda: kept.append(wsasec.impersonate(stream).__enter__())) is None
    kept.clear()
    gc.collect()
    assert len(told) == 1
    assert "nothing is left that could end that" in told[0]
    assert functions(double) == [IMPERSONATE]


def test_a_thread_that_cannot_go_back(double: Double, stream: socket.socket) -> None:
    double.fail(REVERT, 10050, times=1)
    with (
        pytest.raises(wsasec.ImpersonationError, match="still acts as the peer") as caught,
        wsasec.impersonate(stream),
    ):
        raise ZeroDivisionError
    assert caught.value.winsock is Winsock.WSAENETDOWN
    assert caught.value.step == "WSARevertImpersonation"
    assert "end the process" in caught.value.hint
    assert isinstance(caught.value.__context__, ZeroDivisionError)
    caught.value.__traceback__ = None
    gc.collect()
    double.reset()
    double.fail(REVERT, 10050, times=1)
    one = wsasec.impersonate(stream)
    with pytest.raises(wsasec.ImpersonationError), one:
        pass
    with pytest.raises(RuntimeError, match="acts as a peer already"):
        wsasec.impersonate(stream).__enter__()
    wsasec.revert_impersonation()  # now it works
    with wsasec.impersonate(stream):
        pass
    assert functions(double) == [*BOTH, REVERT, *BOTH]


def test_one_that_was_ended_by_hand_is_dropped(double: Double, stream: socket.socket) -> None:
    """It must not take the identity from a block that the thread is in by then."""
    double.fail(REVERT, 10050, times=1)
    one = wsasec.impersonate(stream).__enter__()
    with pytest.raises(wsasec.ImpersonationError):
        one.__exit__(None, None, None)
    wsasec.revert_impersonation()
    with wsasec.impersonate(stream):
        del one
        gc.collect()
        assert functions(double) == [*BOTH, REVERT, IMPERSONATE]
    assert functions(double) == [*BOTH, REVERT, *BOTH]


def test_reverting_by_hand(double: Double, stream: socket.socket) -> None:
    assert wsasec.WSAImpersonateSocketPeer(stream.fileno(), None, 0) == 0
    wsasec.revert_impersonation()
    assert functions(double) == BOTH


def test_reverting_by_the_name_of_c(double: Double, stream: socket.socket) -> None:
    """The thread that could not go back may act as a peer again, once it did."""
    double.fail(REVERT, 10050, times=1)
    one = wsasec.impersonate(stream)  # kept: it would try again by itself
    with pytest.raises(wsasec.ImpersonationError), one:
        pass
    assert wsasec.WSARevertImpersonation() == 0
    with wsasec.impersonate(stream):
        pass
    assert functions(double) == [*BOTH, REVERT, *BOTH]


# As in C.


def test_everything_is_passed_on(double: Double, stream: socket.socket) -> None:
    """Also addresses, where the call fails and nothing is done with them."""
    for function in SET, QUERY, SET_NAME, DELETE_NAME:
        double.fail(function, 10055)
    overlapped = Overlapped()
    address = ctypes.addressof(overlapped)
    length = ctypes.c_uint32(30)
    name = struct.pack("<II128sI", 1, 0, b"", 4) + b"a\0b\0"
    for call in (
        lambda: wsasec.WSASetSocketSecurity(stream, bytes(8), 8, address, 0x1234),
        lambda: wsasec.WSAQuerySocketSecurity(
            stream, bytes(152), 150, bytearray(40), length, address, 0x1234
        ),
        lambda: wsasec.WSASetSocketPeerTargetName(stream, name + b"more", 144, address, 0x1234),
        lambda: wsasec.WSADeleteSocketPeerTargetName(stream, SOCKADDR4 + b"more", 16, address, 0x1234),
    ):
        assert call() == wsasec.SOCKET_ERROR
        assert WSAGetLastError() == Winsock.WSAENOBUFS
    assert [call.data for call in double.calls] == [bytes(8), bytes(150), name, SOCKADDR4]
    assert {(call.overlapped, call.routine, call.socket) for call in double.calls} == {
        (address, 0x1234, stream.fileno())
    }
    assert double.calls[1].output_length == 30


def test_a_query_that_is_under_way(double: Double, stream: socket.socket) -> None:
    double.overlap(QUERY, Mode.ON_RELEASE)
    double.answer(3)
    overlapped, info, length = Overlapped(), bytearray(24), ctypes.c_uint32(24)
    view = memoryview(info)  # kept for as long as it is under way
    address = ctypes.addressof(overlapped)
    assert wsasec.WSAQuerySocketSecurity(stream, None, 0, view, length, address) == wsasec.SOCKET_ERROR
    assert WSAGetLastError() == WSA_IO_PENDING
    assert info == bytes(24)
    length.value = 0
    double.release_all()
    double.settle()
    assert struct.unpack_from("<II", info) == (1, 3)
    assert length.value == 24


@pytest.mark.parametrize("function", [SET, SET_NAME, DELETE_NAME])
def test_other_calls_that_are_under_way(double: Double, stream: socket.socket, function: Function) -> None:
    double.overlap(function, Mode.ON_RELEASE)
    overlapped = Overlapped()
    address = ctypes.addressof(overlapped)
    call: Any = getattr(wsasec, function.name)
    data = {SET: bytes(8), SET_NAME: struct.pack("<II", 1, 0) + bytes(136), DELETE_NAME: SOCKADDR4}[function]
    assert call(stream, data, len(data), address) == wsasec.SOCKET_ERROR
    assert WSAGetLastError() == WSA_IO_PENDING
    assert double.pending == 1
    double.release_all()
    double.settle()
    assert double.completed == 1


def test_an_answer_as_in_c(double: Double, stream: socket.socket) -> None:
    double.answer(1, main_mode=9)
    double.hand_out(Handles.EVENTS)
    info, length = (ctypes.c_uint8 * 64)(), ctypes.c_ulong(64)
    template = struct.pack("<II128sIIII", 2, 0, b"", 8, 0, 3, 0)
    assert wsasec.WSAQuerySocketSecurity(stream, template, 152, info, length) == 0
    _, flags, first, second, main = struct.unpack_from("<IIQQQ", info)
    assert (length.value, flags, main) == (64, 1, 9)
    assert double.open_handles == 2
    with Token(first), Token(second):
        pass
    assert double.open_handles == 0
