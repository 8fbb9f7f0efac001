"""An engine that encrypts nothing: it speaks the control protocol, and keeps what it was told."""

from __future__ import annotations

import array
import errno
import os
import random
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wsasec.engine.messages import HEADER, MESSAGE_MAX, MORE, VERSION, Type

_NAME: Final = struct.Struct("=16s16sIHBB")
_SA: Final = struct.Struct("=40sIIIHHBB6x56s36s4x")
_STATES_AT_ONCE: Final = 2

OUTBOUND, INBOUND = 1, 2


@dataclass(frozen=True)
class Added:
    """An SA as charon has given it; `key` for comparisons only."""

    source: str
    destination: str
    spi: int
    inbound: bool
    reqid: int
    flags: int
    window: int
    ports: tuple[int, int]
    algorithm: int
    limits: tuple[int, ...]
    key: bytes = field(repr=False)
    name: bytes = field(repr=False)

    @property
    def esn(self) -> bool:
        return bool(self.flags & 1)

    @property
    def udp(self) -> bool:
        return bool(self.flags & 2)


def _text(data: bytes, family: int) -> str:
    return socket.inet_ntop(family, data[:4] if family == socket.AF_INET else data)


def _added(body: bytes) -> Added:
    name, reqid, flags, window, *ports, algorithm, length, limits, key = _SA.unpack(body)
    source, destination, spi, family, direction, _ = _NAME.unpack(name)
    return Added(
        _text(source, family),
        _text(destination, family),
        spi,
        direction == INBOUND,
        reqid,
        flags,
        window,
        (ports[0], ports[1]),
        algorithm,
        struct.unpack("=7Q", limits),
        key[:length],
        name,
    )


