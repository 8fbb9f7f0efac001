"""Marks that the kernel's IPsec policies are for: those of guards, and of whoever else has some."""

from __future__ import annotations

import struct
from typing import Final

from .netlink import NetlinkSocket, attributes
from .xfrm import NETLINK_XFRM

__all__ = ["marks_in_use"]

_MSG_NEWPOLICY: Final = 0x13
_MSG_GETPOLICY: Final = 0x15
_ATTR_MARK: Final = 21
_USERPOLICY_BYTES: Final = 168
_USERPOLICY_ID_BYTES: Final = 64
_MARK: Final = struct.Struct("=II")


def _mark(kind: int, payload: memoryview) -> tuple[int, int] | None:
    if kind == _MSG_NEWPOLICY:
        for attribute, value in attributes(payload[_USERPOLICY_BYTES:]):
            if attribute == _ATTR_MARK and len(value) >= _MARK.size:
                mark, mask = _MARK.unpack_from(value)
                return mark, mask
    return None


def marks_in_use() -> set[tuple[int, int]]:
    """Return (mark, mask) of the policies in the calling thread's network namespace. Raises OSError."""
    netlink = NetlinkSocket(NETLINK_XFRM)
    try:
        return set(
            netlink.listing(_MSG_GETPOLICY, "listing the policies", _mark, bytes(_USERPOLICY_ID_BYTES))
        )
    finally:
        netlink.close()
