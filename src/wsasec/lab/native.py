"""Runs a command in the lab's namespaces, on the kernel that is running."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from .errors import LabError
from .esp import esp_missing, warm_up
from .signals import ending_signals
from .topology import Lab

__all__ = ["TIMED_OUT", "lab_environment", "run_native"]

TIMED_OUT: Final = 124
"""The exit code of a command that took too long, as of timeout(1)."""

_GRACE: Final = 5.0


def lab_environment(lab: Lab, results: Path | None) -> dict[str, str]:
    """Return the variables by which a command finds its way in the lab.

    WSASEC_LAB is 1. WSASEC_LAB_A_V4, _A_V6, _A_DEVICE, _A_NETNS and the same of B name the ends; the command
    runs in A. NETNS is a path for `nsenter --net=PATH`. WSASEC_LAB_PROFILE is the profile's name.
    WSASEC_LAB_RESULTS is the folder whose files reach the caller, if there is one.
    """
    variables = {"WSASEC_LAB": "1", "WSASEC_LAB_PROFILE": lab.profile.name}
    for end, namespace in (("A", lab.a), ("B", lab.b)):
        variables[f"WSASEC_LAB_{end}_V4"] = namespace.v4
        variables[f"WSASEC_LAB_{end}_V6"] = namespace.v6
        variables[f"WSASEC_LAB_{end}_DEVICE"] = namespace.device
        variables[f"WSASEC_LAB_{end}_NETNS"] = namespace.path
    if results is not None:
        variables["WSASEC_LAB_RESULTS"] = str(results)
    return variables


def _say(stderr: int | None, text: str) -> None:
    os.write(2 if stderr is None else stderr, f"wsasec lab: {text}\n".encode(errors="surrogateescape"))


def _end(process: subprocess.Popen[Any]) -> None:
    """End a command and its process group: politely, then by force."""
    for number, wait in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait)
            if number == signal.SIGKILL:
                return


def run_native(
    argv: Sequence[str],
    *,
    timeout: float,
    results: Path | None,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> int:
    """Run a command in namespace a of a new lab.

    Args:
        argv: the command.
        timeout: seconds; it and its process group are ended then.
        results: an existing folder for its results, or None.
        stdin: its standard input as for subprocess.Popen; None for the caller's.
        stdout: its standard output; None for the caller's.
        stderr: its standard error, and where it is said that it took too long; None for the caller's.

    Returns:
        Its exit code; 124 if it took too long, 127 if there is no such command, 128 + N if signal N ended it.

    Raises:
        LabError: the kernel, a privilege or a tool is missing.
        SystemExit: SIGTERM or SIGHUP came; the command has been ended.
    """
    lack = esp_missing()
    if lack is not None:
        raise LabError(f"this kernel has {lack}", "leave out --native: a guest kernel has it")
    warm_up()
    with ending_signals(), Lab() as lab:
        environment = {**os.environ, **lab_environment(lab, results)}
        try:
            process = lab.a.popen(
                argv, env=environment, start_new_session=True, stdin=stdin, stdout=stdout, stderr=stderr
            )
        except FileNotFoundError:
            _say(stderr, f"{argv[0]}: no such command")
            return 127
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            _say(stderr, f"the command was ended after {timeout:g} s")
            return TIMED_OUT
        finally:
            _end(process)
    return 128 - code if code < 0 else code
