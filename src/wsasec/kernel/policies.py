"""The system's IPsec policies, as far as it matters whose packets they are for, and in which associations."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .netlink import NetlinkSocket, attributes, messages
from .xfrm import NETLINK_XFRM

__all__ = ["Policy", "marks_in_use", "parse_policies", "policies"]

_MSG_NEWPOLICY: Final = 0x13
_MSG_GETPOLICY: Final = 0x15
_ATTR_TMPL: Final = 5
_ATTR_MARK: Final = 21

# struct xfrm_userpolicy_info: selector; lft; curlft; priority, index; dir, action, flags, share.
_INFO: Final = struct.Struct("=56x 64x 32x 2I B3x 4x")
assert _INFO.size == 168  # noqa: S101
# struct xfrm_user_tmpl: id; family; saddr; reqid; mode, share, optional; aalgos, ealgos, calgos.
_TMPL: Final = struct.Struct("=24x H2x 16x I 4x 12x")
assert _TMPL.size == 64  # noqa: S101

_MARK: Final = struct.Struct("=II")

# Directions from here on are those of sockets, which are no system's policies.
_PER_SOCKET: Final = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of the system.

    Attributes:
        reqids: those of its templates; () for one that lets pass or blocks.
        direction: 0 for packets that come in, 1 for those that go out, 2 for those that pass through.
        priority: the kernel takes the lowest; 0 is the guard's.
        mark: of packets that it is for, and which of its bits count; None for one for all.
    """

    reqids: tuple[int, ...]
    direction: int
    priority: int
    mark: tuple[int, int] | None = None


def _reqids(value: memoryview) -> Iterator[int]:
    for at in range(0, len(value) - _TMPL.size + 1, _TMPL.size):
        _, reqid = _TMPL.unpack_from(value, at)
        yield reqid


def _entry(kind: int, payload: memoryview) -> Policy | None:
    if kind != _MSG_NEWPOLICY or len(payload) < _INFO.size:
        return None
    priority, _, direction = _INFO.unpack_from(payload)
    if direction >= _PER_SOCKET:
        return None
    reqids: tuple[int, ...] = ()
    mark = None
    for attribute, value in attributes(payload[_INFO.size :]):
        if attribute == _ATTR_TMPL:
            reqids = tuple(_reqids(value))
        elif attribute == _ATTR_MARK and len(value) >= _MARK.size:
            number, mask = _MARK.unpack_from(value)
            mark = number, mask
    return Policy(reqids, direction, priority, mark)


def parse_policies(data: bytes) -> list[Policy]:
    """Read policies; what is cut off, of another kind or a socket's is left out."""
    found = (_entry(kind, payload) for kind, _, payload in messages(memoryview(data)))
    return [policy for policy in found if policy is not None]


def policies() -> list[Policy]:
    """Return those of the calling thread's network namespace. Raises OSError."""
    netlink = NetlinkSocket(NETLINK_XFRM)
    try:
        return netlink.listing(_MSG_GETPOLICY, "listing the policies", _entry)
    finally:
        netlink.close()


def marks_in_use() -> set[tuple[int, int]]:
    """Return mark and mask of guards, and of whoever else has some; see policies()."""
    return {policy.mark for policy in policies() if policy.mark is not None}
