"""The sockets that carry ESP: UDP 4500 (RFC 3948), or the protocol 50 of IP (RFC 4303).

They are opened here, with the privilege that takes, and handed to the engine, which has none. They have no
mark and no binding, so what they send takes the routes of the host.
"""

from __future__ import annotations

import array
import errno
import socket
import struct
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Final

from .messages import TransportKind
from .routes import families

__all__ = ["PORT", "Transport", "raw", "udp", "unbound"]

PORT: Final = 4500

# Bytes of a socket's queues: what many connections send that begin together is to fit.
_RECEIVED: Final = 32 << 20
_TO_SEND: Final = 8 << 20

_ESP: Final = 50
_SO_RCVBUFFORCE: Final = 33
_SO_SNDBUFFORCE: Final = 32
_SO_ATTACH_FILTER: Final = 26
_SO_ATTACH_REUSEPORT_CBPF: Final = 51
_SOL_UDP: Final = 17
_UDP_GRO: Final = 104
_IP_PKTINFO: Final = 8
_IP_RECVTOS: Final = 13
_IPV6_RECVPKTINFO: Final = 49
_IPV6_RECVTCLASS: Final = 66

# Classic BPF (linux/filter.h): load a word at a place, or at X and a place; the header length of IPv4 to X.
_LOAD: Final = 0x20
_LOAD_X: Final = 0x40
_LENGTH_TO_X: Final = 0xB1
_MODULO: Final = 0x94
_IF_EQUAL: Final = 0x15
_RETURN: Final = 0x06
_RETURN_A: Final = 0x16
_WHOLE: Final = 0x40000

_Instruction = tuple[int, int, int, int]


class Transport:
    """Sockets of one kind and family, as many as the engine has threads that receive.

    Attributes:
        kind: UDP or RAW.
        family: AF_INET or AF_INET6.
        port: the local port; 0 where there is none.
        sockets: this object's own, for the engine.
    """

    def __init__(self, kind: TransportKind, family: int, port: int, sockets: Sequence[socket.socket]) -> None:
        """Take sockets, which `close` closes."""
        self.kind = kind
        self.family = family
        self.port = port
        self.sockets = list(sockets)

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Transport {self.kind.name} {self.family} port {self.port}, {len(self.sockets)} sockets>"

    def close(self) -> None:
        """Close the sockets. An engine that has them keeps them."""
        sockets, self.sockets = self.sockets, []
        for sock in sockets:
            sock.close()


def udp(family: int, count: int = 1, *, port: int = PORT, address: str = "") -> Transport:
    """Open UDP sockets in the network namespace of this thread.

    Each association's packets come to the same one of them, so they stay in order.

    Args:
        family: AF_INET or AF_INET6.
        count: how many; the engine's threads of one direction.
        port: the local one; also where the peers send to.
        address: the local one; "" for all.

    Raises:
        OSError: the port is taken (EADDRINUSE), or the kernel refused.
    """
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            sockets.append(sock)
            if count > 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            _prepare(sock)
            sock.setsockopt(_SOL_UDP, _UDP_GRO, 1)
            _bind(sock, address, port)
            port = sock.getsockname()[1]
        if count > 1:
            # Of the group: by the SPI, the first word of what the datagram holds.
            _attach(sockets[0], _SO_ATTACH_REUSEPORT_CBPF, _by_spi(count))
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return Transport(TransportKind.UDP, family, port, sockets)


def raw(family: int, count: int = 1, *, address: str = "") -> Transport:
    """Open sockets of IP's protocol 50 in the network namespace of this thread; see `udp`.

    Raises:
        OSError: CAP_NET_RAW is missing, or the kernel refused.
    """
    sockets: list[socket.socket] = []
    try:
        for index in range(count):
            sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _ESP)
            sockets.append(sock)
            if count > 1:
                # The kernel gives a copy to each: one takes it.
                _attach(sock, _SO_ATTACH_FILTER, _takes(family, count, index))
            _prepare(sock)
            _bind(sock, address, 0)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return Transport(TransportKind.RAW, family, 0, sockets)


def unbound(count: int) -> list[socket.socket]:
    """Open UDP sockets with long queues in the network namespace of this thread, for who may not give them.

    Args:
        count: how many of each family, where the kernel has IPv6.

    Returns:
        The sockets, blocking; the caller's.

    Raises:
        OSError: the kernel refused.
    """
    with ExitStack() as undo:
        sockets = [
            undo.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            for family in families()
            for _ in range(count)
        ]
        for sock in sockets:
            _lengthen(sock)
        undo.pop_all()
    return sockets


def _prepare(sock: socket.socket) -> None:
    """Set what both kinds have: who sent to which address, with which ECN; long queues."""
    if sock.family == socket.AF_INET6:
        if sock.type == socket.SOCK_DGRAM:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVTCLASS, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTOS, 1)
    _lengthen(sock)


def _lengthen(sock: socket.socket) -> None:
    # Without CAP_NET_ADMIN the engine gets what the system's limits allow.
    with suppress(PermissionError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVED)
        sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _TO_SEND)


def _bind(sock: socket.socket, address: str, port: int) -> None:
    try:
        sock.bind((address, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            text = f"UDP port {port} is taken by another program, maybe an IKE daemon"
            raise OSError(error.errno, text) from error
        raise


def _by_spi(count: int) -> list[_Instruction]:
    return [(_LOAD, 0, 0, 0), (_MODULO, 0, 0, count), (_RETURN_A, 0, 0, 0)]


def _takes(family: int, count: int, index: int) -> list[_Instruction]:
    """Take what has an SPI that leaves `index`. A raw socket of IPv4 gets the header of IP, too."""
    load = [(_LENGTH_TO_X, 0, 0, 0), (_LOAD_X, 0, 0, 0)] if family == socket.AF_INET else [(_LOAD, 0, 0, 0)]
    return [
        *load,
        (_MODULO, 0, 0, count),
        (_IF_EQUAL, 0, 1, index),
        (_RETURN, 0, 0, _WHOLE),
        (_RETURN, 0, 0, 0),
    ]


def _attach(sock: socket.socket, option: int, program: Sequence[_Instruction]) -> None:
    # struct sock_filter: code, jump if true, jump if false, k; struct sock_fprog: how many, where.
    code = array.array("Q", b"".join(struct.pack("=HBBI", *each) for each in program))
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("HP", len(program), code.buffer_info()[0]))
