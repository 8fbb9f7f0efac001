"""What the verbs about the key daemon share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

__all__ = ["add_verb"]


def add_verb(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    help: str,  # noqa: A002 - as argparse has it
    description: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """Add a verb that is for Linux: on Windows it says so, whatever is wanted of it."""
    if sys.platform == "win32":
        verb = subparsers.add_parser(name, help="for Linux: Windows has a key daemon of its own")
        verb.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)

        def refuse(arguments: argparse.Namespace) -> int:  # noqa: ARG001
            print(
                f"wsasec {name}: it is for Linux; on Windows the service IKEEXT agrees on keys",
                file=sys.stderr,
            )
            return 1

        verb.set_defaults(run=refuse)
        return verb
    verb = subparsers.add_parser(name, help=help, description=description)

    def checked(arguments: argparse.Namespace) -> int:
        # Imported here: the other verbs need not load the daemon's side.
        from ..daemon.client import DaemonError

        try:
            return run(arguments)
        except DaemonError as error:
            print(f"wsasec {name}: {error}", file=sys.stderr)
            return 1

    verb.set_defaults(run=checked)
    return verb
