"""The fwpuclnt.dll that is loaded here: Windows' own, or the tests' double of it, which only copies bytes."""

from __future__ import annotations

import ctypes
import sys
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["Library", "load"]

_FROM_SYSTEM32: Final = 0x800  # LOAD_LIBRARY_SEARCH_SYSTEM32
_DOUBLE_VERSION: Final = 2


class Library:
    """The library, and whether it is the double."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.double = bool(
            hasattr(library, "WsasecDoubleVersion") and library.WsasecDoubleVersion() == _DOUBLE_VERSION
        )

    @contextmanager
    def bare(self) -> Iterator[None]:
        """Have the double only count its calls, and copy their bytes, within the block."""
        if self.double:
            self.library.WsasecDoubleBare(1)
        try:
            yield
        finally:
            if self.double:
                self.library.WsasecDoubleBare(0)

    @property
    def count(self) -> int:
        """How many calls the double had since bare()."""
        return int(self.library.WsasecDoubleCount())

    def loop(self, numbers: array[int], settings: bytes) -> Callable[[], None]:
        """Return a function that has the double called for each socket, from C; OSError if a call fails."""
        sockets = (ctypes.c_int * len(numbers)).from_buffer(numbers)
        call, count, size = self.library.WsasecDoubleLoop, len(numbers), len(settings)

        def run() -> None:
            if failed := call(sockets, count, settings, size):
                raise OSError(f"{failed} calls failed")

        return run


def load() -> Library:
    """Load it as wsasec does: from the system's folder.

    Raises:
        OSError: there is none.
    """
    if sys.platform != "win32":
        raise OSError("fwpuclnt.dll is a library of Windows")
    return Library(ctypes.WinDLL("fwpuclnt.dll", winmode=_FROM_SYSTEM32, use_last_error=True))
