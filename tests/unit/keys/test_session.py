"""Requests with deadlines, and a daemon that does everything wrong."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from fake_vici import (
    CMD_RESPONSE,
    CMD_UNKNOWN,
    CONFIRM,
    CONFIRMED,
    EVENT,
    EVENT_UNKNOWN,
    OK,
    REGISTER,
    UNREGISTER,
    Fake,
    fake,
    packet,
)

from wsasec.keys.messages import decode
from wsasec.keys.pool import Pool
from wsasec.keys.reason import CharonError, Reason
from wsasec.keys.session import LARGEST, RefusedError, connect


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def check_lost(session: Any, deadline: float | None = None) -> CharonError:
    """A request fails, and the session is of no use any more."""
    with pytest.raises(CharonError) as raised:
        session.request("version", None, soon() if deadline is None else deadline)
    assert raised.value.reason is Reason.NO_CHARON
    assert not isinstance(raised.value, RefusedError)
    assert session.broken
    with pytest.raises(CharonError, match="lost before"):
        session.request("version", None, soon())
    return raised.value


def test_request() -> None:
    with fake(lambda d: d.answer(packet(CMD_RESPONSE, {"daemon": "charon"}))) as (session, daemon):
        assert session.request("version", {"a": ["b"]}, soon()) == {"daemon": b"charon"}
        kind, name, rest = daemon.asked[0]
        assert (kind, name, decode(rest)) == (0, "version", {"a": [b"b"]})


def test_refusal_leaves_the_session_whole() -> None:
    no = packet(CMD_RESPONSE, {"success": "no", "errmsg": "unknown\nthing"})
    with fake(lambda d: d.answer(no, packet(CMD_RESPONSE, {"success": "no"}), OK)) as (session, _):
        with pytest.raises(RefusedError, match="unknown thing"):
            session.request("load-conn", {}, soon())
        with pytest.raises(RefusedError, match="load-conn failed"):
            session.request("load-conn", {}, soon())
        session.request("load-conn", {}, soon())
        assert not session.broken


def test_command_that_is_not_known() -> None:
    with (
        fake(lambda d: d.answer(packet(CMD_UNKNOWN), OK)) as (session, _),
        pytest.raises(RefusedError, match="does not know load-pony"),
    ):
        session.request("load-pony", None, soon())


def test_too_large_to_ask() -> None:
    """Nothing was sent, and nothing of it is said."""
    with fake(lambda d: d.answer(OK)) as (session, daemon):
        for message in ({"data": b"s3cret" * 20_000}, {"data": [b"s3cret" * 10_000] * 10}):
            with pytest.raises(RefusedError) as raised:
                session.request("load-key", message, soon())
            assert "s3cret" not in str(raised.value)
        session.request("version", None, soon())
        assert [name for _, name, _ in daemon.asked] == ["version"]


def dribble(data: bytes, pause: float) -> Any:
    def serve(daemon: Fake) -> None:
        daemon.read()
        for byte in data:
            daemon.end.sendall(bytes([byte]))
            time.sleep(pause)

    return serve


def test_dribble_that_ends_in_time() -> None:
    with fake(dribble(OK, 0.001)) as (session, _):
        assert session.request("version", None, soon()) == {"success": b"yes"}


def test_dribble_beyond_the_deadline() -> None:
    begun = time.monotonic()
    with fake(dribble(OK, 0.05)) as (session, _):
        check_lost(session, soon(0.2))
        assert time.monotonic() - begun < 0.5


def test_silence() -> None:
    begun = time.monotonic()
    with fake(lambda d: d.answer()) as (session, _):
        assert "deadline" in check_lost(session, soon(0.1)).detail
    assert 0.1 <= time.monotonic() - begun < 1


def test_deadline_that_has_passed() -> None:
    with fake(lambda d: d.answer()) as (session, _):
        check_lost(session, time.monotonic())


def test_daemon_that_reads_nothing() -> None:
    with fake(lambda d: None) as (session, _):
        with pytest.raises(CharonError, match="took no request"):
            session.request("x", {"data": [bytes(60_000)] * 8}, soon(0.1))
        assert session.broken


@given(st.integers(0, len(OK) - 1))
def test_end_in_the_middle(cut: int) -> None:
    def serve(daemon: Fake) -> None:
        daemon.read()
        daemon.end.sendall(OK[:cut])
        daemon.end.shutdown(socket.SHUT_RDWR)

    with fake(serve) as (session, _):
        check_lost(session)


@pytest.mark.parametrize("size", [0, LARGEST + 1, 2**32 - 1])
def test_sizes_that_cannot_be(size: int) -> None:
    with fake(lambda d: d.answer(struct.pack("!I", size) + bytes(100))) as (session, _):
        assert str(size) in check_lost(session).detail


@pytest.mark.parametrize(
    "answer",
    [
        packet(CONFIRM),
        packet(EVENT, {}, "log"),
        struct.pack("!I", 1) + bytes([EVENT]),
        struct.pack("!I", 2) + bytes([EVENT, 9]),
        packet(9),
        packet(CMD_RESPONSE, {"success": ["yes"]}),
        packet(CMD_RESPONSE, {"errmsg": {"a": "b"}}),
        struct.pack("!I", 5) + bytes([CMD_RESPONSE, 3, 1, 97, 0]),
    ],
)
def test_answers_of_another_form(answer: bytes) -> None:
    with fake(lambda d: d.answer(answer)) as (session, _):
        check_lost(session)


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=200))
def test_garbage(body: bytes) -> None:
    """Whatever comes, it is an answer, a refusal or the end of the session: nothing else, and no waiting."""

    def serve(daemon: Fake) -> None:
        daemon.answer(struct.pack("!I", len(body)) + body)
        daemon.end.shutdown(socket.SHUT_WR)

    with fake(serve) as (session, _):
        try:
            session.request("version", None, soon())
        except RefusedError:
            assert not session.broken
        except CharonError as error:
            assert error.reason is Reason.NO_CHARON  # noqa: PT017
            assert session.broken
        else:
            assert body[0] == CMD_RESPONSE


def test_stream() -> None:
    events = [packet(EVENT, {"n": n}, "list-sa") for n in range(3)]
    with fake(lambda d: d.answer(CONFIRMED, b"".join(events) + OK, CONFIRMED)) as (session, daemon):
        found: list[Any] = []
        session.stream("list-sas", None, "list-sa", found.append, soon())
        assert found == [{"n": b"0"}, {"n": b"1"}, {"n": b"2"}]
        assert [kind for kind, _, _ in daemon.asked] == [REGISTER, 0, UNREGISTER]
        assert not session.broken


def test_refusal_at_the_end_of_a_stream() -> None:
    no = packet(EVENT, {"msg": "why"}, "log") + packet(CMD_RESPONSE, {"success": "no", "errmsg": "failed"})
    late = packet(EVENT, {"msg": "late"}, "log")
    with fake(lambda d: d.answer(CONFIRMED, no, late + CONFIRMED, OK)) as (session, _):
        found: list[Any] = []
        with pytest.raises(RefusedError, match="failed"):
            session.stream("initiate", None, "log", found.append, soon())
        assert found == [{"msg": b"why"}]
        session.request("version", None, soon())


@pytest.mark.parametrize("answer", [packet(EVENT, {"n": 1}, "other"), packet(CONFIRM), b""])
def test_stream_that_goes_wrong(answer: bytes) -> None:
    with fake(lambda d: d.answer(CONFIRMED, answer)) as (session, _):
        with pytest.raises(CharonError) as raised:
            session.stream("list-sas", None, "list-sa", lambda _: None, soon(0.2))
        assert raised.value.reason is Reason.NO_CHARON
        assert session.broken


def test_stream_whose_taker_fails() -> None:
    def fail(_: Any) -> None:
        raise KeyError("x")

    with fake(lambda d: d.answer(CONFIRMED, packet(EVENT, {"n": 1}, "e"))) as (session, _):
        with pytest.raises(KeyError):
            session.stream("list-sas", None, "e", fail, soon())
        assert session.broken


def test_events() -> None:
    def serve(daemon: Fake) -> None:
        daemon.answer(CONFIRMED)
        daemon.end.sendall(packet(EVENT, {"up": "yes"}, "ike-updown"))

    with fake(serve) as (session, _):
        session.register("ike-updown", soon())
        assert session.next_event(soon()) == ("ike-updown", {"up": b"yes"})
        with pytest.raises(CharonError):
            session.next_event(soon(0.05))


def test_event_that_is_not_known() -> None:
    with (
        fake(lambda d: d.answer(packet(EVENT_UNKNOWN))) as (session, _),
        pytest.raises(RefusedError, match="ike-pony"),
    ):
        session.register("ike-pony", soon())


def test_waiting_is_ended_from_another_thread() -> None:
    with fake(lambda d: d.answer()) as (session, _):
        other = threading.Timer(0.05, session.shut)
        other.start()
        with pytest.raises(CharonError):
            session.next_event(None)
        other.join()


def test_connecting(tmp_path: Path) -> None:
    path = tmp_path / "vici"
    with pytest.raises(CharonError, match="No such file"):
        connect(path, soon())
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with pytest.raises(CharonError, match="refused"):
            connect(path, soon())
        listener.listen(0)
        # One that waits to be accepted, and no more: the next waits for its turn, until its deadline.
        with connect(path, soon())._socket:
            begun = time.monotonic()
            with pytest.raises(CharonError):
                connect(path, soon(0.1))
            assert 0.05 < time.monotonic() - begun < 2


def test_pool(tmp_path: Path) -> None:
    path = tmp_path / "vici"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(5)
        pool = Pool(path)
        with pool.session(soon()) as first:
            end, _ = listener.accept()
        with pool.session(soon()) as again:
            assert again is first
        end.close()
        with pool.session(soon()) as other:
            assert other is not first
            assert first.broken
        with pytest.raises(KeyError), pool.session(soon()) as used:
            raise KeyError
        assert used.broken
        with pool.session(soon()) as last:
            pass
        pool.close()
        assert last.broken
