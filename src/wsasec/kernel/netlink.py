"""Netlink: requests to the kernel's network configuration and their answers."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

__all__ = ["CREATE", "HEADER", "REPLACE", "Message", "NetlinkSocket", "attribute", "attributes", "messages"]

HEADER: Final = struct.Struct("=IHHII")
_ATTR: Final = struct.Struct("=HH")
_ATTR_TYPE_MASK: Final = 0x3FFF

_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_NETLINK_GET_STRICT_CHK: Final = 12

_NLM_F_REQUEST: Final = 0x1
_NLM_F_ACK: Final = 0x4
_NLM_F_DUMP_INTR: Final = 0x10
_NLM_F_DUMP: Final = 0x300
_NLM_F_CAPPED: Final = 0x100
_NLM_F_ACK_TLVS: Final = 0x200
CREATE: Final = 0x400 | 0x200
"""Flags of a request for something that must not exist yet."""
REPLACE: Final = 0x400 | 0x100
"""Flags of a request for something that takes the place of what is like it, if there is any."""

_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLMSGERR_ATTR_MSG: Final = 1

_DEADLINE: Final = 10.0
_LISTING_TRIES: Final = 20
_LISTING_BYTES: Final = 1 << 16  # the kernel fills at most half of it at a time

T = TypeVar("T")


class Message(bytearray):
    """A request. Its repr hides it: it may hold a key, and tracebacks print arguments."""

    def __init__(self, body: bytes = b"") -> None:
        super().__init__(HEADER.size)
        self += body

    def __repr__(self) -> str:
        return f"<netlink message of {len(self)} bytes>"

    __str__ = __repr__

    def attribute(self, kind: int, *parts: bytes | memoryview) -> None:
        """Append an attribute of the joined parts."""
        size = _ATTR.size + sum(len(part) for part in parts)
        self += _ATTR.pack(size, kind)
        for part in parts:
            self += part
        self += bytes(-size % 4)

    def wipe(self) -> None:
        """Overwrite it."""
        self[:] = bytes(len(self))


def attribute(kind: int, data: bytes) -> bytes:
    """Return an attribute, for nesting in others."""
    return _ATTR.pack(_ATTR.size + len(data), kind) + data + bytes(-len(data) % 4)


def attributes(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the attributes (type, value) that are whole; stop at the first that is not."""
    while len(data) >= _ATTR.size:
        size, kind = _ATTR.unpack_from(data)
        if not _ATTR.size <= size <= len(data):
            return
        yield kind & _ATTR_TYPE_MASK, data[_ATTR.size : size]
        data = data[size + (-size % 4) :]


def messages(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield (type, flags, payload) of the messages that are whole; stop at the first that is not."""
    while len(data) >= HEADER.size:
        size, kind, flags, _, _ = HEADER.unpack_from(data)
        if not HEADER.size <= size <= len(data):
            return
        yield kind, flags, data[HEADER.size : size]
        data = data[size + (-size % 4) :]


def _complaint(payload: memoryview, flags: int) -> str:
    """Return the kernel's own sentence about a refused request, or an empty string."""
    start = 4 + HEADER.size
    if not flags & _NLM_F_ACK_TLVS:
        return ""
    if not flags & _NLM_F_CAPPED and len(payload) >= start:
        start += max(0, HEADER.unpack_from(payload, 4)[0] - HEADER.size)
    for kind, value in attributes(payload[start:]):
        if kind == _NLMSGERR_ATTR_MSG:
            return bytes(value).rstrip(b"\0").decode("ascii", "replace")
    return ""


class NetlinkSocket:
    """A netlink socket in the network namespace of the thread that makes it."""

    def __init__(self, protocol: int) -> None:
        """Open it. Raises OSError if the kernel does not have the protocol."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.settimeout(_DEADLINE)
        # An acknowledgement repeats the whole request, with its key, unless it is capped.
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._sequence = 0

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def choose(self) -> None:
        """Have listings hold only what their question chooses (since Linux 4.20; before, OSError)."""
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)

    def _send(self, message: Message, kind: int, flags: int) -> None:
        self._sequence += 1
        HEADER.pack_into(message, 0, len(message), kind, flags | _NLM_F_REQUEST, self._sequence, 0)
        self._socket.send(message)

    def _receive(self, buffer: bytearray) -> memoryview:
        """Take an answer to what was sent last; those to what was given up are thrown away."""
        while True:
            data = memoryview(buffer)[: self._socket.recv_into(buffer)]
            if len(data) < HEADER.size or HEADER.unpack_from(data)[3] == self._sequence:
                return data
            data[:] = bytes(len(data))

    def request(self, message: Message, kind: int, flags: int, what: str) -> None:
        """Send a request and take its acknowledgement; OSError names `what`, never the request."""
        self._send(message, kind, flags | _NLM_F_ACK)
        for answer, answer_flags, payload in messages(self._receive(bytearray(_LISTING_BYTES))):
            if answer != _NLMSG_ERROR or len(payload) < 4:
                continue
            code = -struct.unpack_from("=i", payload)[0]
            if code:
                text = _complaint(payload, answer_flags)
                raise OSError(code, f"{what}: {os.strerror(code)}" + (f" ({text})" if text else ""))
            return
        raise OSError(errno.EBADMSG, f"{what}: the kernel's answer cannot be read")

    def ask(self, message: Message, kind: int, what: str) -> list[tuple[int, bytes]]:
        """Send a question; return (type, payload) of what the kernel answers. Raises OSError."""
        self._send(message, kind, 0)
        found = []
        for answer, _, payload in messages(self._receive(bytearray(_LISTING_BYTES))):
            if answer == _NLMSG_ERROR:
                self._refused(payload, what)
            found.append((answer, bytes(payload)))
        return found

    def listing(
        self, kind: int, what: str, take: Callable[[int, memoryview], T | None], body: bytes = b""
    ) -> list[T]:
        """Ask for a table.

        Args:
            kind: of the question.
            what: is done, for errors.
            take: makes an entry of a message's type and payload, or None. What it is given is overwritten
                after: listings of SAs have keys.
            body: of the question: attributes by which the kernel chooses.

        Raises:
            OSError: the kernel refused, or the table changed during each of many listings (EBUSY).
        """
        buffer = bytearray(_LISTING_BYTES)
        for _ in range(_LISTING_TRIES):
            found, whole = self._list(kind, what, take, body, buffer)
            if whole:
                return found
        raise OSError(errno.EBUSY, f"{what}: the table changed during each of {_LISTING_TRIES} listings")

    def _list(
        self,
        kind: int,
        what: str,
        take: Callable[[int, memoryview], T | None],
        body: bytes,
        buffer: bytearray,
    ) -> tuple[list[T], bool]:
        """List once; False beside the entries if the table changed meanwhile."""
        self._send(Message(body), kind, _NLM_F_DUMP)
        found: list[T] = []
        whole = True
        while True:
            data = self._receive(buffer)
            try:
                for answer, flags, payload in messages(data):
                    whole = whole and not flags & _NLM_F_DUMP_INTR
                    if answer == _NLMSG_DONE:
                        return found, whole
                    if answer == _NLMSG_ERROR:
                        self._refused(payload, what)
                    if (entry := take(answer, payload)) is not None:
                        found.append(entry)
            finally:
                data[:] = bytes(len(data))

    @staticmethod
    def _refused(payload: memoryview, what: str) -> None:
        if len(payload) >= 4 and (code := -struct.unpack_from("=i", payload)[0]):
            raise OSError(code, f"{what}: {os.strerror(code)}")
