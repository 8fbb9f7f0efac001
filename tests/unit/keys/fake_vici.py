"""A daemon at the other end of a socketpair that answers as it is told."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wsasec.keys.messages import encode
from wsasec.keys.session import Session

CMD_REQUEST, CMD_RESPONSE, CMD_UNKNOWN, REGISTER, UNREGISTER, CONFIRM, EVENT_UNKNOWN, EVENT = range(8)


def packet(kind: int, message: Any = None, event: str = "") -> bytes:
    """Return a packet with its length."""
    named = bytes([len(event)]) + event.encode() if kind == EVENT else b""
    body = bytes([kind]) + named + (encode(message) if message else b"")
    return struct.pack("!I", len(body)) + body


OK = packet(CMD_RESPONSE, {"success": "yes"})
CONFIRMED = packet(CONFIRM)


class Fake:
    """The daemon's end.

    Attributes:
        asked: type, name and rest of every packet that came.
    """

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.asked: list[tuple[int, str, bytes]] = []

    def read(self) -> bool:
        """Take a packet; False at the end of the connection."""
        head = self._exactly(4)
        if head is None:
            return False
        body = self._exactly(struct.unpack("!I", head)[0])
        assert body is not None
        self.asked.append((body[0], body[2 : 2 + body[1]].decode(), body[2 + body[1] :]))
        return True

    def _exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            part = self.end.recv(count - len(data))
            if not part:
                return None
            data += part
        return data

    def answer(self, *answers: bytes) -> None:
        """Take a packet and answer it, once for each."""
        for each in answers:
            if not self.read():
                return
            self.end.sendall(each)


@contextmanager
def fake(serve: Callable[[Fake], None]) -> Iterator[tuple[Session, Fake]]:
    """Return a session with a daemon that runs a function, in a thread, and then says nothing more."""
    mine, theirs = socket.socketpair()
    daemon = Fake(theirs)

    def run() -> None:
        try:
            serve(daemon)
        except OSError:
            return  # the session was closed

    thread = threading.Thread(target=run)
    thread.start()
    session = Session(mine)
    try:
        yield session, daemon
    finally:
        session.close()
        thread.join()
        theirs.close()
