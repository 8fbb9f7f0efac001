"""Messages of the control socket that nobody should send: each gets an error, and the engine lives."""

from __future__ import annotations

import ipaddress
import os
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from wsasec.engine import Algorithm, Association, AssociationName, Control, Direction, EngineError, Secret
from wsasec.engine.messages import HEADER, MESSAGE_MAX, VERSION, Type, pack_association

pytestmark = pytest.mark.linux

REQUESTS = [each for each in Type if each < Type.ANSWER]
LAUNCHER = {Type.ADD_DEVICE, Type.REMOVE_DEVICE, Type.LISTEN, Type.START, Type.STOP}
# Bytes behind the header; of SUBSCRIBE 4, of what has none 0.
LENGTHS = {
    Type.HELLO: 0,
    Type.ADD_DEVICE: 32,
    Type.REMOVE_DEVICE: 32,
    Type.ADD_TRANSPORT: 8,
    Type.LISTEN: 0,
    Type.START: 0,
    Type.STOP: 0,
    Type.RESERVE_SPI: 16,
    Type.ADD_SA: 160,
    Type.DELETE_SA: 40,
    Type.GET_SA: 40,
    Type.LIST_SAS: 0,
    Type.FLUSH_SAS: 32,
    Type.TOTALS: 0,
    Type.METRICS: 0,
    Type.SUBSCRIBE: 4,
    Type.SET_MAPPING: 64,
    Type.LIST_BETWEEN: 40,
}


class Stranger:
    """A connection on which anything is said."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = self._connect()

    def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.settimeout(60)
        sock.connect(str(self._path))
        return sock

    def close(self) -> None:
        self._socket.close()

    def say(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Send a message; return type, number and the rest of its answers, none where it was hung up."""
        self._socket.send(data)
        answers = []
        while True:
            answer = self._socket.recv(MESSAGE_MAX + 1)
            if not answer:
                self._socket.close()
                self._socket = self._connect()
                return answers
            _, kind, number, flags, _ = HEADER.unpack_from(answer)
            answers.append((kind, number, answer[HEADER.size :]))
            if not flags & 1:
                return answers


@pytest.fixture
def engine(make_rig: Any, sanitized: Callable[[str], Path], tmp_path: Path) -> Iterator[tuple[Any, Stranger]]:
    host = make_rig(sanitized("address"), alone=True).a
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen(16)
        host.control.listen(listener.fileno())
    stranger = Stranger(path)
    yield host, stranger
    stranger.close()
    assert host.control.hello().pid == host.process.pid
    # What strangers may add and did not take away is no more than SAs.
    assert host.control.totals().devices == 1


def message(kind: int, body: bytes, *, number: int = 7, version: int = VERSION) -> bytes:
    return HEADER.pack(version, kind, number, 0, 0) + body


def error_of(answers: list[tuple[int, int, bytes]]) -> int:
    """Return the errno of an answer that is one error."""
    assert len(answers) == 1, answers
    kind, _, body = answers[0]
    assert kind == Type.ERROR
    assert len(body) == 128
    (number,) = struct.unpack_from("=i", body)
    assert number > 0
    # Only text is behind the text.
    assert body[8:].rstrip(b"\0").isascii()
    return int(number)


def test_each_type_with_each_length(engine):
    """All but the right length is an error, whatever it holds."""
    _, stranger = engine
    for kind in range(140):
        lengths = {*range(41), 56, 63, 64, 65, 152, 159, 160, 161, 184, 1000, MESSAGE_MAX - HEADER.size}
        wanted = LENGTHS.get(kind)  # type: ignore[call-overload]
        for length in sorted(lengths - {wanted}):
            assert error_of(stranger.say(message(kind, os.urandom(length)))), (kind, length)


def test_headers(engine):
    _, stranger = engine
    for header in (
        *(HEADER.pack(VERSION, 1, 7, 0, 0)[:length] for length in range(1, HEADER.size)),
        HEADER.pack(0, 1, 7, 0, 0),
        HEADER.pack(VERSION + 1, 1, 7, 0, 0),
        HEADER.pack(VERSION, 1, 0, 0, 0),
        HEADER.pack(VERSION, 1, 7, 1, 0),
        HEADER.pack(VERSION, 1, 7, 0, 1),
        HEADER.pack(VERSION, 1, 7, 0, 0) + bytes(MESSAGE_MAX),
    ):
        assert error_of(stranger.say(header))
    assert stranger.say(message(Type.HELLO, b""))[0][0] == Type.ANSWER


@pytest.mark.parametrize("kind", sorted(LAUNCHER), ids=lambda kind: kind.name)
def test_what_is_the_launchers(engine, kind):
    _, stranger = engine
    assert error_of(stranger.say(message(kind, bytes(LENGTHS[kind])))) == 1  # EPERM


