"""What a report is, on all systems."""

from __future__ import annotations

import platform
import sys
import sysconfig
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from .. import _wsasec

__all__ = ["Build", "Report", "Row", "State", "find_build", "python_row"]

_SCHEMA: Final = 1


class State(StrEnum):
    """How a row stands."""

    OK = "ok"
    WARN = "warn"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report.

    Attributes:
        id: its name, the same in all versions.
        state: how it stands.
        detail: a sentence.
        command: what gets the thing that is missing, or None.
    """

    id: str
    state: State
    detail: str
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All rows, whether sockets can be secured here, and that in a sentence."""

    wsasec: str
    ready: bool
    rows: tuple[Row, ...]
    summary: str

    def as_json(self) -> dict[str, Any]:
        """Return what `wsasec doctor --json` prints; see `wsasec.doctor` for its keys."""
        rows = [asdict(row) for row in self.rows]
        return {"schema": _SCHEMA, "wsasec": self.wsasec, "ready": self.ready, "rows": rows}


@dataclass(frozen=True, slots=True)
class Build:
    """The Python that runs, and the extension's build."""

    wsasec: str
    implementation: str
    python: str
    free_threaded: bool
    extension: str


def find_build() -> Build:
    """Return the versions of Python and of the extension."""
    return Build(
        wsasec=version("wsasec"),
        implementation=platform.python_implementation(),
        python=sys.version.split()[0],
        free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        extension=Path(_wsasec.__file__).name,
    )


def python_row(build: Build) -> Row:
    """Make the row of the Python that runs."""
    python = f"{build.implementation} {build.python}" + (" free-threaded" if build.free_threaded else "")
    return Row("python", State.OK, f"{python}, extension {build.extension}")
