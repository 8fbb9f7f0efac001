"""The command line: a verb a file."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence

from ..errors import SecurityError
from ..profiles import ConfigError

__all__ = ["main"]


class _Version(argparse.Action):
    """As argparse's own, which wants the version before anybody has asked for it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from .. import __version__

        print(f"wsasec {__version__}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wsasec", description="IPsec for single sockets")
    parser.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}").add(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status: 0 success, 1 failure, 2 wrong usage, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except (ConfigError, SecurityError) as error:
        print(f"wsasec: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read has enough; the interpreter's own last flush must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status
