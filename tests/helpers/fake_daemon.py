"""A key daemon that says what a test wants: the protocol's bytes are written here once more, by hand."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MAGIC = 0x31617377
SECURE, NEGOTIATE, SET_NAME, DELETE_NAME, HOLD, QUERY, ACCOUNT = range(1, 8)
ANSWER = 0x8000

HEADER = struct.Struct("=IHHII")
QUESTION = struct.Struct("=II128s")
VERDICT = struct.Struct("=iHH248s")
ASSOCIATION = struct.Struct("=IIQQQQQQQQ12I")
ACCOUNT_TAIL = struct.Struct("=6I")

GOOD = VERDICT.pack(0, 0, 0, b"")


@dataclass(frozen=True)
class Question:
    """One that was asked."""

    kind: int
    number: int
    body: bytes
    cookies: tuple[bytes, ...]  # of the sockets that came with it

    @property
    def milliseconds(self) -> int:
        return int(QUESTION.unpack_from(self.body)[0])

    @property
    def flags(self) -> int:
        return int(QUESTION.unpack_from(self.body)[1])

    @property
    def peer(self) -> bytes:
        return bytes(QUESTION.unpack_from(self.body)[2])

    @property
    def rest(self) -> bytes:
        return self.body[QUESTION.size :]

    def answer(self, body: bytes) -> bytes:
        return HEADER.pack(MAGIC, self.kind | ANSWER, 0, self.number, len(body)) + body


def verdict(code: int, reason: int, step: int = 32, detail: bytes = b"") -> bytes:
    return VERDICT.pack(code, reason, step, detail)


def association(strings: list[bytes], flags: int = 3, **numbers: int) -> bytes:
    """An answer to QUERY: strings are the algorithms, the identities, the profile and the certificate."""
    names = [
        "protocol",
        "mm_sa_id",
        "qm_sa_id",
        "bytes_in",
        "bytes_out",
        "packets_in",
        "packets_out",
        "age",
        "rekey_in",
        "spi_in",
        "spi_out",
        "encryption_bits",
        "integrity_bits",
        "esn",
        "reqid",
    ]
    # No association is without SPIs.
    numbers = {"spi_in": 0x1001, "spi_out": 0x1002, **numbers}
    values = [numbers.get(name, 0) for name in names]
    ends = [sum(map(len, strings[: place + 1])) for place in range(6)]
    return GOOD + ASSOCIATION.pack(flags, *values, *ends) + b"".join(strings)


def account(uid: int, gid: int, groups: list[int], name: bytes = b"x", identity: bytes = b"host/x") -> bytes:
    tail = ACCOUNT_TAIL.pack(uid, gid, len(groups), len(name), len(identity), 0)
    return GOOD + tail + struct.pack(f"={len(groups)}I", *groups) + name + identity


# What is sent for a question: datagrams; or None: the connection is closed.
Handler = Callable[[Question], list[bytes] | None]


def good(question: Question) -> list[bytes]:
    return [question.answer(GOOD)]


@dataclass
class FakeDaemon:
    """Listens below a folder for the calling thread's network namespace, in a thread of its own."""

    folder: Path
    handler: Handler = good
    questions: list[Question] = field(default_factory=list)
    connections: int = 0
    refusal: bytes | None = None
    """The verdict by which it turns connections away, without reading what was asked."""

    def __enter__(self) -> FakeDaemon:
        place = self.folder / f"net-{Path('/proc/thread-self/ns/net').stat().st_ino}"
        place.mkdir(exist_ok=True)
        self.path = place / "control"
        self.path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(self.path))
        self.path.chmod(0o666)
        self.listener.listen(16)
        self.threads = [threading.Thread(target=self.accept)]
        self.open: list[socket.socket] = []
        self.threads[0].start()
        return self

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.refusal is not None:
                with connection:
                    select.select([connection], [], [])
                    connection.send(HEADER.pack(MAGIC, ANSWER, 0, 0, len(self.refusal)) + self.refusal)
                continue
            self.open.append(connection)
            thread = threading.Thread(target=self.serve, args=[connection])
            self.threads.append(thread)
            thread.start()

    def serve(self, connection: socket.socket) -> None:
        with connection:
            while True:
                try:
                    data, descriptors, _, _ = socket.recv_fds(connection, 65536, 253)
                except OSError:
                    return
                if not data:
                    return
                cookies = []
                for fd in descriptors:
                    with socket.socket(fileno=fd) as sock:
                        cookies.append(sock.getsockopt(socket.SOL_SOCKET, 57, 8))  # SO_COOKIE
                magic, kind, flags, number, length = HEADER.unpack_from(data)
                assert (magic, flags, length) == (MAGIC, 0, len(data) - HEADER.size)
                question = Question(kind, number, data[HEADER.size :], tuple(cookies))
                self.questions.append(question)
                answers = self.handler(question)
                if answers is None:
                    return
                try:
                    for answer in answers:
                        connection.send(answer)
                except OSError:
                    return

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.threads[0].join()
        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self.threads[1:]:
            thread.join()
        self.path.unlink()
