"""`wsasec down`: the end of the key daemon."""

from __future__ import annotations

import argparse

from ._daemon import add_verb

__all__ = ["add"]

_DESCRIPTION = """\
End the key daemon of this network namespace, and with it charon and all its security associations. Secured
sockets stay secured: they can send nothing until it is up again. If it is not up, nothing happens.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    add_verb(subparsers, "down", "end what `wsasec up` started", _DESCRIPTION, _run)


def _run(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - it has none
    from ..daemon.client import Client, NotUpError

    try:
        with Client() as client:
            client.stop()
            print(f"down, pid was {client.pid}")
    except NotUpError:
        print("not up")
    return 0
