"""What the daemon may do as root: as little as it can."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from typing import Final

__all__ = ["KEPT", "NEEDED", "drop", "effective"]

NEEDED: Final = {
    "CAP_NET_ADMIN": 12,  # policies of sockets, the guard, SAs; charon's, too
    "CAP_NET_BIND_SERVICE": 10,  # charon's: UDP 500
    # All that follows is for starting charon, which may have to be done again at any time:
    "CAP_SYS_ADMIN": 21,  # its mount namespace
    "CAP_SETUID": 7,  # it runs as another user
    "CAP_SETGID": 6,
    "CAP_SETPCAP": 8,  # and has only the first two
    "CAP_CHOWN": 0,  # its folder is that user's
    "CAP_FOWNER": 3,
    "CAP_DAC_OVERRIDE": 1,  # and what root reads and writes there
    "CAP_KILL": 5,  # its end
}

KEPT: Final = NEEDED | {
    "CAP_SYS_NICE": 23,  # for an engine's threads that sleep for packets, to be of real time
}

_VERSION_3: Final = 0x20080522
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_LAST: Final = Path("/proc/sys/kernel/cap_last_cap")

_libc = ctypes.CDLL(None, use_errno=True)


def _check(code: int, what: str) -> None:
    if code:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def effective() -> int:
    """Return the calling thread's effective capabilities, a bit each."""
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def drop() -> None:
    """Give up all but KEPT, for this thread and those it starts, and for all programs they start. OSError."""
    kept = sum(1 << number for number in KEPT.values()) & effective()
    for number in range(int(_LAST.read_text()) + 1):
        if not kept >> number & 1:
            _check(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "dropping a capability")
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "dropping capabilities")
    low, high = kept & 0xFFFFFFFF, kept >> 32
    sets = struct.pack("=6I", low, low, 0, high, high, 0)
    _check(_libc.capset(struct.pack("=Ii", _VERSION_3, 0), sets), "dropping capabilities")
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
