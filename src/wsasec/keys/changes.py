"""What the kernel tells of its SAs: that one was made, renewed, removed, or has expired."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..kernel.netlink import attributes, messages
from ..kernel.xfrm import NETLINK_XFRM
from .associations import Address

__all__ = ["Changes", "changed"]

_GROUPS: Final = 1 << (2 - 1) | 1 << (3 - 1)  # XFRMNLGRP_EXPIRE, XFRMNLGRP_SA
_MSG_NEWSA: Final = 0x10
_MSG_DELSA: Final = 0x11
_MSG_EXPIRE: Final = 0x18
_MSG_UPDSA: Final = 0x1A
_MSG_FLUSHSA: Final = 0x1C
_ATTR_SA: Final = 6

_USERSA_ID: Final = 24  # bytes of struct xfrm_usersa_id
# Of struct xfrm_usersa_info: the destination, the source, the family.
_ENDS: Final = struct.Struct("=56x16s8x16s116xH")
assert _ENDS.size == 214  # noqa: S101

_RECEIVE_BUFFER: Final = 1 << 20
_SO_RCVBUFFORCE: Final = 33


def _ends(data: memoryview) -> set[Address]:
    if len(data) < _ENDS.size:
        return set()
    destination, source, family = _ENDS.unpack_from(data)
    if family == socket.AF_INET:
        return {IPv4Address(destination[:4]), IPv4Address(source[:4])}
    return {IPv6Address(destination), IPv6Address(source)}


def changed(data: memoryview) -> set[Address] | None:
    """Return the addresses between which SAs have changed, without scopes; None: it may be any."""
    found: set[Address] = set()
    for kind, _, payload in messages(data):
        ends: set[Address] = set()
        if kind in (_MSG_NEWSA, _MSG_UPDSA, _MSG_EXPIRE):
            ends = _ends(payload)
        elif kind == _MSG_DELSA:
            for which, value in attributes(payload[_USERSA_ID:]):
                if which == _ATTR_SA:
                    ends = _ends(value)
        elif kind != _MSG_FLUSHSA:
            continue
        if not ends:
            return None
        found |= ends
    return found


class Changes:
    """A socket that hears of them, in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        """Listen. Raises OSError: no privilege, or the kernel has no XFRM."""
        self._buffer = bytearray(1 << 16)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_XFRM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
            self._socket.bind((0, _GROUPS))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor: it is readable when there is something to read()."""
        return self._socket.fileno()

    def read(self) -> set[Address] | None:
        """Return the addresses between which SAs have changed; None: it may be any. It does not wait.

        Raises:
            OSError: the socket is broken.
        """
        try:
            length, sender = self._socket.recvfrom_into(self._buffer)
        except BlockingIOError:
            return set()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return None  # more came than were read, and some were dropped
        try:
            return changed(memoryview(self._buffer)[:length]) if sender[0] == 0 else set()
        finally:
            self._buffer[:length] = bytes(length)  # new SAs come with their keys

    def close(self) -> None:
        """Close it."""
        self._socket.close()
