"""The effective calls through ctypes, as they are first written: structures filled in for every socket.

Attributes of the library are looked up at each call, types are not declared.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from typing import Final

from ..calls import Calls

__all__ = ["bind_naive"]

_ESP: Final = 50
_FOREVER: Final = 2**64 - 1
_ANY_ALGORITHM: Final = 2**32 - 1


class _Selector(ctypes.Structure):
    _fields_ = [
        ("daddr", ctypes.c_uint32 * 4),
        ("saddr", ctypes.c_uint32 * 4),
        ("dport", ctypes.c_uint16),
        ("dport_mask", ctypes.c_uint16),
        ("sport", ctypes.c_uint16),
        ("sport_mask", ctypes.c_uint16),
        ("family", ctypes.c_uint16),
        ("prefixlen_d", ctypes.c_uint8),
        ("prefixlen_s", ctypes.c_uint8),
        ("proto", ctypes.c_uint8),
        ("ifindex", ctypes.c_int),
        ("user", ctypes.c_uint32),
    ]


class _Policy(ctypes.Structure):
    _fields_ = [
        ("sel", _Selector),
        ("soft_byte_limit", ctypes.c_uint64),
        ("hard_byte_limit", ctypes.c_uint64),
        ("soft_packet_limit", ctypes.c_uint64),
        ("hard_packet_limit", ctypes.c_uint64),
        ("times", ctypes.c_uint64 * 4),
        ("current", ctypes.c_uint64 * 4),
        ("priority", ctypes.c_uint32),
        ("index", ctypes.c_uint32),
        ("dir", ctypes.c_uint8),
        ("action", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("share", ctypes.c_uint8),
    ]


class _Template(ctypes.Structure):
    _fields_ = [
        ("daddr", ctypes.c_uint32 * 4),
        ("spi", ctypes.c_uint32),
        ("proto", ctypes.c_uint8),
        ("padding", ctypes.c_uint8 * 3),  # struct xfrm_id, which the three are, ends here
        ("family", ctypes.c_uint16),
        ("saddr", ctypes.c_uint32 * 4),
        ("reqid", ctypes.c_uint32),
        ("mode", ctypes.c_uint8),
        ("share", ctypes.c_uint8),
        ("optional", ctypes.c_uint8),
        ("aalgos", ctypes.c_uint32),
        ("ealgos", ctypes.c_uint32),
        ("calgos", ctypes.c_uint32),
    ]


class _Whole(ctypes.Structure):
    _fields_ = [("policy", _Policy), ("template", _Template)]


def bind_naive(calls: Calls) -> Callable[[socket.socket], None]:
    """Return a function that makes the calls that change a socket."""
    libc = ctypes.CDLL("libc.so.6", use_errno=True)
    reqid = _Whole.from_buffer_copy(calls.out).template.reqid
    mark_value = int.from_bytes(calls.mark, "little")

    def set_option(
        sock: socket.socket, level: int, name: int, value: ctypes.Structure | ctypes.c_uint
    ) -> None:
        if libc.setsockopt(sock.fileno(), level, name, ctypes.byref(value), ctypes.sizeof(value)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def make_policy(direction: int) -> _Whole:
        whole = _Whole()
        policy, template = whole.policy, whole.template
        policy.sel.family = calls.family
        policy.soft_byte_limit = policy.hard_byte_limit = _FOREVER
        policy.soft_packet_limit = policy.hard_packet_limit = _FOREVER
        policy.dir = direction
        template.proto = _ESP
        template.family = calls.family
        template.reqid = reqid
        template.aalgos = template.ealgos = template.calgos = _ANY_ALGORITHM
        return whole

    def secure(sock: socket.socket) -> None:
        if calls.v6only is not None:
            set_option(sock, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, ctypes.c_uint(1))
        set_option(sock, calls.level, calls.policy, make_policy(1))
        set_option(sock, calls.level, calls.policy, make_policy(0))
        set_option(sock, socket.SOL_SOCKET, socket.SO_MARK, ctypes.c_uint(mark_value))

    return secure
