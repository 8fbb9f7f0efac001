"""What the kernel's sock_diag knows of sockets.

Of TCP connections: whether one is there, and its end by force. Of a device: whether a socket is bound to it.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Final

from .netlink import Message, NetlinkSocket

__all__ = ["TcpConnection", "TcpTable", "is_bound_to"]

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_SOCK_DESTROY: Final = 21
_IPPROTO_TCP: Final = 6
_IPPROTO_UDP: Final = 17
_ANY_STATE: Final = 0xFFFFFFFF
_NO_COOKIE: Final = 2**64 - 1  # the kernel takes it for "whatever is there"

# struct inet_diag_req_v2: family, protocol, ext, pad, states; ports, addresses, device, cookie.
_REQUEST: Final = struct.Struct("=BBBxI 4s 16s16s I II")
assert _REQUEST.size == 56  # noqa: S101
# The device of struct inet_diag_msg: behind family, state, timer, retransmissions; ports and addresses.
_DEVICE: Final = struct.Struct("=40xI")
_PORTS: Final = struct.Struct("!HH")
_STATE: Final = 1  # its place in struct inet_diag_msg

_TIME_WAIT: Final = 6
_CLOSED: Final = 7
_LISTENING: Final = 10


@dataclass(frozen=True, slots=True)
class TcpConnection:
    """A connection, and the socket that has it.

    Attributes:
        cookie: the kernel's number of the socket, never used again.
        family: of the socket: AF_INET or AF_INET6.
        own: this host's address, as many bytes as the family's have; IPv4-mapped ones as they are.
        own_port: this host's port.
        peer: the peer's address likewise.
        peer_port: the peer's port.
        device: index of the device that the socket is bound to; 0 for any.
    """

    cookie: int
    family: int
    own: bytes
    own_port: int
    peer: bytes
    peer_port: int
    device: int


def _request(connection: TcpConnection, cookie: int) -> Message:
    return Message(
        _REQUEST.pack(
            *(connection.family, _IPPROTO_TCP, 0, _ANY_STATE),
            _PORTS.pack(connection.own_port, connection.peer_port),
            *(connection.own, connection.peer, connection.device),
            *(cookie & 0xFFFFFFFF, cookie >> 32),
        )
    )


class TcpTable:
    """The TCP connections of one network namespace: that of the thread that makes this. For any thread."""

    def __init__(self) -> None:
        """Open it. That the kernel has no sock_diag is no failure here: then nothing is found."""
        self._lock = threading.Lock()
        try:
            self._netlink: NetlinkSocket | None = NetlinkSocket(_NETLINK_SOCK_DIAG)
        except OSError:
            self._netlink = None

    def close(self) -> None:
        """Close it; twice is fine."""
        with self._lock:
            if self._netlink is not None:
                self._netlink.close()
                self._netlink = None

    def has(self, connection: TcpConnection) -> bool:
        """Whether the connection is still there; one that only waits for late segments is not. OSError."""
        with self._lock:
            if self._netlink is None:
                return False
            message = _request(connection, connection.cookie)
            try:
                found = self._netlink.ask(message, _SOCK_DIAG_BY_FAMILY, "looking for a connection")
            except FileNotFoundError:
                return False
        return any(
            kind == _SOCK_DIAG_BY_FAMILY
            and len(payload) > _STATE
            and payload[_STATE] not in (_TIME_WAIT, _CLOSED, _LISTENING)
            for kind, payload in found
        )

    def can_destroy(self, connection: TcpConnection) -> bool:
        """Whether the connection is there, and destroy() would find and end it. Raises OSError.

        It is tried, with a cookie that the socket does not have: it would have to be found to be told apart.
        """
        if not self.has(connection):
            return False
        try:
            self._destroy(connection, _another(connection.cookie))
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return False
            raise
        return False  # something was destroyed that is nobody's: not a kernel to rely on

    def destroy(self, connection: TcpConnection) -> bool:
        """Abort the connection: the program has ECONNABORTED at its next call, and the peer gets a reset.

        Returns:
            False if the connection was gone already.

        Raises:
            OSError: the kernel cannot do it (EOPNOTSUPP), or refuses.
        """
        try:
            self._destroy(connection, connection.cookie)
        except FileNotFoundError:
            return False
        return True

    def _destroy(self, connection: TcpConnection, cookie: int) -> None:
        with self._lock:
            if self._netlink is None:
                raise OSError(errno.EOPNOTSUPP, "no sock_diag")
            self._netlink.request(_request(connection, cookie), _SOCK_DESTROY, 0, "aborting a connection")


def _device(kind: int, payload: memoryview) -> int | None:
    if kind != _SOCK_DIAG_BY_FAMILY or len(payload) < _DEVICE.size:
        return None
    return int(_DEVICE.unpack_from(payload)[0])


def is_bound_to(device: int) -> bool:
    """Whether a TCP or UDP socket of this thread's network namespace is bound to a device, by its index.

    Connections that have no socket any more, but wait for segments, count. Raw sockets do not.

    Raises:
        OSError: the kernel does not tell, as it has no sock_diag (CONFIG_INET_DIAG, CONFIG_INET_UDP_DIAG).
    """
    netlink = NetlinkSocket(_NETLINK_SOCK_DIAG)
    try:
        for protocol in (_IPPROTO_TCP, _IPPROTO_UDP):
            for family in (socket.AF_INET, socket.AF_INET6):
                request = _REQUEST.pack(
                    *(family, protocol, 0, _ANY_STATE, bytes(4), bytes(16), bytes(16), 0, 0, 0)
                )
                found = netlink.listing(_SOCK_DIAG_BY_FAMILY, "listing sockets", _device, request)
                if device in found:
                    return True
    finally:
        netlink.close()
    return False


def _another(cookie: int) -> int:
    return next(each for each in (cookie ^ 1, cookie ^ 2) if each != _NO_COOKIE)
