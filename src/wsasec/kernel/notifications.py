"""What the kernel tells of changes, over netlink: that there were some, and whether they can wait."""

from __future__ import annotations

import enum
import errno
import socket
from collections.abc import Callable
from typing import Final

from .netlink import messages

__all__ = [
    "NETFILTER_GROUPS",
    "NETLINK_NETFILTER",
    "NETLINK_ROUTE",
    "ROUTE_GROUPS",
    "Change",
    "Notifications",
]

NETLINK_ROUTE: Final = 0
NETLINK_NETFILTER: Final = 12

_SO_RCVBUFFORCE: Final = 33
_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_BYTES: Final = 1 << 16
_QUEUE_BYTES: Final = 1 << 22  # thousands of routes at once

ROUTE_GROUPS: Final = (1, 5, 7, 8, 9, 11, 12, 19, 24, 25)
"""RTNLGRP_: LINK; addresses, routes and rules of IPv4; of IPv6; rules of IPv6; NETCONF of both."""

NETFILTER_GROUPS: Final = (7,)
"""NFNLGRP_NFTABLES."""


class Change(enum.IntEnum):
    """What was told; the larger one counts."""

    NONE = 0
    MINOR = 1
    MAJOR = 2


class Notifications:
    """Tells of changes in one network namespace: that of the thread that makes this.

    For select.poll by its fileno: readable when something changed since `drain`.
    """

    def __init__(
        self,
        protocol: int,
        groups: tuple[int, ...],
        minor: Callable[[int, memoryview], bool] = lambda _kind, _payload: False,
    ) -> None:
        """Listen from now on.

        Args:
            protocol: of netlink.
            groups: of the protocol.
            minor: whether a change can wait, by the type of its message and what that holds.

        Raises:
            OSError: the kernel does not have the protocol, or a group.
        """
        self._minor = minor
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
        try:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE_BYTES)
            except PermissionError:
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

    def drain(self) -> Change:
        """Take what was told. What was too much for the queue is a major change."""
        told = Change.NONE
        while True:
            try:
                data = self._socket.recv(_BYTES)
            except BlockingIOError:
                return told
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                told = Change.MAJOR
                continue
            if told is not Change.MAJOR:
                each = messages(memoryview(data))
                told = (
                    Change.MINOR if all(self._minor(kind, what) for kind, _, what in each) else Change.MAJOR
                )
