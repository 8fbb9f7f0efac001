"""What the core asks of the kernel for one socket, as data for the methods that are compared with it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import wsasec

__all__ = [
    "FAMILIES",
    "IPV6_XFRM_POLICY",
    "IP_XFRM_POLICY",
    "SOCKETS_A_LOOK",
    "SO_COOKIE",
    "SO_NETNS_COOKIE",
    "TYPES",
    "Calls",
    "Option",
    "open_watch",
    "prepare",
]

IP_XFRM_POLICY: Final = 17
IPV6_XFRM_POLICY: Final = 35
SO_COOKIE: Final = 57
SO_NETNS_COOKIE: Final = 71
SOCKETS_A_LOOK: Final = 256
"""In a batch the core looks for changes of the guard once for so many sockets."""

FAMILIES: Final = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
TYPES: Final = {"stream": socket.SOCK_STREAM, "dgram": socket.SOCK_DGRAM}

_NETLINK_XFRM: Final = 6
_GROUPS: Final = 1 << (4 - 1) | 1 << (3 - 1)  # XFRMNLGRP_POLICY and XFRMNLGRP_SA
_OFF: Final = bytes(4)

Option = tuple[int, int, bytes]
"""A socket option: level, name, value."""


@dataclass(frozen=True, slots=True)
class Calls:
    """The values of the socket options of a fresh socket, in the order in which they are set.

    Attributes:
        family: AF_INET or AF_INET6.
        type: SOCK_STREAM or SOCK_DGRAM.
        reuse_address: for SO_REUSEADDR; None for stream sockets.
        reuse_port: for SO_REUSEPORT.
        v6only: for IPV6_V6ONLY; None for AF_INET.
        level: IPPROTO_IP or IPPROTO_IPV6, of the two policies.
        policy: IP_XFRM_POLICY or IPV6_XFRM_POLICY.
        out: the outbound policy.
        in_: the inbound policy.
        mark: for SO_MARK.
    """

    family: int
    type: int
    reuse_address: bytes | None
    reuse_port: bytes
    v6only: bytes | None
    level: int
    policy: int
    out: bytes
    in_: bytes
    mark: bytes

    @property
    def effective(self) -> tuple[Option, ...]:
        """What changes a fresh socket: the two policies, the mark, and IPV6_V6ONLY where it applies."""
        return tuple(self._effective())

    @property
    def all(self) -> tuple[Option, ...]:
        """What is set on a socket that somebody else made."""
        exclusive = [(socket.SOL_SOCKET, socket.SO_REUSEPORT, self.reuse_port)]
        if self.reuse_address is not None:
            exclusive.insert(0, (socket.SOL_SOCKET, socket.SO_REUSEADDR, self.reuse_address))
        return (*exclusive, *self._effective())

    def _effective(self) -> Iterator[Option]:
        if self.v6only is not None:
            yield socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, self.v6only
        yield self.level, self.policy, self.out
        yield self.level, self.policy, self.in_
        yield socket.SOL_SOCKET, socket.SO_MARK, self.mark


def prepare(family: str = "inet", kind: str = "stream") -> Calls:
    """Ask the core for the values; this puts the guard up in this network namespace.

    Args:
        family: a key of FAMILIES.
        kind: a key of TYPES.

    Raises:
        wsasec.SecurityError: sockets cannot be secured here.
        RuntimeError: the core makes other calls than this module knows.
    """
    inet6 = family == "inet6"
    level = int(socket.IPPROTO_IPV6 if inet6 else socket.IPPROTO_IP)
    policy = IPV6_XFRM_POLICY if inet6 else IP_XFRM_POLICY
    options = wsasec.socket_options(family=FAMILIES[family])
    kinds = [(known, name) for known, name, _ in options]
    v6only = [(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)] if inet6 else []
    expected = [
        (socket.SOL_SOCKET, socket.SO_REUSEPORT),
        *v6only,
        (level, policy),
        (level, policy),
        (socket.SOL_SOCKET, socket.SO_MARK),
    ]
    if kinds != expected:
        raise RuntimeError(f"the core sets the options {kinds}; the benchmark knows {expected}")
    reuse_port, *middle, out, in_, mark = (value for _, _, value in options)
    return Calls(
        family=int(FAMILIES[family]),
        type=int(TYPES[kind]),
        reuse_address=_OFF if kind == "dgram" else None,
        reuse_port=reuse_port,
        v6only=middle[0] if middle else None,
        level=level,
        policy=policy,
        out=out,
        in_=in_,
        mark=mark,
    )


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
