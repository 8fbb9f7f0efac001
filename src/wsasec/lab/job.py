"""What the host tells the guest: a command, its folder and its environment, in files."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Job", "chosen_environment"]

# By name or prefix; nothing here is the place for a secret. All else stays on the host.
_PASSED: Final = re.compile(
    r"WSASEC_\w+|PYTHON\w*|PYTEST_\w+|HYPOTHESIS_\w+|VIRTUAL_ENV|PATH|LANG|LANGUAGE|LC_\w+|TZ|TERM|COLORTERM"
    r"|COLUMNS|LINES|CI|NO_COLOR|FORCE_COLOR|PY_COLORS|SOURCE_DATE_EPOCH"
)
_SYSTEM_PATH: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
# Places that the guest covers with file systems of its own.
_COVERED: Final = (Path("/tmp"), Path("/run"))  # noqa: S108


def chosen_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Choose what of an environment goes along to the guest, and add what its read-only root asks for."""
    chosen = {name: value for name, value in environment.items() if _PASSED.fullmatch(name)}
    path = [part for part in chosen.get("PATH", "").split(":") if part]
    chosen["PATH"] = ":".join([*path, *(part for part in _SYSTEM_PATH if part not in path)])
    chosen["HOME"] = chosen["TMPDIR"] = "/tmp"  # noqa: S108
    chosen["PYTHONDONTWRITEBYTECODE"] = "1"
    chosen.setdefault("PYTHONUNBUFFERED", "1")
    return chosen


def _array(words: Sequence[str]) -> str:
    return f"({' '.join(map(shlex.quote, words))})"


@dataclass(frozen=True, slots=True)
class Job:
    """A command for the guest.

    Attributes:
        argv: the command.
        interpreter: the command line of Python.
        cwd: absolute path of its folder, the same as on the host.
        environment: the whole of it.
        timeout: seconds the command may take.
        results: whether the caller wants its results.
        needed: absolute paths that must be readable there.
        merged: whether its standard error goes where its standard output goes.
        out_terminal: whether its standard output is a terminal.
        err_terminal: whether its standard error is a terminal.
        size: lines and columns of the terminal, zeros if there is none.
    """

    argv: Sequence[str]
    interpreter: Sequence[str]
    cwd: str
    environment: Mapping[str, str]
    timeout: float = 600.0
    results: bool = False
    needed: Sequence[str] = ()
    merged: bool = False
    out_terminal: bool = False
    err_terminal: bool = False
    size: tuple[int, int] = (0, 0)

    def covered(self) -> list[str]:
        """Return the outermost needed paths that lie in a place the guest covers; it uncovers those."""
        inside = {
            Path(p) for p in (*self.needed, self.cwd) if any(top in Path(p).parents for top in _COVERED)
        }
        return sorted(str(p) for p in inside if not any(other in p.parents for other in inside))

    def shell(self) -> str:
        """Write what the first process needs, as bash reads it.

        Raises:
            ValueError: there is a zero byte, which nothing can carry.
        """
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        text = (
            f"cwd={shlex.quote(self.cwd)}\n"
            f"interpreter={_array(self.interpreter)}\n"
            f"environment={_array(variables)}\n"
        )
        if "\0" in text:
            raise ValueError("a zero byte in the folder or the environment")
        return text

    def json(self) -> str:
        """Write what the guest's Python needs."""
        return json.dumps(
            {
                "argv": list(self.argv),
                "cwd": self.cwd,
                "timeout": self.timeout,
                "results": self.results,
                "uncover": self.covered(),
                "merged": self.merged,
                "out_terminal": self.out_terminal,
                "err_terminal": self.err_terminal,
                "size": list(self.size),
            }
        )
