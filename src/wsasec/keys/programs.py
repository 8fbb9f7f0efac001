"""Programs that own names: a process, as long as it lives."""

from __future__ import annotations

import errno
import os
import select
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Program", "has_ended", "reopen", "started"]

_STARTED: Final = 19
"""Place of the start among the fields of /proc/PID/stat that follow the command's name."""


_NO_PROCESS: Final = (errno.ESRCH, errno.EINVAL, errno.ENOENT)
"""The number is nobody's, or by now that of a thread."""


@dataclass(frozen=True, slots=True)
class Program:
    """A process; another with the same pid is another program.

    Attributes:
        pid: as the daemon sees it.
        pidfd: descriptor that stands for it, and for no other of the programs that are known at a time;
        whoever
            opened it closes it, after Negotiator.program_ended().
        started: as started() returns it.
    """

    pid: int
    pidfd: int
    started: int = 0


def started(pid: int) -> int:
    """Return when a process was started, in clock ticks since the system was; 0 if that cannot be read."""
    with suppress(OSError):
        # The command's name may have anything in it.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[_STARTED])
    return 0


def has_ended(program: Program) -> bool:
    """Tell whether a program has ended."""
    poll = select.poll()
    poll.register(program.pidfd, select.POLLIN)
    return bool(poll.poll(0))


def reopen(pid: int, since: int) -> Program | None:
    """Open a program that another process knew; None if it has ended.

    Args:
        pid: its process.
        since: what started() returned for it. Where that cannot be read, whoever has the number now is taken
            for it.

    Raises:
        OSError: no descriptor is left, or the kernel does not tell.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in _NO_PROCESS:
            return None
        raise
    program = Program(pid, pidfd, since)
    # With the descriptor open nobody else gets the number, unless it has ended.
    now = started(pid)
    if has_ended(program) or (since and now and since != now):
        os.close(pidfd)
        return None
    return program
