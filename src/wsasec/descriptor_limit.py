"""How many sockets a process may have."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    import resource

__all__ = ["descriptor_limits", "raise_descriptor_limit"]

_HANDLES = 1 << 24
"""Where the handle table of a process ends on Windows (M. Russinovich, "Pushing the Limits of Windows")."""


def descriptor_limits() -> tuple[int, int]:
    """Return the soft and the hard limit."""
    if sys.platform != "win32":
        return resource.getrlimit(resource.RLIMIT_NOFILE)
    return _HANDLES, _HANDLES


def raise_descriptor_limit() -> int:
    """Raise RLIMIT_NOFILE's soft limit to its hard limit, where there is such; return the limit."""
    soft, hard = descriptor_limits()
    if sys.platform != "win32" and soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
