"""The error of a file that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

__all__ = ["ConfigError", "said"]

_LONGEST: Final = 80


class ConfigError(ValueError):
    """A file of the configuration is wrong.

    Attributes:
        path: the file, or None where the value did not come from one.
        line: the line the error is on, counted from 1, or None.

    """

    def __init__(self, message: str, path: Path | None = None, line: int | None = None) -> None:
        where = "" if path is None else f"{path}:{line}: " if line is not None else f"{path}: "
        super().__init__(where + message)
        self.path = path
        self.line = line


def said(value: Any) -> str:
    """Return a value as an error shows it: short, whatever the file has."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # numbers of thousands of digits, and tables in tables in tables
        return "this"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
