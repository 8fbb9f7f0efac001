"""The benchmark as a whole: what is measured, in which process, and where the results go."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from wsasec.lab import kernel_has_esp
from wsasec.lab.signals import ending_signals

from . import compare
from .cpu import stolen_part
from .files import writable, write
from .html import write as write_html
from .machine import describe_machine, describe_versions
from .plans import RESULT_NAME, Effort
from .progress import Monitor
from .reading import FORMAT, FormatError, load
from .report import render
from .setup_cost import command_words
from .summary import summarized
from .wording import LEAK
from .worker import BenchError, python_command, run_worker

__all__ = ["FORMAT", "PARTS", "CompareError", "Files", "default_parts", "run"]

WIRE_PARTS: Final = ("connect", "traffic")
"""What needs two hosts and ESP."""
PARTS: Final = ("setup", *WIRE_PARTS, "keys", "device")
_WIDTH: Final = 132
_PROCESSORS: Final = Path("/proc/stat")
_GUEST_MEMORY: Final = "1G"
_BOOT: Final = 120.0

Found = dict[str, Any]


def default_parts() -> tuple[str, ...]:
    """Return what is measured unless a part is named: devices where the kernel has no ESP of its own."""
    return tuple(part for part in PARTS if part != "device" or not kernel_has_esp())


class CompareError(Exception):
    """What the results are to be compared with cannot be read."""


class Files:
    """Where the results go, and what they are compared with."""

    def __init__(self, wanted: Path | None, html: Path | None, old: Path | None, now: datetime) -> None:
        """Choose the files; fail now, not after minutes, if one cannot be written or read.

        Args:
            wanted: for the results; None for one in ./results named after the time.
            html: for the report; None for no report.
            old: results to compare with; None for none.
            now: the time.

        Raises:
            OSError: a folder cannot be made or written to.
            CompareError: the old results cannot be read, or are none.
        """
        self.json = writable(wanted or Path("results", f"bench-{now:%Y%m%d-%H%M%S}.json"))
        self.html = None if html is None else writable(html)
        try:
            self.old = None if old is None else load(old)
        except (OSError, FormatError) as error:
            raise CompareError(str(error)) from error


def _work(monitor: Monitor, effort: Effort, module: str, *words: str) -> Found:
    data = run_worker(python_command(f"wsasec.bench.{module}", *words), monitor, effort.deadline)
    if data is None:
        raise BenchError(f"the process of {module} ended without results")
    return data


def _measure_setup(effort: Effort, monitor: Monitor) -> Found:
    monitor.phase("setup", "sockets in a network namespace of their own")
    return _work(monitor, effort, "setup_cost", *command_words(effort.setup))


def _measure_memory(effort: Effort, monitor: Monitor) -> Found:
    monitor.phase("memory", "what sockets take of memory")
    return _work(monitor, effort, "memory", json.dumps(effort.memory))


def _measure_loopback(effort: Effort, monitor: Monitor) -> Found:
    monitor.phase("loopback", "plain traffic on a loopback device, by the engine and by iperf3")
    return _work(monitor, effort, "loopback", json.dumps(asdict(effort.loopback)))


def _measure_wire(effort: Effort, parts: Sequence[str], monitor: Monitor) -> Found:
    """Measure what needs two hosts and ESP: all in one lab, so that a guest is booted once."""
    monitor.phase("lab", "making two hosts, booting a guest kernel if this one has no ESP")
    plan = {part: asdict(getattr(effort, part)) for part in parts}
    return _in_lab(effort, monitor, "wire_side", json.dumps(plan))


def _in_lab(effort: Effort, monitor: Monitor, module: str, plan: str) -> Found:
    work = python_command(f"wsasec.bench.{module}", plan)
    with tempfile.TemporaryDirectory(prefix="wsasec-bench-") as folder:
        limits = ("--results", folder, "--timeout", str(effort.deadline), "--memory", _GUEST_MEMORY)
        command = python_command("wsasec.lab", "run", *limits, "--", *work)
        run_worker(command, monitor, effort.deadline + _BOOT)
        try:
            return dict(json.loads(Path(folder, RESULT_NAME).read_text()))
        except FileNotFoundError:
            raise BenchError("the processes on the wire ended without results") from None


def _measure_keys(effort: Effort, monitor: Monitor) -> Found:
    """Measure in a lab of its own, in which the two hosts negotiate their keys."""
    monitor.phase("keys", "two hosts that negotiate keys, in a guest kernel if this one has no ESP")
    return _in_lab(effort, monitor, "key_side", json.dumps(asdict(effort.keys)))


def _measure_device(effort: Effort, monitor: Monitor) -> Found:
    monitor.phase("device", "secure devices between two hosts, on this kernel")
    return _work(monitor, effort, "device_side", json.dumps(asdict(effort.device)))


def _add_device(found: Found, data: Found, monitor: Monitor, *, asked: bool) -> None:
    """Add what was measured; that there can be no device here is an error only if devices were asked for."""
    if missing := "; ".join(data.get("missing", ())):
        if asked:
            found["errors"]["device"] = missing
        else:
            monitor({"event": "note", "text": f"device: not measured: {missing}"})
        return
    found["errors"] |= data.pop("errors", {})
    found["leaks"] += data.pop("leaks", [])
    found["device"] = data


def _measure(parts: Sequence[str], effort: Effort, monitor: Monitor) -> Found:
    """Measure all that can be.

    Returns:
        Samples by part; "errors", what could not be measured; "leaks", what was not protected.
    """
    found: Found = {"errors": {}, "leaks": []}

    def attempt(name: str, work: Callable[..., Found], *arguments: Any) -> Found:
        try:
            return work(*arguments)
        except BenchError as error:
            found["errors"][name] = str(error)
            return {}

    if "setup" in parts:
        setup = dict(attempt("setup", _measure_setup, effort, monitor))
        if memory := attempt("memory", _measure_memory, effort, monitor):
            setup["memory_samples"] = memory
        found |= {"setup": setup} if setup else {}
    if "traffic" in parts and (loopback := attempt("loopback", _measure_loopback, effort, monitor)):
        found["loopback"] = loopback
    if wire := [part for part in WIRE_PARTS if part in parts]:
        data = dict(attempt(" and ".join(wire), _measure_wire, effort, wire, monitor))
        found["errors"] |= data.pop("errors", {})
        found["leaks"] += data.pop("leaks", [])
        found |= data
    if "keys" in parts and (keys := attempt("keys", _measure_keys, effort, monitor)):
        found["keys"] = keys
    if "device" in parts and (device := attempt("device", _measure_device, effort, monitor)):
        _add_device(found, dict(device), monitor, asked=len(parts) == 1)
    return found


def _console() -> Console:
    out = Console()
    return out if out.is_terminal else Console(width=_WIDTH)


def run(parts: Sequence[str], effort: Effort, files: Files) -> int:
    """Measure, write the results, print them.

    Args:
        parts: of PARTS.
        effort: plans.QUICK or plans.FULL.
        files: where the results go.

    Returns:
        0; 1 if something failed (what else was measured is written and printed all the same), was not
        protected, or is worse than in the old results by more than the noise; 2 if nothing could be compared.

    Raises:
        OSError: the results cannot be written.
        SystemExit: SIGTERM or SIGHUP came; what ran has been ended.
    """
    results: Found = {
        "format": FORMAT,
        "effort": effort.name,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "versions": describe_versions(),
    }
    before = _PROCESSORS.read_text()
    with ending_signals(), Monitor(Console(stderr=True)) as monitor:
        results |= _measure(parts, effort, monitor)
    results["machine"]["stolen"] = stolen_part(before, _PROCESSORS.read_text())
    results["finished"] = datetime.now().astimezone().isoformat(timespec="seconds")
    results["notes"] = monitor.notes
    # Before anything is made of them: minutes of samples are not lost to a mistake there.
    write(results, files.json)
    try:
        results = summarized(results)
    except Exception:
        sys.stderr.write(f"wsasec bench: every sample is in {files.json}\n")
        raise
    write(results, files.json)
    out = _console()
    render(results, out)
    out.print(f"\nEvery sample: {files.json}", highlight=False, soft_wrap=True)
    if files.html is not None:
        write_html(results, files.html)
        out.print(f"Report: {files.html}", highlight=False, soft_wrap=True)
    judgement = _judge(results, files.old, out)
    for part, text in results["errors"].items():
        sys.stderr.write(f"wsasec bench {part}: {text}\n")
    for text in results["leaks"]:
        sys.stderr.write(f"wsasec bench: {LEAK}: {text}\n")
    return 1 if results["errors"] or results["leaks"] else judgement


def _judge(results: Mapping[str, Any], old: Mapping[str, Any] | None, out: Console) -> int:
    """Compare with the old results, if there are any; return what compare.Comparison.exit_code says."""
    if old is None:
        return 0
    comparison = compare.compare(old, results)
    compare.render(comparison, out)
    return comparison.exit_code