class FakeEngine:
    """It listens at a path until close(), or until its end is wanted."""

    def __init__(
        self, path: Path, threads: int = 2, refuse: dict[Type, tuple[int, str]] | None = None
    ) -> None:
        self.path = path
        self.threads = threads
        self.instance = random.getrandbits(64)
        self.changed = threading.Condition()
        self.requests: list[tuple[Type, bytes]] = []
        self.sas: dict[bytes, Added] = {}
        self.all_added: list[Added] = []
        self.soft: set[bytes] = set()
        self.counts: dict[bytes, tuple[int, int, int]] = {}
        self.transports: dict[tuple[int, int, int], list[int]] = {}
        self.refuse: dict[Type, tuple[int, str]] = {} if refuse is None else dict(refuse)
        self.silent: set[Type] = set()
        self.unanswered: Callable[[Type, bytes], bool] = lambda _kind, _body: False
        self.breaks = False  # what is done and not answered ends the connection
        self._spis = iter(range(0xC0001000, 0xC0FFFFFF))
        self._connections: dict[socket.socket, int] = {}
        self._threads: list[threading.Thread] = []
        self._ended = False
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        path.chmod(0o666)  # the folder is what keeps others away
        self._listener.listen(16)
        self._start(self._accept)

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, run: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=run, args=args, name="fake-engine")
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """End as a process that is killed does: all at once."""
        with self.changed:
            if self._ended:
                return
            self._ended = True
            connections = list(self._connections)
        for each in (self._listener, *connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()
        for key in list(self.transports):
            self._let_go(key)

    def wait(self, condition: Callable[[FakeEngine], bool], seconds: float = 20.0) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self), seconds), (
                [kind.name for kind, _ in self.requests],
                self.sas,
            )

    def count(self, kind: Type) -> int:
        return sum(each is kind for each, _ in self.requests)

    def tell(self, kind: Type, body: bytes) -> None:
        """Send an event to who subscribed to it."""
        with self.changed:
            told = [
                each for each, mask in self._connections.items() if mask & 1 << (kind - Type.EVENT_ACQUIRE)
            ]
        assert told or kind is Type.EVENT_LOST, "nobody listens"
        for each in told:
            each.send(HEADER.pack(VERSION, kind, 0, 0, 0) + body)

    def lose_events(self) -> None:
        with self.changed:
            told = [each for each, mask in self._connections.items() if mask]
        for each in told:
            each.send(HEADER.pack(VERSION, Type.EVENT_LOST, 0, 0, 0))

    def expire(self, added: Added, hard: bool) -> None:
        if hard:
            with self.changed:
                self.sas.pop(added.name, None)
        self.tell(Type.EVENT_EXPIRE, added.name + struct.pack("=IB3x", added.reqid, hard))

    def descriptors(self, family: int, port: int = 4500) -> list[int]:
        return self.transports.get((1, port, family), [])

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self.changed:
                if self._ended:
                    connection.close()
                    return
                self._connections[connection] = 0
                self.changed.notify_all()
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while True:
                try:
                    data, ancillary, _, _ = connection.recvmsg(MESSAGE_MAX, socket.CMSG_SPACE(64 * 4))
                except OSError:
                    break
                if not data:
                    break
                descriptors = array.array("i")
                for _, _, rights in ancillary:
                    descriptors.frombytes(rights[: len(rights) - len(rights) % descriptors.itemsize])
                version, kind, number, _, _ = HEADER.unpack_from(data)
                assert version == VERSION
                assert number
                with self.changed:
                    answers = self._answers(connection, Type(kind), data[HEADER.size :], list(descriptors))
                    self.requests.append((Type(kind), data[HEADER.size :]))
                    self.changed.notify_all()
                if self.unanswered(Type(kind), data[HEADER.size :]):
                    if self.breaks:
                        break
                    continue
                with suppress(OSError):
                    for at, (answer, body) in enumerate(answers):
                        more = MORE if at + 1 < len(answers) else 0
                        connection.send(HEADER.pack(VERSION, answer, number, more, 0) + body)
            with self.changed:
                del self._connections[connection]
                self.changed.notify_all()

    def _answers(
        self, connection: socket.socket, kind: Type, body: bytes, descriptors: list[int]
    ) -> list[tuple[Type, bytes]]:
        if kind in self.silent or kind in self.refuse:
            for each in descriptors:
                os.close(each)
        if kind in self.silent:
            return []
        if kind in self.refuse:
            code, text = self.refuse[kind]
            return [_error(code, text)]
        try:
            return [(Type.ANSWER, each) for each in self._done(connection, kind, body, descriptors)]
        except OSError as error:
            return [_error(error.errno or errno.EIO, error.strerror or "")]

    def _done(  # noqa: C901
        self, connection: socket.socket, kind: Type, body: bytes, descriptors: list[int]
    ) -> list[bytes]:
        match kind:
            case Type.HELLO:
                names = (b"none".ljust(32, b"\0"), b"fake".ljust(32, b"\0"))
                return [struct.pack("=QII32s32s", self.instance, os.getpid(), self.threads, *names)]
            case Type.SUBSCRIBE:
                self._connections[connection] = struct.unpack("=I", body)[0]
            case Type.RESERVE_SPI:
                least, most, _, _ = struct.unpack("=4I", body)
                spi = next(self._spis)
                assert least <= spi <= most
                return [struct.pack("=4I", least, most, spi, 0)]
            case Type.ADD_SA:
                added = _added(body)
                if added.window and not added.inbound:
                    raise OSError(errno.EINVAL, "a window is of inbound ones")
                if added.name in self.sas:
                    raise FileExistsError(errno.EEXIST, "there is such an SA")
                self.sas[added.name] = added
                self.all_added.append(added)
            case Type.DELETE_SA:
                if self.sas.pop(body, None) is None:
                    raise FileNotFoundError(errno.ENOENT, "no such SA")
            case Type.GET_SA:
                if body not in self.sas:
                    raise FileNotFoundError(errno.ENOENT, "no such SA")
                return [self._state(self.sas[body])]
            case Type.LIST_SAS | Type.LIST_BETWEEN:
                found = [each for each in self.sas.values() if not body or _is_between(each.name, body)]
                states = [self._state(each) for each in reversed(found)]
                parts = range(0, max(1, len(states)), _STATES_AT_ONCE)
                return [b"".join(states[at : at + _STATES_AT_ONCE]) for at in parts]
            case Type.FLUSH_SAS:
                self.sas.clear()
            case Type.SET_MAPPING:
                if body[:40] not in self.sas:
                    raise FileNotFoundError(errno.ENOENT, "no such SA")
            case Type.ADD_TRANSPORT:
                transport, port, family, _ = struct.unpack("=4H", body)
                if len(descriptors) > self.threads:
                    for each in descriptors:
                        os.close(each)
                    raise OSError(errno.EINVAL, "more sockets than threads")
                self._let_go((transport, port, family))
                self.transports[transport, port, family] = descriptors
            case _:
                raise OSError(errno.EINVAL, "not asked by charon")
        return [b""]

    def _let_go(self, key: tuple[int, int, int]) -> None:
        for descriptor in self.transports.pop(key, []):
            os.close(descriptor)

    def _state(self, added: Added) -> bytes:
        packets, size, idle = self.counts.get(added.name, (0, 0, 0))
        state = added.name + struct.pack(
            "=IIIHHBB6x",
            added.reqid,
            added.flags,
            added.window,
            *added.ports,
            added.algorithm,
            added.name in self.soft,
        )
        state += struct.pack("=7Q8Q", *added.limits, packets, size, packets, 0, 0, 0, 100, idle)
        assert len(state) == 184
        return state


def _is_between(name: bytes, ends: bytes) -> bool:
    source, destination, spi, family, direction, _ = _NAME.unpack(ends)
    assert (spi, direction) == (0, 0)
    sent, came, _, of, _, _ = _NAME.unpack(name)
    return family == of and source in (bytes(16), sent) and destination in (bytes(16), came)


def _error(code: int, text: str) -> tuple[Type, bytes]:
    return Type.ERROR, struct.pack("=iI120s", code, 0, text.encode())
