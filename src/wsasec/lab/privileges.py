"""What the lab may do here, and how an ordinary user comes to do it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from . import libc
from .errors import LabError

__all__ = ["enter_private_namespaces", "missing_privileges", "require_privileges"]

_CAPABILITIES: Final = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21}


def missing_privileges() -> list[str]:
    """Return which of the capabilities the lab needs this thread lacks."""
    text = Path("/proc/thread-self/status").read_text()
    line = next(line for line in text.splitlines() if line.startswith("CapEff:"))
    effective = int(line.split()[1], 16)
    return [name for name, bit in _CAPABILITIES.items() if not effective >> bit & 1]


def require_privileges() -> None:
    """Raise LabError unless namespaces can be made and configured here."""
    missing = missing_privileges()
    if missing:
        raise LabError(
            f"the lab needs {', '.join(missing)}",
            "run it as root, under `unshare -Urn`, or with `wsasec lab run -- COMMAND`",
        )


def _why_refused() -> str:
    for name, bad in (
        ("kernel.unprivileged_userns_clone", "0"),
        ("user.max_user_namespaces", "0"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1"),
    ):
        try:
            value = Path("/proc/sys", *name.split(".")).read_text().strip()
        except OSError:
            continue
        if value == bad:
            return f"sysctl {name} is {value}"
    return "user namespaces are not allowed here"


def enter_private_namespaces() -> None:
    """Move this process into a user and a network namespace of its own, in which it is root (`unshare -Urn`).

    It cannot be undone. Files are still reached with the caller's own rights.

    Raises:
        LabError: the process has several threads, or the kernel does not allow it.
    """
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        raise LabError(
            f"a process of {threads} threads cannot enter a user namespace", "start it under `unshare -Urn`"
        )
    user, group = os.geteuid(), os.getegid()
    try:
        libc.unshare(libc.CLONE_NEWUSER | libc.CLONE_NEWNET)
    except OSError as error:
        raise LabError(f"no user namespace: {error.strerror} ({_why_refused()})", "run it as root") from error
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1\n")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1\n")
