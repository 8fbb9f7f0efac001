"""`wsasec reload`: another configuration for the running key daemon."""

from __future__ import annotations

import argparse

from ._daemon import add_verb

__all__ = ["add"]

_DESCRIPTION = """\
Have the key daemon read its configuration, certificates and keys again. If there is anything wrong with
them, it says so, and all stays as it was. Associations stay.
"""
_SECONDS = 120.0


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    add_verb(subparsers, "reload", "have the configuration read again", _DESCRIPTION, _run)


def _run(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - it has none
    from ..daemon.client import Client

    with Client(seconds=_SECONDS) as client:
        said = client.control("reload")
    print(f"reloaded {said['config']}: profiles {', '.join(said['profiles'])}")
    return 0
