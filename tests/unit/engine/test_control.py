"""The client of the control socket against a peer that answers as it likes."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wsasec.engine import control as control_module
from wsasec.engine import messages
from wsasec.engine.control import Control
from wsasec.engine.messages import (
    HEADER,
    MESSAGE_MAX,
    MORE,
    VERSION,
    Algorithm,
    Association,
    AssociationName,
    Direction,
    EngineError,
    Lost,
    MessageError,
    Secret,
    Type,
)

PATIENCE = 30.0

A = ipaddress.ip_address("10.9.0.1")
B = ipaddress.ip_address("10.9.0.2")
NAME = AssociationName(A, B, 4096, Direction.OUTBOUND)
HELLO = struct.pack("=QII32s32s", 5, 6, 2, b"ipsec-mb 1.3.0", b"0.1.0")

Answer = Callable[[socket.socket, int, int, bytes, list[int]], None]


@contextmanager
def engine(answer: Answer, timeout: float = PATIENCE) -> Iterator[Control]:
    """A peer that calls `answer` with each request: its type, number, body and descriptors."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            with theirs:
                theirs.settimeout(PATIENCE)
                while True:
                    data, descriptors, _, _ = socket.recv_fds(theirs, MESSAGE_MAX, 64)
                    if not data:
                        return
                    version, kind, number, flags, reserved = HEADER.unpack_from(data)
                    assert (version, flags, reserved) == (VERSION, 0, 0)
                    assert number
                    try:
                        answer(theirs, kind, number, data[HEADER.size :], descriptors)
                    finally:
                        for fd in descriptors:
                            os.close(fd)
        except ConnectionError:
            pass
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    with Control(ours, timeout=timeout) as control:
        yield control
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert not failures, failures


def message(kind: int, number: int, body: bytes = b"", flags: int = 0, version: int = VERSION) -> bytes:
    return HEADER.pack(version, kind, number, flags, 0) + body


def plain(body: bytes = b"") -> Answer:
    def answer(peer: socket.socket, kind: int, number: int, data: bytes, fds: list[int]) -> None:
        peer.send(message(Type.ANSWER, number, body))

    return answer


def test_hello() -> None:
    with engine(plain(HELLO)) as control:
        hello = control.hello()
        assert (hello.instance, hello.pid, hello.threads) == (5, 6, 2)
        assert (hello.crypto, hello.version) == ("ipsec-mb 1.3.0", "0.1.0")


def test_each_request_has_its_number() -> None:
    seen = []

    def answer(peer: socket.socket, kind: int, number: int, data: bytes, fds: list[int]) -> None:
        seen.append((kind, number))
        peer.send(message(Type.ANSWER, number))

    with engine(answer) as control:
        control.flush_sas()
        control.delete_sa(NAME)
        control.start()
    assert [kind for kind, _ in seen] == [Type.FLUSH_SAS, Type.DELETE_SA, Type.START]
    assert len({number for _, number in seen}) == 3


def test_the_number_is_never_0() -> None:
    with engine(plain()) as control:
        control._number = 0xFFFFFFFF
        control.flush_sas()
        assert control._number == 1


def test_an_error_has_the_words_of_the_engine() -> None:
    def answer(peer: socket.socket, kind: int, number: int, data: bytes, fds: list[int]) -> None:
        peer.send(message(Type.ERROR, number, struct.pack("=iI120s", errno.EEXIST, 0, b"it is there")))

    with engine(answer) as control:
        with pytest.raises(EngineError, match="it is there") as raised:
            control.delete_sa(NAME)
        assert raised.value.errno == errno.EEXIST
        with pytest.raises(EngineError):  # the connection is as good as before
            control.delete_sa(NAME)


def test_a_list_comes_in_parts() -> None:
    def answer(peer: socket.socket, kind: int, number: int, data: bytes, fds: list[int]) -> None:
        for part in range(3):
            peer.send(message(Type.ANSWER, number, b"line %d\n" % part, MORE if part < 2 else 0))

    with engine(answer) as control:
        assert control.metrics() == "line 0\nline 1\nline 2\n"


def test_events_between_answers_are_kept() -> None:
    def answer(peer: socket.socket, kind: int, number: int, data: bytes, fds: list[int]) -> None:
        peer.send(message(Type.EVENT_LOST, 0))
        peer.send(message(Type.ANSWER, number, HELLO))
        peer.send(message(Type.EVENT_LOST, 0))

    with engine(answer) as control:
        assert control.hello().pid == 6
        assert control.event(PATIENCE) == Lost()
        assert control.event(PATIENCE) == Lost()
        assert control.event(0) is None


