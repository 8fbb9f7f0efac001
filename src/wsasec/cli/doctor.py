"""`wsasec doctor`: whether sockets can be secured here, and how to get what is missing."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

    from ..doctor import Report

__all__ = ["add", "render"]

_COLOURS: Final = {"ok": "green", "warn": "yellow", "missing": "bold red"}


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    verb = subparsers.add_parser(
        "doctor",
        help="whether sockets can be secured here, and how to get what is missing",
        description="Say whether sockets can be secured here, and for each thing missing the command "
        "that gets it. Nothing is changed.",
        epilog="exit code: 0 if sockets can be secured here, else 1",
    )
    verb.add_argument("--json", action="store_true", help="for programs; help(wsasec.doctor) has the keys")
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    # Imported here: the other verbs need neither.
    from rich.console import Console

    from ..doctor import examine

    report = examine(_program())
    if arguments.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        render(report, Console())
    return 0 if report.ready else 1


def _program() -> str:
    """Return how to call wsasec again: by its name, if that finds the same one."""
    found = shutil.which("wsasec")
    here = Path(sys.argv[0])
    if here.stem == "__main__" and found is None:
        return shlex.join([sys.executable, "-m", "wsasec"])
    if here.stem != "wsasec":  # on Windows it is wsasec.exe
        return "wsasec"
    return "wsasec" if found is not None and Path(found).resolve() == here.resolve() else str(here)


def render(report: Report, console: Console) -> None:
    """Print the report."""
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"wsasec {report.wsasec}", title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("state", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("detail")
    for row in report.rows:
        table.add_row(Text(row.state, style=_COLOURS[row.state]), row.id, Text(row.detail))
    console.print(table)
    # Below the table, where nothing breaks the lines that are to be copied.
    for row in report.rows:
        if row.command is not None and row.state != "ok":
            console.print(Text(f"{row.id}:", style=_COLOURS[row.state]), Text(row.command), soft_wrap=True)
    console.print(report.summary, style="bold", highlight=False, soft_wrap=True)
