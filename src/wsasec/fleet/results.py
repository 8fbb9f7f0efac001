"""What a fleet did: the results of its workers, and of those that failed."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._wsasec import Histogram

__all__ = ["FleetError", "FleetResult", "WorkerFailure", "WorkerResult"]


@dataclass(frozen=True)
class WorkerResult:
    """What one worker did.

    Attributes:
        index: of the worker, from 0.
        pid: of its process.
        sockets: how many were made there.
        started: seconds from the common start to its own.
        seconds: how long it took.
        value: what the work returned.

    """

    index: int
    pid: int
    sockets: int
    started: float
    seconds: float
    value: Any

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, for JSON; the value as its own method of this name has it, if it has one."""
        convert = getattr(self.value, "to_dict", None)
        return {
            "index": self.index,
            "pid": self.pid,
            "sockets": self.sockets,
            "started": self.started,
            "seconds": self.seconds,
            "value": self.value if convert is None else convert(),
        }


@dataclass(frozen=True)
class WorkerFailure:
    """Why one worker has no result.

    Attributes:
        index: of the worker, from 0.
        pid: of its process.
        reason: in words.
        exit_code: of its process; negative if a signal ended it; None if it lives.
        traceback: of the exception in the worker; empty if there was none.
        exception: the exception itself; None where there was none, or where it cannot be pickled.

    """

    index: int
    pid: int
    reason: str
    exit_code: int | None = None
    traceback: str = ""
    exception: BaseException | None = None

    @property
    def signal(self) -> signal.Signals | None:
        """The signal that ended the worker, or None."""
        return signal.Signals(-self.exit_code) if self.exit_code is not None and self.exit_code < 0 else None

    def to_dict(self) -> dict[str, Any]:
        """Return all but the exception, for JSON."""
        return {
            "index": self.index,
            "pid": self.pid,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "traceback": self.traceback,
        }

    def __str__(self) -> str:
        return f"worker {self.index} (process {self.pid}): {self.reason}"


@dataclass(frozen=True)
class FleetResult:
    """What the workers did between one common start and the end of the slowest.

    Attributes:
        rows: the workers that have a result, in order.
        failures: the others.
        sockets: how many those with a result have, together.
        seconds: from the common start to the end of the slowest that has a result.

    """

    rows: tuple[WorkerResult, ...]
    failures: tuple[WorkerFailure, ...]
    sockets: int
    seconds: float

    @property
    def values(self) -> list[Any]:
        """What the work returned, by worker."""
        return [row.value for row in self.rows]

    @property
    def histograms(self) -> dict[str, Histogram]:
        """The histograms in the values, those of all workers added, each by its name.

        The name is that of the dataclass's field or the mapping's key, with dots where they are nested; it is
        empty where the value itself is a histogram.
        """
        sums: dict[str, Histogram] = {}
        for value in self.values:
            for name, histogram in _histograms(value):
                total = sums.setdefault(name, Histogram())
                total += histogram
        return sums

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, for JSON."""
        return {
            "sockets": self.sockets,
            "seconds": self.seconds,
            "workers": [row.to_dict() for row in self.rows],
            "failures": [failure.to_dict() for failure in self.failures],
            "histograms": {name: histogram.to_dict() for name, histogram in self.histograms.items()},
        }


def _histograms(value: Any, name: str = "") -> Iterator[tuple[str, Histogram]]:
    if isinstance(value, Histogram):
        yield name, value
        return
    members: Mapping[Any, Any] = {}
    if isinstance(value, Mapping):
        members = value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    for key, member in members.items():
        yield from _histograms(member, f"{name}.{key}" if name else str(key))


class FleetError(RuntimeError):
    """Workers failed.

    Attributes:
        failures: of the workers, in order; the first one's exception, if there is one, is the cause of this.
        result: what the others did; None if the sockets could not be made.

    """

    def __init__(
        self, failures: Sequence[WorkerFailure], workers: int, result: FleetResult | None = None
    ) -> None:
        self.failures = tuple(failures)
        self.result = result
        lines = [f"{len(failures)} of {workers} workers failed", *map(str, failures)]
        first = next((failure.traceback for failure in failures if failure.traceback), "")
        if first:
            lines += ["the first traceback:", first.rstrip()]
        super().__init__("\n".join(lines))
        self._workers = workers

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.failures, self._workers, self.result)
