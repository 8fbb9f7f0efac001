"""Descriptors that came with a message: each is closed once, whatever happens."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

__all__ = ["ANCILLARY_BYTES", "Received", "received"]

_MOST: Final = 253  # that the kernel passes beside one datagram
ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_MOST * 4)


class Received:
    """Descriptors of this process that a program sent.

    Attributes:
        numbers: the descriptors, C ints; empty after close().
    """

    def __init__(self, numbers: array.array[int]) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __enter__(self) -> Received:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close them. Twice is fine."""
        numbers, self.numbers = self.numbers, array.array("i")
        for number in numbers:
            with suppress(OSError):
                os.close(number)


def received(ancillary: Iterable[tuple[int, int, bytes]]) -> Received:
    """Take the descriptors out of what recvmsg() returned."""
    numbers = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return Received(numbers)
