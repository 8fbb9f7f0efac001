"""Runs a command in the lab, on this kernel or on a guest's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from .esp import kernel_has_esp
from .native import run_native
from .privileges import enter_private_namespaces, missing_privileges
from .uml import run_uml

__all__ = ["DEFAULT_MEMORY", "DEFAULT_TIMEOUT", "run"]

DEFAULT_TIMEOUT: Final = 600.0
DEFAULT_MEMORY: Final = "1G"


def run(
    argv: Sequence[str],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    memory: str = DEFAULT_MEMORY,
    results: str | Path | None = None,
    kernel: Literal["any", "native", "uml"] = "any",
) -> int:
    """Run a command in namespace a of a lab; see `native.lab_environment` for how it finds its way.

    Args:
        argv: the command and its arguments.
        timeout: seconds the command may take.
        memory: of a guest, like "1G".
        results: a folder, made if there is none, that gets what the command leaves in WSASEC_LAB_RESULTS.
        kernel: "native" for the running kernel, "uml" for a guest, "any" for the first that has ESP.

    Returns:
        The command's exit code; 124 if it took too long, 127 if there is no such command.

    Raises:
        LabError: the lab cannot be made; the message says what is missing and how to get it.
        ValueError: an argument is wrong.
        SystemExit: SIGTERM or SIGHUP came; everything has been ended.
    """
    if not argv:
        raise ValueError("argv: there is no command")
    if not timeout > 0:
        raise ValueError(f"timeout: {timeout!r} is not a number of seconds above 0")
    folder = None if results is None else Path(results).absolute()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    if kernel == "uml" or (kernel == "any" and not kernel_has_esp()):
        return run_uml(argv, timeout=timeout, memory=memory, results=folder)
    if missing_privileges():
        enter_private_namespaces()
    return run_native(argv, timeout=timeout, results=folder)
