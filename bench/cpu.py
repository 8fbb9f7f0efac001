"""What processors did while something was measured: for the processes that carry it, and in all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

__all__ = ["Meter", "machine_ticks", "process_ticks", "stolen_part"]

_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Of /proc/PID/stat, counted from what follows the name: utime and stime (proc(5)).
_USER, _SYSTEM = 11, 12
# Of the first line of /proc/stat: user, nice, system, irq, softirq. Not idle, iowait and steal.
_BUSY: Final = (0, 1, 2, 5, 6)
# What the host of a virtual machine gave to others while its processors had work.
_STOLEN: Final = 7


def process_ticks(text: str) -> int:
    """Return the ticks of a process, of all its threads, by the text of its /proc/PID/stat."""
    fields = text.rpartition(")")[2].split()
    return int(fields[_USER]) + int(fields[_SYSTEM])


def _machine(text: str) -> list[int]:
    return [int(ticks) for ticks in text.splitlines()[0].split()[1:]]


def machine_ticks(text: str) -> int:
    """Return the ticks in which processors were busy, by the text of /proc/stat."""
    fields = _machine(text)
    return sum(fields[place] for place in _BUSY)


def stolen_part(before: str, after: str) -> float | None:
    """Return what part of the time in which there was work was the host's, by two texts of /proc/stat."""
    stolen = _machine(after)[_STOLEN] - _machine(before)[_STOLEN]
    busy = machine_ticks(after) - machine_ticks(before)
    return stolen / (stolen + busy) if stolen + busy else None


class Meter:
    """Counts processor time during its `with` block.

    Attributes:
        seconds: by the clock.
        processes: seconds of processor time of the processes.
        machine: seconds in which any processor was busy, with whatever.
    """

    seconds: float
    processes: float
    machine: float

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = tuple(dict.fromkeys(pids))

    def __enter__(self) -> Meter:
        self._before = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        after = self._read()
        processes, machine, self.seconds = (
            end - start for start, end in zip(self._before, after, strict=True)
        )
        self.processes, self.machine = processes / _TICKS, machine / _TICKS

    def _read(self) -> tuple[float, float, float]:
        own = sum(process_ticks(Path(f"/proc/{pid}/stat").read_text()) for pid in self._pids)
        return float(own), float(machine_ticks(Path("/proc/stat").read_text())), time.perf_counter()

    def per_gigabyte(self, size: int, seconds: float) -> dict[str, Any]:
        """Return processor seconds for 10**9 bytes, given how many bytes passed in so many seconds.

        Those need not be those of the block: what is carried in a second is taken to be the same in both.
        """
        rate = size / seconds / 1e9
        return {
            "cpu_per_gb": self.processes / self.seconds / rate if rate else None,
            "machine_cpu_per_gb": self.machine / self.seconds / rate if rate else None,
        }
