"""A program's side of the protocol, and a brain that does what it is told."""

from __future__ import annotations

import array
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsasec.config.model import Config
from wsasec.daemon.messages import MalformedError
from wsasec.daemon.protocol import HEADER, MAGIC, QUESTION, VERDICT, AbortFlag, Flag, Kind, NameFlag
from wsasec.daemon.questions import Questions
from wsasec.daemon.server import Asked, Later, Limits, Server
from wsasec.keys.associations import Address
from wsasec.keys.programs import Program
from wsasec.keys.verdict import Association, Verdict


@dataclass
class FakeBrain:
    """Remembers what it was asked, and waits where it should."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    association: Association = field(default_factory=Association)
    identity: str = "b.example"
    go_on: threading.Event = field(default_factory=threading.Event)
    ended: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.go_on.set()

    def _called(self, *words: Any) -> Verdict:
        self.calls.append(words)
        assert self.go_on.wait(30)
        return self.verdict

    def verify(self, fd: int, peer: Address | None, deadline: float) -> Verdict:
        assert os.fstat(fd)
        return self._called("verify", peer, deadline - time.monotonic())

    def hold(self, fd: int) -> Verdict:
        return self._called("hold")

    def set_name(
        self, fd: int, peer: Address | None, name: str, flags: NameFlag, program: Program, deadline: float
    ) -> Verdict:
        return self._called("set_name", peer, name, flags, program.pid)

    def delete_name(self, fd: int, peer: Address | None) -> Verdict:
        return self._called("delete_name", peer)

    def program_ended(self, program: Program) -> None:
        self.ended.append(program.pid)

    def association_of(
        self, fd: int, peer: Address | None, deadline: float, abort: AbortFlag = AbortFlag.NONE
    ) -> Association:
        self._called("association_of", peer, *([abort] if abort else []))
        return self.association

    def identity_of(self, fd: int, peer: Address | None, deadline: float) -> tuple[Verdict, str]:
        return self._called("identity_of", peer), self.identity


def control(asked: Asked) -> bytes | Later:
    """An answer as long as is wished."""
    try:
        length = json.loads(bytes(asked.body))["length"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedError("no length") from error
    if not isinstance(length, int) or not 0 <= length < 1 << 22:
        raise MalformedError("no length")
    return lambda: b"x" * length


@dataclass
class Talk:
    """A server in a thread of this process."""

    path: Path
    server: Server
    questions: Questions
    brain: FakeBrain

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.settimeout(20)
        sock.connect(str(self.path))
        return sock


@contextmanager
def serving(
    folder: Path,
    config: Config | None = None,
    brain: FakeBrain | None = None,
    limits: Limits | None = None,
    control: Callable[[Asked], bytes | Later] = control,
    programs: Sequence[Program] = (),
) -> Iterator[Talk]:
    brain = brain or FakeBrain()
    questions = Questions(config or Config(Path("wsasec.toml")), brain, control, brain.go_on.set)
    path = folder / "control"
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen(64)
    server = Server(listener, questions, limits, programs)
    thread = threading.Thread(target=server.run, name="server")
    thread.start()
    try:
        yield Talk(path, server, questions, brain)
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


def message(kind: int, body: bytes = b"", number: int = 1) -> bytes:
    return HEADER.pack(MAGIC, kind, 0, number, len(body)) + body


def question(
    peer: tuple[str, int] | None = None, seconds: float = 5, flags: int = 0, name: str = ""
) -> bytes:
    storage = b""
    if peer is not None and ":" in peer[0]:
        storage = struct.pack("=H2xI", socket.AF_INET6, 0) + socket.inet_pton(socket.AF_INET6, peer[0])
    elif peer is not None:
        storage = struct.pack("=H", socket.AF_INET) + peer[1].to_bytes(2, "big") + socket.inet_aton(peer[0])
    return QUESTION.pack(int(seconds * 1000), flags, storage.ljust(128, b"\0")) + name.encode()


def send(sock: socket.socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    sock.sendmsg([data], rights)


def answer(sock: socket.socket, kind: int, number: int = 1) -> bytes:
    body = b""
    while True:
        data = sock.recv(70000)
        assert data, "the connection was closed"
        magic, said, flags, answered, length = HEADER.unpack_from(data)
        assert (magic, said, answered, length) == (MAGIC, kind | Kind.ANSWER, number, len(data) - HEADER.size)
        body += data[HEADER.size :]
        if not flags & Flag.MORE:
            return body


def verdict(body: bytes) -> tuple[int, int, int, str]:
    code, reason, step, detail = VERDICT.unpack_from(body)
    return code, reason, step, detail.rstrip(b"\0").decode()


def until(what: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)
