"""One connection to charon's VICI socket: requests with deadlines.

What charon answers is read whole or not at all. After an answer that was late, cut off, too large or not
VICI's nobody knows what the next bytes belong to: the session is closed then, and says so ever after.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from vici.protocol import Packet  # type: ignore[import-untyped]

from .messages import MessageError, Section, decode, encode, text
from .reason import CharonError, Reason

__all__ = ["GRACE", "LARGEST", "RefusedError", "Session", "connect"]

LARGEST: Final = 512 * 1024
"""Bytes of a packet: the most that charon sends."""

GRACE: Final = 1.0
"""Seconds after the end that charon was told for something until it must have said what became of it."""

_LENGTH: Final = struct.Struct("!I")
_CHUNK: Final = 65536
_UCRED: Final = struct.Struct("=iII")


class RefusedError(CharonError):
    """charon understood a request and did not do it. The session goes on."""


def _set_send_timeout(unset: socket.socket, seconds: float) -> None:
    whole = int(seconds)
    value = struct.pack("@ll", whole, int((seconds - whole) * 1_000_000))
    unset.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


def connect(path: str | Path, deadline: float) -> Session:
    """Connect to a VICI socket.

    Raises:
        CharonError: nobody listens there, or the deadline passed.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # Not settimeout(): a socket that does not block is refused, not queued, while charon is busy.
        _set_send_timeout(made, max(0.001, deadline - time.monotonic()))
        made.connect(str(path))
        _set_send_timeout(made, 0)
    except OSError as error:
        made.close()
        raise CharonError(Reason.NO_CHARON, f"{path}: {error.strerror or error}") from error
    return Session(made)


