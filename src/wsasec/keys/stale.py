"""SAs that nobody looks after any more: those of a charon that was killed."""

from __future__ import annotations

from collections.abc import Collection

from .known import Known
from .pairs import Sas

__all__ = ["remove_stale"]


def remove_stale(known: Known, sas: Sas, reqids: Collection[int], deadline: float) -> int:
    """Remove SAs of some reqids that charon does not know, and return how many.

    Without them nothing is sent in clear: sockets wait for new ones.

    Raises:
        CharonError: charon does not answer.
        OSError: the kernel refused.
    """
    found = sas.of(reqids)
    if not found:
        return 0
    _, stale = known.unmade(found, None, deadline)
    sas.remove(stale)
    return len(stale)
