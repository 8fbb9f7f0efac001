"""`python -m wsasec.lab run -- COMMAND`: the verb `wsasec lab` by itself, as the guest calls it."""

from __future__ import annotations

import argparse
import sys

from ..cli.lab import add

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m wsasec.lab")
    add(parser.add_subparsers(required=True))
    words = sys.argv[1:] if argv is None else argv
    arguments = parser.parse_args(["lab", *words])
    return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
