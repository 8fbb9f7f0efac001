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
from collections.abc import Sequence
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
_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE, _LOAD_LENGTH = 0x20, 0x28, 0x30, 0x80
_IF_EQUAL, _IF_NOT_LESS, _IF_SET, _RETURN = 0x15, 0x35, 0x45, 0x06
_ETHER_TYPE: Final = 12
_IPV4: Final = 14
_IPV6: Final = 14
_ESP, _UDP = 50, 17
_PLAIN_IPV4_HEADER: Final = 0x45
_FRAGMENT_OFFSET: Final = 0x1FFF
_PORTS: Final = 4500 << 16 | 4500  # RFC 3948
_NEXT, _TAKEN, _LEFT = "next", "taken", "left"

_Step = tuple[int, int, str, str]
"""An instruction: code, operand, and where to go if it is so, and if not: the next one, or to an end."""


def _encapsulated(ports: int, spis: Sequence[int]) -> list[_Step]:
    """Take datagrams between the two ports, which begin at an offset, with one of the SPIs (RFC 3948 2.1)."""
    if not spis:
        return [(_IF_EQUAL, _UDP, _LEFT, _LEFT)]
    return [
        (_IF_EQUAL, _UDP, _NEXT, _LEFT),
        # To load what is not there would end the program, and neither filter would have the frame.
        (_LOAD_LENGTH, 0, _NEXT, _NEXT),
        (_IF_NOT_LESS, ports + 12, _NEXT, _LEFT),
        (_LOAD_WORD, ports, _NEXT, _NEXT),
        (_IF_EQUAL, _PORTS, _NEXT, _LEFT),
        (_LOAD_WORD, ports + 8, _NEXT, _NEXT),
        *((_IF_EQUAL, spi, _TAKEN, _NEXT) for spi in spis[:-1]),
        (_IF_EQUAL, spis[-1], _TAKEN, _LEFT),
    ]


def _ipv4(spis: Sequence[int]) -> list[_Step]:
    whole = [
        # Ports and SPI are where they are looked for, and it is not the rest of another datagram.
        (_LOAD_BYTE, _IPV4, _NEXT, _NEXT),
        (_IF_EQUAL, _PLAIN_IPV4_HEADER, _NEXT, _LEFT),
        (_LOAD_HALF, _IPV4 + 6, _NEXT, _NEXT),
        (_IF_SET, _FRAGMENT_OFFSET, _LEFT, _NEXT),
        (_LOAD_BYTE, _IPV4 + 9, _NEXT, _NEXT),
    ]
    return [
        (_LOAD_BYTE, _IPV4 + 9, _NEXT, _NEXT),
        (_IF_EQUAL, _ESP, _TAKEN, _NEXT),
        *(whole if spis else []),
        *_encapsulated(_IPV4 + 20, spis),
    ]


def _ipv6(spis: Sequence[int]) -> list[_Step]:
    return [
        (_LOAD_BYTE, _IPV6 + 6, _NEXT, _NEXT),
        (_IF_EQUAL, _ESP, _TAKEN, _NEXT),
        *_encapsulated(_IPV6 + 40, spis),
    ]


def _division(if_esp: int, if_not: int, spis: Sequence[int] = ()) -> bytes:
    """Write a filter program that takes so many bytes of an ESP frame, and so many of any other.

    Args:
        if_esp: bytes.
        if_not: bytes.
        spis: ESP in UDP is ESP, too, between the ports 4500, with one of these SPIs; none: it is not.
    """
    four, six = _ipv4(spis), _ipv6(spis)
    steps: list[tuple[int, int, str | int, str]] = [
        (_LOAD_HALF, _ETHER_TYPE, _NEXT, _NEXT),
        (_IF_EQUAL, 0x0800, _NEXT, _NEXT),
        *four,
        (_IF_EQUAL, 0x86DD, _NEXT, _LEFT),
        *six,
    ]
    # From the second step on past all that is for IPv4; its own steps all end somewhere.
    steps[1] = (_IF_EQUAL, 0x0800, 0, str(len(four)))
    taken, left = len(steps), len(steps) + 1

    def distance(at: int, where: str | int) -> int:
        places = {_NEXT: at + 1, _TAKEN: taken, _LEFT: left}
        return places[where] - at - 1 if where in places else int(where)

    program = [
        struct.pack(
            "=HBBI",
            code,
            *(
                (distance(at, yes), distance(at, no))
                if code in (_IF_EQUAL, _IF_NOT_LESS, _IF_SET)
                else (0, 0)
            ),
            operand,
        )
        for at, (code, operand, yes, no) in enumerate(steps)
    ]
    program += [struct.pack("=HBBI", _RETURN, 0, 0, size) for size in (if_esp, if_not)]
    return b"".join(program)


@dataclass(slots=True)
class Passed:
    """What passed the wire, both ways.

    Attributes:
        esp: frames of ESP, each of which may be several packets that the kernel keeps together (GSO).
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

    def __init__(self, namespace: Namespace, spis: Sequence[int] = ()) -> None:
        """Describe it.

        Args:
            namespace: whose device is watched.
            spis: of ESP in UDP; none: a datagram is in clear.
        """
        self.passed = Passed()
        self._spis = tuple(spis)
        self._namespace = namespace
        self._exit = ExitStack()

    def __enter__(self) -> Wire:
        with ExitStack() as stack:
            # One frame fills the first: the kernel counts the rest without keeping them.
            self._esp = stack.enter_context(self._open(_division(1, 0, self._spis), 0))
            self._rest = stack.enter_context(self._open(_division(0, _HEAD, self._spis), _ROOM))
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
