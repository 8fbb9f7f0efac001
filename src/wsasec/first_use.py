"""What happens once, before a process secures its first socket."""

from __future__ import annotations

import warnings

from . import _wsasec, profiles
from .errors import SecurityError

__all__ = ["SecurityWarning", "kernel_without_esp", "prepare"]


class SecurityWarning(RuntimeWarning):
    """Sockets can be secured here, but nothing will flow."""


def kernel_without_esp() -> bool:
    """Tell whether the kernel certainly has no ESP; a process that may not ask gets False."""
    try:
        return not _wsasec.capability("esp4")
    except SecurityError:
        return False


def prepare() -> None:
    """Read the profiles, and say so where secured sockets can send nothing."""
    profiles.active()
    if kernel_without_esp():
        warnings.warn(
            "this kernel has no ESP (CONFIG_INET_ESP): sockets are secured, and nothing can be sent on them; "
            "`wsasec doctor` says what to do",
            SecurityWarning,
            stacklevel=2,
        )
