"""What tunnels between a lab's hosts have in common: other addresses, and processes that carry them."""

from __future__ import annotations

import copy
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from wsasec.lab import Namespace

__all__ = ["AbsentError", "Tunnel", "inside", "private_run", "running", "tried"]

_STEP: Final = 0.01
_DEADLINE: Final = 30.0
_END: Final = 10.0
# What a daemon leaves in /run nobody else sees, and goes with it.
_OWN_RUN: Final = 'mount -t tmpfs -o mode=0755,size=1m,nosuid,nodev wsasec-bench /run && exec "$@"'

_Answer = TypeVar("_Answer")


class AbsentError(RuntimeError):
    """What others are compared with cannot be had here; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Two hosts as they are seen through a tunnel.

    Attributes:
        a: the first, with its address inside.
        b: the second, with its address inside.
        pids: of the processes that carry what goes through.
    """

    a: Namespace
    b: Namespace
    pids: tuple[int, ...]


def inside(host: Namespace, address: str) -> Namespace:
    """Return the same namespace with another IPv4 address."""
    other = copy.copy(host)
    other.v4 = address
    return other


def private_run(argv: Sequence[str]) -> list[str]:
    """Return the command that runs another with a /run of its own."""
    return ["unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", _OWN_RUN, "sh", *argv]


@contextmanager
def running(
    host: Namespace, argv: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[Any]]:
    """Run a daemon in a namespace, with a /run of its own; it has ended after the block.

    Raises:
        AbsentError: it cannot be started.
    """
    try:
        process = host.popen(
            private_run(argv),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise AbsentError(f"{argv[0]} cannot be started: {error}") from error
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_END)
            except subprocess.TimeoutExpired:
                process.kill()


def tried(process: subprocess.Popen[Any], what: str, ask: Callable[[], _Answer]) -> _Answer:
    """Ask until a daemon that was just started answers.

    Args:
        process: the daemon.
        what: its name.
        ask: raises OSError as long as it does not answer.

    Raises:
        AbsentError: it has ended, or does not answer.
    """
    deadline = time.monotonic() + _DEADLINE
    while True:
        try:
            return ask()
        except OSError as error:
            code = process.poll()
            if code is not None:
                raise AbsentError(f"{what} ended at once with exit code {code}") from error
            if time.monotonic() >= deadline:
                raise AbsentError(f"{what} does not answer: {error}") from error
        time.sleep(_STEP)
