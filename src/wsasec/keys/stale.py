"""SAs that nobody looks after any more: those of a charon that was killed."""

from __future__ import annotations

from collections.abc import Collection

from ..kernel.xfrm import XfrmTable
from . import pairs
from .layer import IkeLayer

__all__ = ["remove_stale"]


def remove_stale(ike: IkeLayer, reqids: Collection[int], deadline: float) -> int:
    """Remove SAs of some reqids that charon does not know, and return how many.

    Without them nothing is sent in clear: sockets wait for new ones.

    Raises:
        CharonError: charon does not answer.
        OSError: the kernel refused.
    """
    # The kernel is asked first: what charon installs meanwhile is not in the list.
    with XfrmTable() as table:
        sas = [sa for sa in table.associations() if sa.usable and sa.reqid in reqids]
    if not sas:
        return 0
    known = {
        spi
        for each in ike.associations(deadline)
        for child in each.children
        for spi in (child.spi_in, child.spi_out)
    }
    stale = [sa for sa in sas if sa.spi not in known]
    pairs.remove(stale)
    return len(stale)
