"""Whether there is a route to a peer: charon would send into the void until it gives up."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from ..kernel.route import scope_index
from .associations import Address
from .ports import IKE_PORTS
from .reason import CharonError, Reason

__all__ = ["Routes"]

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class Routes:
    """The routes of one network namespace: that of the thread that makes this. For any thread."""

    def __init__(self) -> None:
        """Open a socket for each family that there is."""
        self._lock = threading.Lock()
        self._sockets: dict[int, socket.socket] = {}
        for version, family in _FAMILIES.items():
            with suppress(OSError):
                self._sockets[version] = socket.socket(family, socket.SOCK_DGRAM)

    def close(self) -> None:
        """Close them; twice is fine."""
        with self._lock:
            for each in self._sockets.values():
                each.close()
            self._sockets.clear()

    def require(self, peer: Address) -> None:
        """Raise CharonError if nothing can be sent to an address. Nothing is sent for that."""
        with self._lock:
            probe = self._sockets.get(peer.version)
            if probe is None:
                raise CharonError(Reason.UNREACHABLE, f"there is no IPv{peer.version} here")
            try:
                probe.connect(_name(peer))
            except OSError as error:
                raise CharonError(Reason.UNREACHABLE, f"{peer}: {error.strerror}") from error


def _name(peer: Address) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return what connect() takes; it forgets the scope in an address's text."""
    if peer.version == 4:
        return str(peer), IKE_PORTS[0]
    return str(peer).partition("%")[0], IKE_PORTS[0], 0, scope_index(peer)
