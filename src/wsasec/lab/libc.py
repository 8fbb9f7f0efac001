"""The system calls that Python 3.11's os module lacks."""

from __future__ import annotations

import ctypes
import os
from typing import Final

__all__ = ["CLONE_NEWNET", "CLONE_NEWUSER", "MS_BIND", "mount", "setns", "unshare"]

MS_BIND: Final = 0x1000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.unshare.argtypes = [ctypes.c_int]
_libc.setns.argtypes = [ctypes.c_int, ctypes.c_int]
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def _check(code: int, name: str) -> None:
    if code != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Give the calling thread (for CLONE_NEWUSER: the process) namespaces of its own; OSError if refused."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Move the calling thread into the namespace `fd` of the kind CLONE_NEW...; OSError if refused."""
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount a file system of a kind at the path `target`; OSError if refused."""
    words = [os.fsencode(word) for word in (source, target, kind)]
    _check(_libc.mount(*words, flags, os.fsencode(options)), f"mount {target}")
