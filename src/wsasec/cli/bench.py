"""`wsasec bench`: how fast sockets are secured, connected and closed, and what their traffic does."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import Final

__all__ = ["add"]

_DESCRIPTION: Final = """\
Measure what it costs to set up secured sockets, against a bare C loop, ctypes and socket.setsockopt; how many
are connected and accepted in a second; and the traffic of secured, plain and TLS connections between two
network namespaces, with a count of what passed the wire. Where this kernel has no ESP, what needs it runs in
a guest kernel, and secure devices, by wsasec's own ESP, are measured here, beside plain traffic, TLS 1.3 in
Python and in C, and what else carries ESP or the like in user space. Root is not needed.

On Windows: what a call costs, with the tests' double of fwpuclnt.dll if that is loaded; "connect", "traffic",
--html and --compare are for Linux.
"""
_EPILOG: Final = """\
exit code: 0; 1 if something could not be measured, passed the wire in clear, or is worse than in the results
of --compare by more than the noise; 2 if those cannot be read, or have nothing that can be compared
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    verb = subparsers.add_parser(
        "bench", help="measure set-up cost, connections and traffic", description=_DESCRIPTION, epilog=_EPILOG
    )
    verb.add_argument(
        "part",
        nargs="?",
        choices=("setup", "connect", "traffic", "keys", "device", "all"),
        default="all",
        help="what to measure (all, of which devices only where this kernel has no ESP)",
    )
    effort = verb.add_mutually_exclusive_group()
    effort.add_argument("--quick", dest="full", action="store_false", help="some minutes; the default")
    effort.add_argument(
        "--full", dest="full", action="store_true", help="some twenty minutes: more sizes, more repeats"
    )
    verb.add_argument(
        "--json", type=Path, metavar="FILE", help="where every sample goes (./results/bench-DATE-TIME.json)"
    )
    verb.add_argument("--html", type=Path, metavar="FILE", help="write a report with plots, in one file")
    verb.add_argument(
        "--compare", type=Path, metavar="OLD.json", help="compare with an earlier run's results"
    )
    verb.set_defaults(run=_run, full=False)


def _run(arguments: argparse.Namespace) -> int:
    if sys.platform == "win32":
        return _run_on_windows(arguments)
    # Imported here: the other verbs need not load the benchmark.
    from ..bench.plans import FULL, QUICK
    from ..bench.suite import CompareError, Files, default_parts, run

    parts = default_parts() if arguments.part == "all" else (arguments.part,)
    try:
        now = datetime.now().astimezone()
        files = Files(arguments.json, arguments.html, arguments.compare, now)
        return run(parts, FULL if arguments.full else QUICK, files)
    except (OSError, ValueError) as error:
        print(f"wsasec bench: {error}", file=sys.stderr)
        return 1
    except CompareError as error:
        print(f"wsasec bench: {error}", file=sys.stderr)
        return 2


def _run_on_windows(arguments: argparse.Namespace) -> int:
    from ..bench.windows_suite import FULL, QUICK, run

    if arguments.html is not None or arguments.compare is not None:
        print("wsasec bench: --html and --compare are for Linux", file=sys.stderr)
        return 2
    parts = ("setup", "connect", "traffic") if arguments.part == "all" else (arguments.part,)
    try:
        return run(parts, FULL if arguments.full else QUICK, arguments.json)
    except (OSError, RuntimeError) as error:
        print(f"wsasec bench: {error}", file=sys.stderr)
        return 1
