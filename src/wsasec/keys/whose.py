"""Who listens at a VICI socket: keys are given only to a charon of root's, in this network namespace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ..kernel.xfrm import NETLINK_XFRM
from .reason import CharonError, Reason
from .session import Session

__all__ = ["require_ours"]

_SOCKETS: Final = Path("/proc/thread-self/net/netlink")


def _has_xfrm_socket(pid: int) -> bool:
    """Whether a process has a socket for XFRM in the calling thread's network namespace.

    Of another user's process only the kernel's own list tells that: the first one has the process's number.
    """
    for line in _SOCKETS.read_text().splitlines()[1:]:
        words = line.split()
        if words[1:3] == [str(NETLINK_XFRM), str(pid)]:
            return True
    return False


def require_ours(session: Session) -> None:
    """Find out.

    Raises:
        CharonError: it is another user's process, or works in another network namespace.
    """
    pid, uid = session.listener()
    if uid not in (0, os.geteuid()):
        raise CharonError(
            Reason.NO_CHARON, f"process {pid} of user {uid} listens there, and not root's charon"
        )
    # In the list 0 is the kernel, and here a process of another process namespace.
    if not pid or not _has_xfrm_socket(pid):
        raise CharonError(
            Reason.NO_CHARON,
            f"process {pid}, which listens there, has no associations in this network namespace",
        )
