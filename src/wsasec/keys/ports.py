"""Whether another IKE daemon has IKE's ports."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection
from typing import Final

from .reason import CharonError, Reason

__all__ = ["IKE_PORTS", "require_free"]

IKE_PORTS: Final = (500, 4500)


def _is_taken(family: socket.AddressFamily, port: int) -> bool:
    try:
        # Without SO_REUSEADDR, which IKE daemons set: with it both would have the port, and each get half.
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind(("", port))
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return False  # a kernel without this family
        if error.errno == errno.EADDRINUSE:
            return True
        raise
    return False


def require_free(ports: Collection[int] = IKE_PORTS) -> None:
    """Find out, for the calling thread's network namespace.

    Args:
        ports: those that nobody else may have: an engine may have 4500 of an earlier charon's.

    Raises:
        CharonError: a port is taken; the detail says how to share the daemon that has it.
        PermissionError: this process may not have these ports either.
    """
    for port in ports:
        if any(_is_taken(family, port) for family in (socket.AF_INET, socket.AF_INET6)):
            raise CharonError(
                Reason.NO_CHARON,
                f"UDP {port} is taken: another IKE daemon runs here; if it is strongSwan's, share it: "
                '[daemon] vici = "unix:///run/charon.vici"',
            )
