"""`wsasec lab run`: any command, in a lab with IPsec."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Final

__all__ = ["add"]

_DESCRIPTION: Final = """\
Run COMMAND on a host of its own, joined by a wire to a second one, with IPsec associations for the default
profile between them. Where this kernel has ESP, the hosts are network namespaces; where it has none, a User
Mode Linux guest is booted over this system's own files, read-only, and the namespaces are made in it. There
COMMAND has a /tmp of its own, the standard streams but no input, and the variables WSASEC_*, PYTHON*,
PYTEST_*, LC_* and a few more.
"""
_EPILOG: Final = """\
COMMAND finds in its environment: WSASEC_LAB=1; for its own end WSASEC_LAB_A_V4, _V6, _DEVICE and _NETNS (a
path for nsenter --net=), the same of the other end with B; WSASEC_LAB_RESULTS, if --results was given.

exit code: COMMAND's; 124 if it took too long, 125 if the lab cannot be made, 127 if there is no such
command, 128 + N if signal N ended it.
"""
_CANNOT: Final = 125
_INTERRUPTED: Final = 130


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    if sys.platform == "win32":
        verb = subparsers.add_parser("lab", help="for Linux: it is made of network namespaces")
        verb.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
        verb.set_defaults(run=_refuse)
        return
    verb = subparsers.add_parser("lab", help="two hosts on one wire with IPsec, for tests and benchmarks")
    verbs = verb.add_subparsers(metavar="VERB", required=True)
    run = verbs.add_parser(
        "run",
        help="run a command in the lab",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [-h] [--timeout S] [--memory M] [--results DIR] [--uml | --native] -- COMMAND...",
    )
    run.add_argument(
        "--timeout", type=_seconds, default=600.0, metavar="S", help="seconds COMMAND may take (600)"
    )
    run.add_argument("--memory", type=_memory, default="1G", metavar="M", help="of a guest, like 512M (1G)")
    run.add_argument(
        "--results", metavar="DIR", help="folder that gets what COMMAND leaves in WSASEC_LAB_RESULTS"
    )
    where = run.add_mutually_exclusive_group()
    where.add_argument(
        "--uml", dest="kernel", action="store_const", const="uml", help="in a guest, in any case"
    )
    where.add_argument(
        "--native", dest="kernel", action="store_const", const="native", help="on this kernel only"
    )
    run.add_argument("command", nargs="+", metavar="COMMAND", help="after --, with its arguments")
    run.set_defaults(run=_run, kernel="any")


def _refuse(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - whatever is wanted of it
    print("wsasec lab: it is for Linux, as it is made of network namespaces", file=sys.stderr)
    return _CANNOT


def _seconds(text: str) -> float:
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value


def _memory(text: str) -> str:
    from ..lab.uml import memory_megabytes

    try:
        memory_megabytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _run(arguments: argparse.Namespace) -> int:
    # Imported here: the other verbs need not load the lab.
    from ..lab import LabError
    from ..lab.runner import run

    try:
        return run(
            arguments.command,
            timeout=arguments.timeout,
            memory=arguments.memory,
            results=arguments.results,
            kernel=arguments.kernel,
        )
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (LabError, OSError) as error:
        print(f"wsasec lab: {error}", file=sys.stderr)
        return _CANNOT
