"""A process that measures in a lab: how it gets its privileges, and where it leaves its results."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, Final

from wsasec.lab import LabError, enter_private_namespaces, missing_privileges

from .baselines.control import EndedError
from .events import emit
from .plans import RESULT_NAME

__all__ = ["FAILURES", "measured"]

FAILURES: Final = (EndedError, LabError, OSError, SubprocessError)
"""Of a measurement in a lab."""


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
