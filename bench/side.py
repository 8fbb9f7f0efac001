"""A process that measures in a lab: how it gets its privileges, and where it leaves its results."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, Final

from wsasec.lab import LabError, enter_private_namespaces, missing_privileges

from .baselines.control import EndedError
from .events import emit
from .plans import RESULT_NAME
from .proof import LeakError

__all__ = ["FAILURES", "Progress", "measured"]

FAILURES: Final = (EndedError, LabError, OSError, SubprocessError)
"""Of a measurement in a lab."""


class Progress:
    """Takes samples as they come, and tells the parent how far it is."""

    def __init__(self, total: int, found: dict[str, Any]) -> None:
        """Begin.

        Args:
            total: samples to come.
            found: gets what goes wrong, as "errors" and "leaks".
        """
        self._total = total
        self._found = found
        self._done = 0

    def take(self, name: str, samples: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return samples, but those of a warm-up; up to a failure, which is noted under the name."""
        taken: list[dict[str, Any]] = []
        try:
            for sample in samples:
                self._step(sample)
                if not sample.pop("warm_up", False):
                    taken.append(sample)
        except LeakError as error:
            self._found["leaks"].append(f"{name}: {error}")
        except FAILURES as error:  # what others have measured is kept
            self._found["errors"][name] = str(error)
        return taken

    def _step(self, sample: dict[str, Any]) -> None:
        self._done += 1
        count = sample.get("streams") or sample.get("connections") or sample.get("sockets") or "datagrams"
        text = f"{count} x {sample['kind']}"
        emit("step", done=min(self._done, self._total), total=self._total, text=text)


def measured(measure: Callable[[], dict[str, Any]]) -> int:
    """Measure; leave the results in the folder WSASEC_LAB_RESULTS, or on standard output.

    Returns:
        The process's exit code.
    """
    try:
        if missing_privileges():
            enter_private_namespaces()
        data = measure()
    except FAILURES as error:
        sys.stderr.write(f"wsasec bench: {error}\n")
        return 1
    folder = os.environ.get("WSASEC_LAB_RESULTS")
    if folder:
        Path(folder, RESULT_NAME).write_text(json.dumps(data))
    else:
        emit("result", data=data)
    return 0
