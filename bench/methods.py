"""The ways to secure sockets that are compared.

Each gets the same: fresh socket objects, and their descriptors as an array. Those that take one socket at a
time start from the object, as a program does; those that take many from the array.
"""

from __future__ import annotations

import socket
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import wsasec

from .baselines import _floor
from .baselines.expert import bind_checked, bind_effective
from .calls import IP_XFRM_POLICY, SOCKETS_A_LOOK, Calls

__all__ = ["BASES", "METHODS", "Method", "Runner"]

Runner = Callable[[Sequence[socket.socket], "array[int]"], None]


@dataclass(frozen=True, slots=True)
class Method:
    """A way to secure sockets.

    Attributes:
        key: its name in the results.
        title: its name in tables.
        checks: whether it makes all system calls of the core, or only the three that change the socket.
        make: given the option values and the descriptor of calls.open_watch(), returns what is timed.
    """

    key: str
    title: str
    checks: bool
    make: Callable[[Calls, int], Runner]


def _one_by_one(secure: Callable[[socket.socket], object]) -> Runner:
    def run(sockets: Sequence[socket.socket], _numbers: array[int]) -> None:
        for sock in sockets:
            secure(sock)

    return run


def _floor_whole(calls: Calls, watch: int) -> Runner:
    off, out, in_, mark = calls.off, calls.out, calls.in_, calls.mark
    return lambda _sockets, numbers: _floor.secure(numbers, watch, SOCKETS_A_LOOK, off, out, in_, mark)


def _floor_effective(calls: Calls, _watch: int) -> Runner:
    return lambda _sockets, numbers: _floor.effective(numbers, calls.out, calls.in_, calls.mark)


def _secure_many(_calls: Calls, _watch: int) -> Runner:
    return lambda _sockets, numbers: wsasec.secure_many(numbers)


def _setsockopt(calls: Calls, _watch: int) -> Runner:
    out, in_, mark = calls.out, calls.in_, calls.mark
    ip, policy, sol, so_mark = socket.IPPROTO_IP, IP_XFRM_POLICY, socket.SOL_SOCKET, socket.SO_MARK

    def secure(sock: socket.socket) -> None:
        setsockopt = sock.setsockopt
        setsockopt(ip, policy, out)
        setsockopt(ip, policy, in_)
        setsockopt(sol, so_mark, mark)

    return _one_by_one(secure)


METHODS: Final = (
    Method("floor", "C loop", True, _floor_whole),
    Method("secure_many", "secure_many", True, _secure_many),
    Method("secure", "secure, one by one", True, lambda _calls, _watch: _one_by_one(wsasec.secure)),
    Method(
        "ctypes_checked",
        "ctypes",
        True,
        lambda calls, watch: _one_by_one(bind_checked(calls, watch)),
    ),
    Method(
        "ctypes_untyped",
        "ctypes, no argtypes",
        True,
        lambda calls, watch: _one_by_one(bind_checked(calls, watch, typed=False)),
    ),
    Method("floor_effective", "C loop", False, _floor_effective),
    Method("ctypes", "ctypes", False, lambda calls, _watch: _one_by_one(bind_effective(calls))),
    Method("setsockopt", "socket.setsockopt", False, _setsockopt),
)

BASES: Final = ("ctypes_checked", "floor")
"""What the others are compared with."""
