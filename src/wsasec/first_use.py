"""What happens once, before a process secures its first socket."""

from __future__ import annotations

import sys
import warnings

from . import _wsasec, profiles
from .errors import SecurityError

__all__ = ["SecurityWarning", "kernel_without_esp", "prepare"]


class SecurityWarning(RuntimeWarning):
    """Sockets can be secured here, but nothing will flow."""


_answers: list[bool] = []


def kernel_without_esp() -> bool:
    """Tell whether the kernel certainly has no ESP; a process that may not ask gets False."""
    # Asked once: the question may load modules, which takes its time, and a deadline may be waiting.
    if not _answers:
        try:
            _answers.append(not _wsasec.capability("esp4"))
        except SecurityError:
            return False
    return _answers[0]


def prepare() -> None:
    """Read the profiles, and say so where secured sockets of the default one can send nothing."""
    # There the policies are the system's.
    carrier = "policy" if sys.platform == "win32" else profiles.active().default.carrier
    if carrier == "policy" and kernel_without_esp():
        warnings.warn(
            "this kernel has no ESP (CONFIG_INET_ESP): sockets are secured, and nothing can be sent on them; "
            "`wsasec doctor` says what to do",
            SecurityWarning,
            stacklevel=2,
        )
