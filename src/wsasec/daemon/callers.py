"""Who is at the other end of a connection."""

from __future__ import annotations

import array
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ..keys.programs import Program, has_ended, started

__all__ = ["Caller", "caller_of", "open_program"]

_SO_PEERGROUPS: Final = 59
_SO_PEERPIDFD: Final = 77  # Linux 6.5
_UCRED: Final = struct.Struct("=iII")
_MOST_BYTES: Final = 1024  # that getsockopt() of Python takes: 256 groups


@dataclass(frozen=True, slots=True)
class Caller:
    """A program, as the kernel saw it when it connected.

    Attributes:
        pid: its process; 0 if it is of another process namespace.
        uid: its user.
        gids: its groups, the first one too.
    """

    pid: int
    uid: int
    gids: frozenset[int]


def caller_of(connection: socket.socket) -> Caller:
    """Ask the kernel. Raises OSError."""
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    groups = array.array("I")
    # Of more groups than that only the first counts: less is allowed, not more.
    with suppress(OSError):
        groups.frombytes(connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES))
    return Caller(pid, uid, frozenset((gid, *groups)))


def open_program(connection: socket.socket, caller: Caller) -> Program:
    """Open what tells that the program has ended: its pidfd, which the caller closes.

    Raises:
        OSError: it has ended, or is of another process namespace.
    """
    try:
        pidfd = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
        os.set_inheritable(pidfd, False)
    except OSError:
        # An older kernel: another process may have the number by now, and then its end is waited for.
        pidfd = os.pidfd_open(caller.pid)
    program = Program(caller.pid, pidfd, started(caller.pid))
    # Only of one that lives is it certain that the start is its own.
    if has_ended(program):
        os.close(pidfd)
        raise ProcessLookupError(3, "it has ended")
    return program
