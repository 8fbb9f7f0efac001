"""The benchmark on Windows: what calls cost, measured, written and printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from .call_cost import CallPlan
from .call_cost import run as run_calls
from .call_summary import DOUBLE, REAL, call_tables, summarize_calls
from .files import writable, write
from .fwpuclnt import load
from .machine import describe_machine, describe_versions
from .progress import Monitor
from .reading import FORMAT, read
from .report import draw
from .wording import machine_lines

__all__ = ["FULL", "QUICK", "render", "run"]

QUICK: Final = CallPlan("quick", ((1_000, 21), (10_000, 9)))
FULL: Final = CallPlan("full", ((1_000, 101), (10_000, 31)))
_WIDTH: Final = 132
_LINUX_ONLY: Final = "connections and traffic are measured on Linux only"


def render(results: dict[str, Any], console: Console) -> None:
    """Print the results as tables, the targets last."""
    rows, calls = read(results), results["calls"]
    if rows.machine is not None:
        console.print(Text("\n".join(f"{name}: {value}" for name, value in machine_lines(rows.machine))))
    console.print(Text(", ".join(f"{name} {value}" for name, value in rows.versions.items()), style="dim"))
    console.print(Text(f"\n{DOUBLE if calls['double'] else REAL}"))
    for table in call_tables(calls):
        console.print()
        console.print(draw(table), highlight=False)
        for note in table.notes:
            console.print(Text(note))


def run(parts: Sequence[str], plan: CallPlan, file: Path | None) -> int:
    """Measure, write the results, print them.

    Args:
        parts: of "setup", "connect" and "traffic".
        plan: QUICK or FULL.
        file: for the results; None for one in ./results named after the time.

    Returns:
        0; 1 if nothing of what is wanted can be measured here.

    Raises:
        OSError, wsasec.SecurityError: the results cannot be written, or sockets not be secured.
    """
    if "setup" not in parts:
        sys.stderr.write(f"wsasec bench: {_LINUX_ONLY}\n")
        return 1
    now = datetime.now().astimezone()
    file = writable(file or Path("results", f"bench-{now:%Y%m%d-%H%M%S}.json"))
    library = load()
    results: dict[str, Any] = {
        "format": FORMAT,
        "effort": plan.name,
        "started": now.isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "versions": describe_versions(),
    }
    with Monitor(Console(stderr=True)) as monitor:
        monitor.phase("calls", "securing sockets, by each method in turn")
        if len(parts) > 1:
            monitor({"event": "note", "text": _LINUX_ONLY})
        calls = run_calls(plan, library, monitor)
    results["notes"] = monitor.notes
    results["finished"] = datetime.now().astimezone().isoformat(timespec="seconds")
    results["calls"] = calls
    write(results, file)  # before anything is made of them
    results["calls"] = summarize_calls(calls)
    write(results, file)
    out = Console()
    out = out if out.is_terminal else Console(width=_WIDTH)
    render(results, out)
    out.print(f"\nEvery sample: {file}", highlight=False, soft_wrap=True)
    return 0
