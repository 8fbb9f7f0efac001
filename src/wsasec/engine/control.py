"""The engine's control socket, as a client."""

from __future__ import annotations

import array
import errno
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from .messages import (
    DESCRIPTORS_MAX,
    EVENTS,
    HEADER,
    MESSAGE_MAX,
    MORE,
    VERSION,
    Address,
    Association,
    AssociationName,
    AssociationState,
    Event,
    Hello,
    Mapping,
    MessageError,
    Totals,
    TransportKind,
    Type,
    pack_association,
    pack_device,
    pack_ends,
    pack_spi,
    pack_transport,
    parse_error,
    parse_event,
    parse_hello,
    parse_spi,
    parse_states,
    parse_totals,
)

__all__ = ["TIMEOUT", "Control"]

TIMEOUT: Final = 10.0
"""Seconds in which the engine has to answer."""

_LEAST_SPI: Final = 0xC0000000
_MOST_SPI: Final = 0xFFFFFFFF


class Control:
    """A connection to an engine.

    Any thread may ask; one asks at a time. Events come in on the same connection: those that arrive while
    an answer is awaited are kept for `event`. Who waits for events in a thread of its own has a connection
    of its own, as a thread that asks would take them from under it.

    Every method raises:
        EngineError: the engine refused; `errno` as in control_protocol.h.
        ConnectionError: the engine has ended, or closed the connection; a request closes it here, too.
        TimeoutError: it did not answer in time; the connection is closed then.
        MessageError: its answer cannot be read; the connection is closed then.
    """

    def __init__(self, where: str | os.PathLike[str] | socket.socket, *, timeout: float = TIMEOUT) -> None:
        """Connect.

        Args:
            where: path of the socket that the engine listens at, or a connected socket, which is now the
                connection's own.
            timeout: seconds to wait for each answer.

        Raises:
            OSError: there is no engine at that path, or this user may not speak to it.
        """
        self.timeout = timeout
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._number = 0
        if isinstance(where, socket.socket):
            self._socket = where
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(str(Path(where)))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Control fd={self._socket.fileno()}>"

    def close(self) -> None:
        """Close it. The engine ends if it was the launcher's."""
        self._socket.close()

    def fileno(self) -> int:
        """Return its descriptor, readable when an event came in that no request has taken; -1 if closed."""
        return self._socket.fileno()

    def hello(self) -> Hello:
        """Ask who answers."""
        return parse_hello(self._ask(Type.HELLO))

    def reserve_spi(self, least: int = _LEAST_SPI, most: int = _MOST_SPI) -> int:
        """Have an SPI chosen, from the range, that no association of this host has."""
        return parse_spi(self._ask(Type.RESERVE_SPI, pack_spi(least, most)))

    def add_sa(self, association: Association) -> None:
        """Add an association; at the receiver first, as the newest outbound one is used at once.

        Raises:
            EngineError: EEXIST: it is there; EKEYREJECTED: the key was given before; ENOSPC: too many.
        """
        message = pack_association(association)
        try:
            self._ask(Type.ADD_SA, message)
        finally:
            message[:] = bytes(len(message))

    def delete_sa(self, name: AssociationName) -> None:
        """Delete an association. EngineError (ENOENT): there is none."""
        self._ask(Type.DELETE_SA, name.packed())

    def sa(self, name: AssociationName) -> AssociationState:
        """Return an association as it is now. EngineError (ENOENT): there is none."""
        found = parse_states(self._ask(Type.GET_SA, name.packed()))
        if len(found) != 1:
            raise MessageError(f"{len(found)} associations of one name")
        return found[0]

    def sas(self) -> list[AssociationState]:
        """Return all associations, the newest first."""
        return [each for data in self._answers(Type.LIST_SAS) for each in parse_states(data)]

    def sas_between(self, source: Address | None, destination: Address | None) -> list[AssociationState]:
        """Return the associations from an address to another, the newest first; one may be None: any."""
        answers = self._answers(Type.LIST_BETWEEN, pack_ends(source, destination))
        return [each for data in answers for each in parse_states(data)]

    def flush_sas(self, reqid: int = 0) -> None:
        """Delete the associations of a profile, or with 0 all."""
        self._ask(Type.FLUSH_SAS, pack_device(reqid))

    def totals(self) -> Totals:
        """Return the counters."""
        return parse_totals(self._ask(Type.TOTALS))

    def metrics(self) -> str:
        """Return the counters as text for Prometheus (exposition format 0.0.4)."""
        return b"".join(self._answers(Type.METRICS)).decode("utf-8")

    def set_mapping(self, mapping: Mapping) -> None:
        """Say where the packets of an outbound association go from now on (NAT)."""
        self._ask(Type.SET_MAPPING, mapping.packed())

    def subscribe(self, types: Iterable[Type] = EVENTS) -> None:
        """Have events told on this connection, from now on; of no type: none."""
        wanted = 0
        for each in types:
            wanted |= 1 << (each - Type.EVENT_ACQUIRE)
        self._ask(Type.SUBSCRIBE, struct.pack("=I", wanted))

    def event(self, timeout: float | None = None) -> Event | None:
        """Wait for an event.

        Args:
            timeout: seconds; None for ever, 0 to look only.

        Returns:
            None if none came by then.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                if self._events:
                    return self._events.popleft()
                if (message := self._receive(0.0)) is not None:
                    kind, number, _, data = message
                    self._take_event(kind, number, data)
                    continue
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            self._wait(left)

    def add_device(
        self, reqid: int, ifindex: int, name: str, mtu: int, queues: Sequence[int], *, bulk: bool = False
    ) -> None:
        """Hand over the queues of a TUN device; the launcher's connection only.

        Args:
            reqid: of the associations whose packets it has.
            ifindex: its number.
            name: its name.
            mtu: bytes of its largest packet.
            queues: descriptors; as many as there are threads each way at most, or twice as many.
            bulk: whether the second half is for flows that send much.
        """
        body = pack_device(reqid, ifindex=ifindex, mtu=mtu, name=name, bulk=bulk)
        self._ask(Type.ADD_DEVICE, body, queues)

    def remove_device(self, reqid: int) -> None:
        """Have the engine let go of a device; the launcher's connection only."""
        self._ask(Type.REMOVE_DEVICE, pack_device(reqid))

    def add_transport(self, kind: TransportKind, family: int, port: int, sockets: Sequence[int]) -> None:
        """Hand over the sockets that carry ESP."""
        self._ask(Type.ADD_TRANSPORT, pack_transport(kind, family, port), sockets)

    def listen(self, listener: int) -> None:
        """Hand over a listening socket, SOCK_SEQPACKET, for others that control the engine; launcher only."""
        self._ask(Type.LISTEN, b"", [listener])

    def start(self) -> None:
        """Have it work: no more is to be opened, and the filter of system calls goes up; launcher only."""
        self._ask(Type.START)

    def stop(self) -> None:
        """Have it end; launcher only."""
        self._ask(Type.STOP)

    def _ask(self, kind: Type, body: bytes | bytearray = b"", descriptors: Sequence[int] = ()) -> bytes:
        answers = self._answers(kind, body, descriptors)
        if len(answers) != 1:
            raise MessageError(f"{len(answers)} answers to one question ({kind.name})")
        return answers[0]

    def _answers(
        self, kind: Type, body: bytes | bytearray = b"", descriptors: Sequence[int] = ()
    ) -> list[bytes]:
        """Send a request, return what its answers hold."""
        with self._lock:
            try:
                return self._exchange(kind, body, descriptors)
            except (MessageError, ConnectionError, TimeoutError, KeyboardInterrupt):
                # What comes next would be taken for the answer to another question; or there is no more.
                self._socket.close()
                raise

    def _exchange(self, kind: Type, body: bytes | bytearray, descriptors: Sequence[int]) -> list[bytes]:
        if self._socket.fileno() < 0:
            raise self._closed()
        deadline = time.monotonic() + self.timeout
        self._number = self._number % 0xFFFFFFFF + 1
        self._send(kind, body, descriptors)
        found: list[bytes] = []
        while True:
            message = self._receive(deadline - time.monotonic())
            if message is None:
                raise TimeoutError(errno.ETIMEDOUT, f"the engine did not answer in {self.timeout:g} s")
            answer, number, flags, data = message
            if answer in EVENTS:
                self._take_event(answer, number, data)
                continue
            if number != self._number:
                raise MessageError(f"an answer of number {number}, not of {self._number}")
            if answer == Type.ERROR:
                raise parse_error(data)
            if answer != Type.ANSWER:
                raise MessageError(f"an answer of type {answer}")
            found.append(data)
            if not flags & MORE:
                return found

    def _send(self, kind: Type, body: bytes | bytearray, descriptors: Sequence[int]) -> None:
        if len(descriptors) > DESCRIPTORS_MAX:
            raise ValueError(f"{len(descriptors)} descriptors at once, of {DESCRIPTORS_MAX} at most")
        header = HEADER.pack(VERSION, kind, self._number, 0, 0)
        rights = (
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        )
        self._socket.settimeout(self.timeout)
        try:
            self._socket.sendmsg([header, body], rights, socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionError) as error:
            raise self._ended() from error

    def _receive(self, timeout: float) -> tuple[int, int, int, bytes] | None:
        """Take a message: (type, number, flags, what it holds); None if none came in time."""
        if not self._wait(max(0.0, timeout)):
            return None
        try:
            # Without a buffer for them, descriptors that came along are closed by the kernel.
            data, _, flags, _ = self._socket.recvmsg(MESSAGE_MAX + 1, 0, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return None
        except ConnectionError as error:
            raise self._ended() from error
        if not data:
            raise self._ended()
        if flags & socket.MSG_TRUNC or not HEADER.size <= len(data) <= MESSAGE_MAX:
            raise MessageError(f"a message of {len(data)} bytes or more")
        version, kind, number, more, _ = HEADER.unpack_from(data)
        if version != VERSION:
            raise MessageError(f"a message of version {version}, not of {VERSION}")
        return kind, number, more, data[HEADER.size :]

    def _take_event(self, kind: int, number: int, data: bytes) -> None:
        if number:
            raise MessageError(f"an event with number {number}")
        self._events.append(parse_event(kind, data))

    def _wait(self, timeout: float | None) -> bool:
        """Wait until there is something to read; select() would have no room for descriptors above 1,023."""
        if self._socket.fileno() < 0:
            raise self._closed()
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    @staticmethod
    def _closed() -> ConnectionError:
        return ConnectionError(errno.ENOTCONN, "the connection to the engine is closed")

    @staticmethod
    def _ended() -> ConnectionError:
        return ConnectionResetError(errno.ECONNRESET, "the engine has ended, or closed the connection")
