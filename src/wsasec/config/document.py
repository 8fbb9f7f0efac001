"""One file: read, and checked as far as it goes by itself."""

from __future__ import annotations

import os
import re
import stat
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import proposals
from .errors import ConfigError, said
from .fields import WHOLE
from .named import expanded
from .positions import Place, line_of, positions

__all__ = ["Document", "error_at", "read"]

_LARGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says.

    Attributes:
        path: the file.
        data: its tables, all of whose keys and values are known and in their ranges.
        lines: where they are.
    """

    path: Path
    data: dict[str, Any]
    lines: dict[Place, int]

    def error(self, place: Place, message: str) -> ConfigError:
        """Make the error about what is at a place."""
        return error_at(self.path, self.lines, place, message)


def error_at(path: Path, lines: dict[Place, int], place: Place, message: str) -> ConfigError:
    """Make the error about what is at a place of a file."""
    return ConfigError(f"{_name(place)}{message}", path, line_of(lines, place))


def _name(place: Place) -> str:
    """Name a place as the file has it, without numbers: the line tells which."""
    words = [part for part in place if isinstance(part, str)]
    start = ""
    if words[:1] == ["profile"] and len(words) > 1:
        start = f"profile {said(words[1])}: "
        words = words[2:]
    return start + (".".join(words) + ": " if words else "")


def _text(path: Path) -> str:
    with path.open("rb") as file:
        # Windows has no such mode: Python makes one up there, by which anyone may write.
        if sys.platform != "win32" and os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
            raise ConfigError("anyone may write this file; run chmod o-w on it", path)
        raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise ConfigError(f"the file is larger than {_LARGEST} bytes", path)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"not UTF-8: {error.reason}", path, line) from error


def _toml(path: Path, text: str) -> tuple[dict[str, Any], dict[Place, int]]:
    try:
        return tomllib.loads(text), positions(text)
    except RecursionError as error:
        raise ConfigError("there are too many tables or lists in each other", path, 1) from error
    except ValueError as error:  # tomllib's own, and Python's of numbers that are too long
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise ConfigError(str(error), path, line) from error


def read(path: Path) -> Document:
    """Read a file.

    Raises:
        ConfigError: it is not TOML, has an unknown key or a wrong value, or anyone may write it.
        OSError: it cannot be read.
    """
    data, lines = _toml(path, _text(path))
    document = Document(path, data, lines)
    for place, message in WHOLE.faults(data, ()):
        raise document.error(place, message)
    tables = data.get("profile", {})
    for name, table in tables.items():
        tables[name] = expanded(table)
        _check_protection(document, name, tables[name])
    return document


def _check_protection(document: Document, name: str, table: dict[str, Any]) -> None:
    """See that a profile which promises to encrypt has nothing that does not."""
    if table.get("protection", "encrypting") != "encrypting":
        return
    hint = "; a profile that may do without says protection = 'integrity-only'"
    if "policy" in table:
        raise document.error(("profile", name, "policy"), f"{table['policy']} may not encrypt{hint}")
    if "ah_proposals" in table:
        raise document.error(("profile", name, "ah_proposals"), f"AH does not encrypt{hint}")
    for number, proposal in enumerate(table.get("proposals", ())):
        if not proposals.esp(proposal):
            place = ("profile", name, "proposals", number)
            raise document.error(place, f"{said(proposal)} does not encrypt{hint}")