def test_what_is_subscribed_to_is_a_bit_each() -> None:
    seen = []

    def answer(peer: socket.socket, kind: int, number: int, data: bytes, fds: list[int]) -> None:
        seen.append(data)
        peer.send(message(Type.ANSWER, number))

    with engine(answer) as control:
        control.subscribe([Type.EVENT_ACQUIRE])
        control.subscribe([Type.EVENT_EXPIRE, Type.EVENT_MAPPING])
        control.subscribe([])
    assert seen == [struct.pack("=I", wanted) for wanted in (1, 6, 0)]


def test_descriptors_go_along() -> None:
    seen = []

    def answer(peer: socket.socket, kind: int, number: int, data: bytes, fds: list[int]) -> None:
        seen.append((kind, data, [os.fstat(fd).st_ino for fd in fds]))
        peer.send(message(Type.ANSWER, number))

    with socket.socket() as one, socket.socket() as other, engine(answer) as control:
        inodes = [os.fstat(each.fileno()).st_ino for each in (one, other)]
        control.add_device(7, 3, "ws7", 1458, [one.fileno(), other.fileno()])
        control.listen(one.fileno())
    device = struct.pack("=4I16s", 7, 3, 1458, 1, b"ws7")
    assert seen == [(Type.ADD_DEVICE, device, inodes), (Type.LISTEN, b"", inodes[:1])]


def test_the_message_with_a_key_is_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytearray] = []

    def pack(association: Association) -> bytearray:
        made.append(messages.pack_association(association))
        return made[-1]

    monkeypatch.setattr(control_module, "pack_association", pack)
    received = []

    def answer(peer: socket.socket, kind: int, number: int, data: bytes, fds: list[int]) -> None:
        received.append(data)
        peer.send(message(Type.ERROR, number, struct.pack("=iI120s", errno.EEXIST, 0, b"")))

    key = Secret(os.urandom(36))
    with engine(answer) as control, pytest.raises(EngineError):
        control.add_sa(Association(NAME, 1, Algorithm.AES_256_GCM, key))
    assert bytes(key.reveal()) in received[0]
    assert len(made) == 1
    assert not any(made[0])


@pytest.mark.parametrize(
    "reply",
    [
        lambda number: message(Type.ANSWER, number + 1),
        lambda number: message(Type.HELLO, number),
        lambda number: message(Type.ANSWER, number, version=2),
        lambda number: message(Type.ANSWER, number)[:-1],
        lambda number: message(Type.ANSWER, number, HELLO[:-1]),
        lambda number: message(Type.ANSWER, number, bytes(MESSAGE_MAX)),
        lambda number: message(Type.EVENT_LOST, number),
        lambda number: message(Type.EVENT_ACQUIRE, 0, b"short"),
        lambda number: message(Type.ERROR, number, b"short"),
    ],
)
def test_an_answer_that_cannot_be_read(reply: Callable[[int], bytes]) -> None:
    def answer(peer: socket.socket, kind: int, number: int, data: bytes, fds: list[int]) -> None:
        peer.send(reply(number))

    with engine(answer) as control, pytest.raises(MessageError):
        control.hello()


def test_descriptors_that_nobody_asked_for_are_not_kept() -> None:
    def answer(peer: socket.socket, kind: int, number: int, data: bytes, fds: list[int]) -> None:
        socket.send_fds(peer, [message(Type.ANSWER, number, HELLO)], [peer.fileno()])

    with engine(answer) as control:
        assert control.hello().pid == 6  # nothing_left looks for the descriptor


def test_an_engine_that_ends() -> None:
    """The connection is closed under its lock: no other thread is just about to read from its descriptor."""

    def answer(peer: socket.socket, kind: int, number: int, data: bytes, fds: list[int]) -> None:
        peer.shutdown(socket.SHUT_RDWR)

    with engine(answer) as control:
        for _ in range(2):
            with pytest.raises(ConnectionError):
                control.hello()
            assert control.fileno() == -1
        with pytest.raises(ConnectionError):
            control.event(PATIENCE)


def test_an_engine_that_does_not_answer() -> None:
    with engine(lambda *_: None, timeout=0.05) as control:
        with pytest.raises(TimeoutError):
            control.hello()
        with pytest.raises(ConnectionError):  # its answer would be taken for another's
            control.hello()


def test_threads_that_ask_at_once() -> None:
    def answer(peer: socket.socket, kind: int, number: int, data: bytes, fds: list[int]) -> None:
        peer.send(message(Type.EVENT_LOST, 0))
        peer.send(message(Type.ANSWER, number, data))

    failures: list[BaseException] = []
    with engine(answer) as control:

        def ask(least: int) -> None:
            try:
                for _ in range(100):
                    assert control.reserve_spi(least, least + 1) == 0
            except BaseException as error:  # noqa: BLE001
                failures.append(error)

        threads = [threading.Thread(target=ask, args=(1000 * n,)) for n in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        events = [control.event(PATIENCE) for _ in range(400)]
    assert not failures
    assert events == [Lost()] * 400


def test_there_is_no_engine(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Control(tmp_path / "nothing")
