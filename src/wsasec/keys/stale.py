"""SAs that nobody looks after any more: those of a charon that was killed."""

from __future__ import annotations

from collections.abc import Collection

from .layer import IkeLayer
from .pairs import Sas

__all__ = ["remove_stale"]


def remove_stale(ike: IkeLayer, sas: Sas, reqids: Collection[int], deadline: float) -> int:
    """Remove SAs of some reqids that charon does not know, and return how many.

    Without them nothing is sent in clear: sockets wait for new ones.

    Raises:
        CharonError: charon does not answer.
        OSError: the kernel refused.
    """
    # The kernel is asked first: what charon installs meanwhile is not in the list.
    found = sas.of(reqids)
    if not found:
        return 0
    known = {
        spi
        for each in ike.associations(deadline)
        for child in each.children
        for spi in (child.spi_in, child.spi_out)
    }
    stale = [sa for sa in found if sa.spi not in known]
    sas.remove(stale)
    return len(stale)
