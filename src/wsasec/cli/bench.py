"""`wsasec bench`: how fast sockets are secured, and what their traffic does."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

__all__ = ["add"]

_DESCRIPTION: Final = """\
Measure what it costs to secure TCP sockets, against a bare C loop, ctypes and socket.setsockopt; and the
traffic of secured, plain and TLS connections between two network namespaces, with a count of what passed the
wire. Where this kernel has no ESP, the traffic runs in a guest kernel. Root is not needed.
"""
_EPILOG: Final = "exit code: 0, or 1 if something could not be measured, or passed the wire in clear"


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    verb = subparsers.add_parser(
        "bench", help="measure set-up cost and traffic", description=_DESCRIPTION, epilog=_EPILOG
    )
    verb.add_argument(
        "part", nargs="?", choices=("setup", "traffic", "all"), default="all", help="what to measure (all)"
    )
    effort = verb.add_mutually_exclusive_group()
    effort.add_argument("--quick", dest="full", action="store_false", help="two minutes; the default")
    effort.add_argument("--full", dest="full", action="store_true", help="more and longer repeats")
    verb.add_argument(
        "--json", type=Path, metavar="FILE", help="where every sample goes (./results/bench-DATE-TIME.json)"
    )
    verb.set_defaults(run=_run, full=False)


def _run(arguments: argparse.Namespace) -> int:
    # Imported here: the other verbs need not load the benchmark.
    from ..bench.suite import FULL, PARTS, QUICK, run

    parts = PARTS if arguments.part == "all" else (arguments.part,)
    try:
        return run(parts, FULL if arguments.full else QUICK, arguments.json)
    except OSError as error:
        print(f"wsasec bench: {error}", file=sys.stderr)
        return 1
