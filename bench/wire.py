"""Counts what passes a wire while traffic is measured, at next to no cost.

The kernel does the counting, in two packet sockets whose filters divide the frames: ESP, whose number is all
that is wanted, and everything else, of which there should be next to nothing, and which is kept to be seen.
A capture that looks at every frame in Python would take the processor away from what it watches.
"""

from __future__ import annotations

import array
import socket
import struct
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from wsasec.lab import Namespace, parse

__all__ = ["Passed", "Wire"]

_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_SO_ATTACH_FILTER: Final = 26
_HEAD: Final = 192
_ROOM: Final = 4 << 20
_QUIET: Final = 0.02
_SETTLE: Final = 2.0

# struct sock_filter: code, where to go if true and if false, operand.
_LOAD_HALF, _LOAD_BYTE, _IF_EQUAL, _RETURN = 0x28, 0x30, 0x15, 0x06
_ETHER_TYPE, _IPV4_PROTOCOL, _IPV6_NEXT, _ESP = 12, 23, 20, 50


def _division(if_esp: int, if_not: int) -> bytes:
    """Write a filter program that takes so many bytes of an ESP frame, and so many of any other."""
    steps = (
        (_LOAD_HALF, 0, 0, _ETHER_TYPE),
        (_IF_EQUAL, 0, 2, 0x0800),
        (_LOAD_BYTE, 0, 0, _IPV4_PROTOCOL),
        (_IF_EQUAL, 3, 4, _ESP),
        (_IF_EQUAL, 0, 3, 0x86DD),
        (_LOAD_BYTE, 0, 0, _IPV6_NEXT),
        (_IF_EQUAL, 0, 1, _ESP),
        (_RETURN, 0, 0, if_esp),
        (_RETURN, 0, 0, if_not),
    )
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


@dataclass(slots=True)
class Passed:
    """What passed the wire, both ways.

    Attributes:
        esp: ESP packets.
        clear: packets that were neither ESP, nor IKE, nor neighbours' housekeeping.
        neighbour: ARP, neighbour discovery and the like, and IKE.
        dropped: frames other than ESP that were counted, but could not be looked at.
        clear_by_state: `clear` by what they were: "SYN", "DATA", "RST", ...
    """

    esp: int = 0
    clear: int = 0
    neighbour: int = 0
    dropped: int = 0
    clear_by_state: Counter[str] = field(default_factory=Counter)


class Wire:
    """Counts the frames on a namespace's device while its `with` block runs; final after the block."""

    def __init__(self, namespace: Namespace) -> None:
        self.passed = Passed()
        self._namespace = namespace
        self._exit = ExitStack()

    def __enter__(self) -> Wire:
        with ExitStack() as stack:
            # One frame fills the first: the kernel counts the rest without keeping them.
            self._esp = stack.enter_context(self._open(_division(1, 0), 0))
            self._rest = stack.enter_context(self._open(_division(0, _HEAD), _ROOM))
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._exit:
            self._settle()

    def _open(self, program: bytes, room: int) -> socket.socket:
        sock = self._namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            steps = array.array("Q", program)
            address, length = steps.buffer_info()
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", length, address))
            # Bound last: no frame comes in before the filter is there.
            sock.bind((self._namespace.device, _ETH_P_ALL))
        except BaseException:
            sock.close()
            raise
        return sock

    def _settle(self) -> None:
        """Count until nothing more comes: what was sent last may still be on its way through the kernel."""
        deadline = time.monotonic() + _SETTLE
        while self._collect() and time.monotonic() < deadline:
            time.sleep(_QUIET)

    def _collect(self) -> int:
        """Take what has come since the last time; return how many frames it was."""
        passed = self.passed
        esp, _ = self._statistics(self._esp)
        rest, dropped = self._statistics(self._rest)
        passed.esp += esp
        passed.dropped += dropped
        while True:
            try:
                self._look(self._rest.recv(_HEAD))
            except BlockingIOError:
                return esp + rest

    @staticmethod
    def _statistics(sock: socket.socket) -> tuple[int, int]:
        """Return frames, and how many of them were not kept; the kernel starts anew when asked."""
        frames, dropped = struct.unpack("=II", sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        return frames, dropped

    def _look(self, frame: bytes) -> None:
        kind = parse(frame)
        if kind.group == "esp":
            self.passed.esp += 1
        elif kind.group == "clear":
            self.passed.clear += 1
            self.passed.clear_by_state[kind.state] += 1
        else:
            self.passed.neighbour += 1
