"""Programs that own names: a process, as long as it lives."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Program"]


@dataclass(frozen=True, slots=True)
class Program:
    """A process; another with the same pid is another program.

    Attributes:
        pid: as the daemon sees it.
        pidfd: descriptor that stands for it, and for no other of the programs that are known at a time;
        whoever
            opened it closes it, after Negotiator.program_ended().
    """

    pid: int
    pidfd: int
