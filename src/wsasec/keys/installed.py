"""What the kernel has of the associations that charon believes to have."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..kernel.xfrm import XfrmTable
from .associations import Address, ChildSa, IkeSa
from .pairs import Table, unscoped
from .reason import CharonError, Reason

__all__ = ["Installed"]


class Installed:
    """The associations of one network namespace: that of the thread that makes this. For any thread."""

    def __init__(self, table: Callable[[], Table] = XfrmTable) -> None:
        """Open it.

        Args:
            table: what has them: the kernel, or an engine.

        Raises:
            CharonError: the kernel has no XFRM.
        """
        self._lock = threading.Lock()
        try:
            self._table = table()
        except OSError as error:
            raise CharonError(Reason.NO_CHARON, f"this kernel has no IPsec: {error.strerror}") from error

    def close(self) -> None:
        """Close it; twice is fine."""
        with self._lock:
            self._table.__exit__()

    def has(self, ike: IkeSa, child: ChildSa) -> bool:
        """Whether both directions are there: somebody may have flushed them. Raises OSError."""
        local, remote = str(ike.local), str(ike.remote)
        with self._lock:
            coming = {sa.spi for sa in self._table.between(remote, local)}
            going = {sa.spi for sa in self._table.between(local, remote)}
        return child.spi_in in coming and child.spi_out in going

    def any(self, reqid: int, local: Address | None, remote: Address) -> bool:
        """Whether there is one of a reqid to a peer, from any address of this host or one. Raises OSError."""
        with self._lock:
            found = self._table.between(
                None if local is None else str(unscoped(local)), str(unscoped(remote))
            )
        return any(sa.reqid == reqid for sa in found)