class Session:
    """A connection, for one thread at a time. Deadlines are points of time.monotonic().

    Attributes:
        broken: whether it is of no use any more.
    """

    def __init__(self, connected: socket.socket) -> None:
        """Take a connected socket over."""
        self._socket = connected
        self.broken = False

    @property
    def quiet(self) -> bool:
        """Whether it is usable, as nothing has come that nobody asked for: not even the end."""
        if self.broken:
            return False
        unread = select.poll()
        unread.register(self._socket, select.POLLIN)
        return not unread.poll(0)

    def listener(self) -> tuple[int, int]:
        """Return the process that began to listen, and its user; 0 for one of another process namespace."""
        size = _UCRED.size
        pid, uid, _ = _UCRED.unpack(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        return pid, uid

    def close(self) -> None:
        """Close it; twice is fine."""
        self.broken = True
        self._socket.close()

    def shut(self) -> None:
        """End what another thread waits for in it: that gets a CharonError."""
        self.broken = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is not connected any more: nobody waits

    def _lost(self, detail: str) -> CharonError:
        self.close()
        return CharonError(Reason.NO_CHARON, detail)

    def _set_timeout(self, deadline: float | None) -> None:
        if deadline is None:
            self._socket.settimeout(None)
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def _send(self, packet: bytes, deadline: float) -> None:
        if self.broken:
            raise CharonError(Reason.NO_CHARON, "the session was lost before")
        try:
            self._set_timeout(deadline)
            self._socket.sendall(_LENGTH.pack(len(packet)) + packet)
        except TimeoutError as error:
            raise self._lost("it took no request before the deadline") from error
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from error

    def _bytes(self, count: int, deadline: float | None) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            self._set_timeout(deadline)
            part = self._socket.recv(min(count - len(parts), _CHUNK))
            if not part:
                raise self._lost("it closed the connection")
            parts += part
        return bytes(parts)

    def _receive(self, deadline: float | None) -> tuple[int, str, bytes]:
        """Return the type, the event's name and the message of a packet."""
        if self.broken:
            raise CharonError(Reason.NO_CHARON, "the session was lost before")
        try:
            (size,) = _LENGTH.unpack(self._bytes(_LENGTH.size, deadline))
            if not 1 <= size <= LARGEST:
                raise self._lost(f"it sent a packet of {size} bytes")
            data = self._bytes(size, deadline)
        except TimeoutError as error:
            raise self._lost("no answer before the deadline") from error
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from error
        if data[0] != Packet.EVENT:
            return data[0], "", data[1:]
        if size < 2 or size < 2 + data[1]:
            raise self._lost("it sent an event without a name")
        return data[0], data[2 : 2 + data[1]].decode("ascii", "replace"), data[2 + data[1] :]

    def _decoded(self, data: bytes) -> Section:
        try:
            return decode(data)
        except MessageError as error:
            raise self._lost(f"it sent what is no VICI message: {error}") from error

    def _answer(self, command: str, kind: int, data: bytes) -> Section:
        if kind == Packet.CMD_UNKNOWN:
            raise RefusedError(Reason.NO_CHARON, f"it does not know {command}")
        if kind != Packet.CMD_RESPONSE:
            raise self._lost(f"it answered {command} by a packet of type {kind}")
        answer = self._decoded(data)
        try:
            done = text(answer, "success", "yes") == "yes"
            said = text(answer, "errmsg")
        except MessageError as error:
            raise self._lost(f"its answer to {command} has another form: {error}") from error
        if not done:
            raise RefusedError(Reason.NEGOTIATION, said or f"{command} failed")
        return answer

    def _packet(self, command: str, message: Mapping[str, object] | None) -> bytes:
        try:
            body = encode(message) if message else b""
        except MessageError as error:
            raise RefusedError(Reason.NEGOTIATION, f"{command}: {error}") from None
        packet = Packet.request(command, body)
        assert isinstance(packet, bytes)  # noqa: S101
        if len(packet) > LARGEST:
            raise RefusedError(Reason.NEGOTIATION, f"{command}: {len(packet)} bytes are too many for VICI")
        return packet

    def request(self, command: str, message: Mapping[str, object] | None, deadline: float) -> Section:
        """Send a request and return its answer.

        Args:
            command: VICI's name of it.
            message: what goes with it.
            deadline: for all of it.

        Raises:
            RefusedError: charon did not do it.
            CharonError: it does not answer, or not as VICI has it. The session is broken.
        """
        return self.stream(command, message, "", lambda _: None, deadline)

    def stream(
        self,
        command: str,
        message: Mapping[str, object] | None,
        event: str,
        each: Callable[[Section], None],
        deadline: float,
        *,
        having: bytes = b"",
    ) -> Section:
        """Send a request whose answer comes by events, hand each of them over, and return what comes last.

        Args:
            command: VICI's name of it.
            message: what goes with it.
            event: the kind of the events; "" for none.
            each: called with every event; what it raises breaks the session.
            deadline: for all of it.
            having: events without these bytes are not looked at: to read thousands takes time.

        Raises:
            RefusedError: charon did not do it.
            CharonError: it does not answer, or not as VICI has it. The session is broken.
        """
        packet = self._packet(command, message)
        if event:
            self.register(event, deadline)
        self._send(packet, deadline)
        while True:
            kind, name, data = self._receive(deadline)
            if kind != Packet.EVENT:
                break
            if not event or name != event:
                raise self._lost(f"it sent an event nobody asked for: {name}")
            if having not in data:
                continue
            found = self._decoded(data)
            try:
                each(found)
            except BaseException:
                self.close()
                raise
        try:
            return self._answer(command, kind, data)
        finally:
            if event and not self.broken:
                self._confirm(Packet.unregister_event(event), event, deadline)

    def register(self, event: str, deadline: float) -> None:
        """Have events of a kind sent; next_event() returns them. Raises CharonError."""
        self._confirm(Packet.register_event(event), event, deadline)

    def _confirm(self, packet: bytes, event: str, deadline: float) -> None:
        self._send(packet, deadline)
        while True:
            kind, _, _ = self._receive(deadline)
            if kind == Packet.EVENT_CONFIRM:
                return
            if kind == Packet.EVENT_UNKNOWN:
                raise RefusedError(Reason.NO_CHARON, f"it does not know the event {event}")
            if kind != Packet.EVENT:
                raise self._lost(f"it answered a registration by a packet of type {kind}")

    def next_event(self, deadline: float | None) -> tuple[str, Section]:
        """Return the kind of the next registered event and what it says; None waits for ever. CharonError."""
        kind, name, data = self._receive(deadline)
        if kind != Packet.EVENT:
            raise self._lost(f"it sent a packet of type {kind} in place of an event")
        return name, self._decoded(data)