@hypothesis.given(kind=st.sampled_from(REQUESTS), data=st.data())
@hypothesis.settings(max_examples=400, suppress_health_check=list(hypothesis.HealthCheck))
def test_random_bodies(engine, kind, data):
    """Of the right length: an answer or an error, of the number that was asked with."""
    _, stranger = engine
    body = data.draw(st.binary(min_size=LENGTHS[kind], max_size=LENGTHS[kind]))
    number = data.draw(st.integers(1, 2**32 - 1))
    for answer, of, _ in stranger.say(message(kind, body, number=number)):
        assert of == number
        assert answer in (Type.ANSWER, Type.ERROR)
        assert kind not in LAUNCHER or answer == Type.ERROR


def some_association(spi: int = 4711) -> Association:
    name = AssociationName(
        ipaddress.ip_address("10.9.0.2"), ipaddress.ip_address("10.9.0.1"), spi, Direction.INBOUND
    )
    return Association(name, 7, Algorithm.AES_256_GCM, Secret(os.urandom(36)), ports=(4500, 4500))


@hypothesis.given(changes=st.lists(st.tuples(st.integers(0, 159), st.integers(0, 255)), max_size=4))
@hypothesis.settings(max_examples=400, suppress_health_check=list(hypothesis.HealthCheck))
def test_associations_with_some_bytes_changed(engine, changes):
    host, stranger = engine
    body = bytearray(pack_association(some_association()))
    for at, value in changes:
        body[at] = value
    answers = stranger.say(message(Type.ADD_SA, bytes(body)))
    assert len(answers) == 1
    if answers[0][0] == Type.ANSWER:
        # It is one that can be listed and deleted.
        assert len(host.control.sas()) == 1
        host.control.flush_sas()
    assert not host.control.sas()


@pytest.mark.parametrize(
    "ends",
    [
        *(("10.9.0.2", "224.0.0.1"), ("224.0.0.1", "10.9.0.1"), ("0.0.0.0", "10.9.0.1")),
        *(("255.255.255.255", "10.9.0.1"), ("127.0.0.1", "10.9.0.1"), ("10.9.0.2", "127.0.0.1")),
        *(("ff02::1", "fd00:9::1"), ("::", "fd00:9::1"), ("::1", "fd00:9::1"), ("fd00:9::2", "ff05::2")),
        ("::ffff:10.9.0.2", "::ffff:10.9.0.1"),
    ],
    ids=" > ".join,
)
def test_addresses_that_are_no_hosts(engine, ends):
    """What comes in under an association has its addresses: none may be a group's or of the host itself."""
    host, _ = engine
    source, destination = map(ipaddress.ip_address, ends)
    for direction in Direction:
        name = AssociationName(source, destination, 4711, direction)
        association = Association(name, 7, Algorithm.AES_256_GCM, Secret(os.urandom(36)), ports=(4500, 4500))
        with pytest.raises(EngineError):
            host.control.add_sa(association)


def test_descriptors_that_nobody_asked_for(engine):
    """They are closed."""
    host, stranger = engine
    # Answered, so it was accepted: what a test before closed is let go of, too.
    stranger.say(message(Type.HELLO, b""))
    before = len(list(Path(f"/proc/{host.process.pid}/fd").iterdir()))
    for kind in REQUESTS:
        if kind in LAUNCHER:
            continue
        for count in (1, 3, 64):
            with socket.socketpair()[0] as sent:
                socket.send_fds(
                    stranger._socket, [message(kind, bytes(LENGTHS[kind]))], [sent.fileno()] * count
                )
                stranger._socket.recv(MESSAGE_MAX + 1)
    host.control.hello()
    assert len(list(Path(f"/proc/{host.process.pid}/fd").iterdir())) == before


def test_many_connections(engine):
    """More than it serves: those that are too many are closed, the launcher's is served."""
    host, stranger = engine
    sockets = []
    try:
        for _ in range(200):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.settimeout(60)
            sockets.append(sock)
            sock.connect(str(stranger._path))
            assert host.control.hello().pid == host.process.pid
    finally:
        for sock in sockets:
            sock.close()
    with Control(stranger._path) as control:
        assert control.hello().pid == host.process.pid


def rests(host):
    """Wait until the control thread was found asleep a hundred times in a row: it has nothing to do."""
    end = time.monotonic() + 60.0
    asleep = 0
    while asleep < 100:
        state = Path(f"/proc/{host.process.pid}/task/{host.process.pid}/stat").read_text()
        asleep = asleep + 1 if state.rpartition(")")[2].split()[0] == "S" else 0
        assert time.monotonic() < end


@pytest.mark.parametrize("by", ["limit", "connection"])
def test_no_descriptor_for_a_connection(engine, by):
    """It waits, and the engine does not turn in circles; it is served when there is one."""
    host, stranger = engine
    stranger.say(message(Type.HELLO, b""))
    limits = resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE)
    with Control(stranger._path) as first:
        first.hello()
        used = {int(each.name) for each in Path(f"/proc/{host.process.pid}/fd").iterdir()}
        none = min(set(range(len(used) + 1)) - used)
        resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE, (none, limits[1]))
        with Control(stranger._path) as second:
            host.control.hello()
            rests(host)
            assert "raise the limit of descriptors" in host.log.read_text()
            if by == "limit":
                resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE, limits)
            else:
                first.close()
            assert second.hello().pid == host.process.pid
        host.control.hello()
        rests(host)
    resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE, limits)
