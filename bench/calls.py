"""What the core asks of the kernel for one socket, as data for the methods that are compared with it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

import wsasec

__all__ = [
    "IP_XFRM_POLICY",
    "SOCKETS_A_LOOK",
    "SO_COOKIE",
    "SO_NETNS_COOKIE",
    "Calls",
    "open_watch",
    "prepare",
]

IP_XFRM_POLICY: Final = 17
SO_COOKIE: Final = 57
SO_NETNS_COOKIE: Final = 71
SOCKETS_A_LOOK: Final = 256
"""In a batch the core looks for changes of the guard once for so many sockets."""

_NETLINK_XFRM: Final = 6
_GROUPS: Final = 1 << (4 - 1) | 1 << (3 - 1)  # XFRMNLGRP_POLICY and XFRMNLGRP_SA


@dataclass(frozen=True, slots=True)
class Calls:
    """The values of the socket options of a fresh AF_INET stream socket, in the order in which they are set.

    Attributes:
        off: for SO_REUSEPORT.
        out: for IP_XFRM_POLICY, outbound.
        in_: for IP_XFRM_POLICY, inbound.
        mark: for SO_MARK.
    """

    off: bytes
    out: bytes
    in_: bytes
    mark: bytes


def prepare() -> Calls:
    """Ask the core for the values; this puts the guard up in this network namespace.

    Raises:
        wsasec.SecurityError: sockets cannot be secured here.
        RuntimeError: the core makes other calls than this module knows.
    """
    options = wsasec.socket_options(family=socket.AF_INET)
    kinds = [(level, name) for level, name, _ in options]
    expected = [
        (socket.SOL_SOCKET, socket.SO_REUSEPORT),
        (socket.IPPROTO_IP, IP_XFRM_POLICY),
        (socket.IPPROTO_IP, IP_XFRM_POLICY),
        (socket.SOL_SOCKET, socket.SO_MARK),
    ]
    if kinds != expected:
        raise RuntimeError(f"the core sets the options {kinds}; the benchmark knows {expected}")
    return Calls(*(value for _, _, value in options))


def open_watch() -> socket.socket:
    """Open what the core listens on for changes of policies and SAs: a peek at it is part of its checks.

    After prepare(), whose own changes would be heard.
    """
    watch = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_XFRM)
    try:
        watch.bind((0, _GROUPS))
    except BaseException:
        watch.close()
        raise
    return watch
