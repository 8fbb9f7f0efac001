"""What the kernel tells of changes, over netlink: that there were some, not which."""

from __future__ import annotations

import errno
import socket
from typing import Final

__all__ = ["NETFILTER_GROUPS", "NETLINK_NETFILTER", "NETLINK_ROUTE", "ROUTE_GROUPS", "Notifications"]

NETLINK_ROUTE: Final = 0
NETLINK_NETFILTER: Final = 12

_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_BYTES: Final = 1 << 16
_QUEUE_BYTES: Final = 1 << 18

ROUTE_GROUPS: Final = (1, 5, 7, 8, 9, 11, 12, 19, 24, 25)
"""RTNLGRP_: LINK; addresses, routes and rules of IPv4; of IPv6; rules of IPv6; NETCONF of both."""

NETFILTER_GROUPS: Final = (7,)
"""NFNLGRP_NFTABLES."""


class Notifications:
    """Tells of changes in one network namespace: that of the thread that makes this.

    For select.poll by its fileno: readable when something changed since `drain`.
    """

    def __init__(self, protocol: int, groups: tuple[int, ...]) -> None:
        """Listen from now on. OSError: the kernel does not have the protocol, or a group."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
            self._socket.bind((0, 0))
            for group in groups:
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Notifications:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def fileno(self) -> int:
        """Return its descriptor; -1 if closed."""
        return self._socket.fileno()

    def drain(self) -> bool:
        """Take what was told. Returns whether there was anything; what was too much for the queue counts."""
        told = False
        while True:
            try:
                self._socket.recv(_BYTES)
            except BlockingIOError:
                return told
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
            told = True
