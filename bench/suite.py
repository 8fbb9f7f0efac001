"""The benchmark as a whole: what is measured for how long, in which process, and where the results go."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from wsasec.lab.signals import ending_signals

from .machine import describe_machine, describe_versions
from .progress import Monitor
from .report import render
from .summary import summarize_setup, summarize_traffic
from .traffic import RESULT_NAME, Plan
from .worker import BenchError, python_command, run_worker

__all__ = ["FORMAT", "FULL", "PARTS", "QUICK", "Effort", "run"]

FORMAT: Final = "wsasec-bench/1"
PARTS: Final = ("setup", "traffic")
_WIDTH: Final = 112
_GUEST_MEMORY: Final = "1G"
_BOOT: Final = 120.0


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        name: for the results.
        setup: numbers of sockets, and how often each is measured.
        setup_deadline: seconds for all of that.
        traffic: what is measured on the wire.
        traffic_deadline: seconds for all of that, without the boot of a guest.
    """

    name: str
    setup: tuple[tuple[int, int], ...]
    setup_deadline: float
    traffic: Plan
    traffic_deadline: float


QUICK: Final = Effort(
    name="quick",
    setup=((1_000, 15), (5_000, 9), (15_000, 7)),
    setup_deadline=600.0,
    traffic=Plan(streams=((1, 3), (64, 3), (1_000, 2)), warm=0.2, seconds=0.8, cap=2 << 30),
    traffic_deadline=600.0,
)
FULL: Final = Effort(
    name="full",
    setup=((1_000, 51), (5_000, 31), (15_000, 21)),
    setup_deadline=3600.0,
    traffic=Plan(streams=((1, 9), (64, 9), (1_000, 7)), warm=0.5, seconds=3.0, cap=16 << 30),
    traffic_deadline=3600.0,
)


def _measure_setup(effort: Effort, monitor: Monitor) -> dict[str, Any]:
    monitor.phase("setup", "securing sockets in a network namespace of its own")
    command = python_command("wsasec.bench.setup_cost", json.dumps(effort.setup))
    data = run_worker(command, monitor, effort.setup_deadline)
    if data is None:
        raise BenchError("the process that secures sockets ended without results")
    return {**data, "summary": summarize_setup(data)}


def _measure_traffic(effort: Effort, monitor: Monitor) -> dict[str, Any]:
    monitor.phase("traffic", "making the lab, booting a guest kernel if this one has no ESP")
    work = python_command("wsasec.bench.traffic", json.dumps(asdict(effort.traffic)))
    with tempfile.TemporaryDirectory(prefix="wsasec-bench-") as folder:
        limits = ("--results", folder, "--timeout", str(effort.traffic_deadline), "--memory", _GUEST_MEMORY)
        command = python_command("wsasec.lab", "run", *limits, "--", *work)
        run_worker(command, monitor, effort.traffic_deadline + _BOOT)
        try:
            data: dict[str, Any] = json.loads(Path(folder, RESULT_NAME).read_text())
        except FileNotFoundError:
            raise BenchError("the traffic's processes ended without results") from None
    return {**data, "summary": summarize_traffic(data)}


_MEASURE: Final = {"setup": _measure_setup, "traffic": _measure_traffic}


def _results_file(wanted: Path | None, now: datetime) -> Path:
    """Choose the file for the results; fail now, not after minutes, if it cannot be written.

    Raises:
        OSError: its folder cannot be made or written to.
    """
    file = wanted if wanted is not None else Path("results", f"bench-{now:%Y%m%d-%H%M%S}.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise PermissionError(f"{file} cannot be written; give another with --json FILE")
    return file


def _write(results: Mapping[str, Any], file: Path) -> None:
    file.write_text(json.dumps(results, indent=1) + "\n")


def run(parts: tuple[str, ...], effort: Effort, wanted: Path | None) -> int:
    """Measure, write the results, print them.

    Args:
        parts: of PARTS.
        effort: QUICK or FULL.
        wanted: the file for the results; None for one in ./results named after the time.

    Returns:
        0, or 1 if a part failed; what the others measured is written and printed all the same.

    Raises:
        OSError: the results cannot be written.
        SystemExit: SIGTERM or SIGHUP came; what ran has been ended.
    """
    now = datetime.now().astimezone()
    file = _results_file(wanted, now)
    results: dict[str, Any] = {
        "format": FORMAT,
        "effort": effort.name,
        "started": now.isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "versions": describe_versions(),
    }
    errors: dict[str, str] = {}
    out, err = Console(), Console(stderr=True)
    with ending_signals(), Monitor(err) as monitor:
        for part in parts:
            try:
                results[part] = _MEASURE[part](effort, monitor)
            except BenchError as error:
                errors[part] = str(error)
    results["finished"] = datetime.now().astimezone().isoformat(timespec="seconds")
    results["notes"] = monitor.notes
    results["errors"] = errors
    _write(results, file)
    if not out.is_terminal:
        out = Console(width=_WIDTH)
    render(results, out)
    out.print(f"\nEvery sample: {file}", highlight=False, soft_wrap=True)
    for part, text in errors.items():
        sys.stderr.write(f"wsasec bench {part}: {text}\n")
    return 1 if errors else 0
