"""In which order the ways that are open to a peer are tried.

charon asks a peer for one exact name, and the peer only says that it is not it: of many names most would be
tried in vain. So before many are, the peer is asked who it is, by a connection that takes nobody.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from . import dn
from .groups import Way
from .identities import matches

__all__ = ["ask_first", "named_so", "order"]

_MANY: Final = 3
"""Names: fewer are tried as fast as the peer is asked."""

_FURTHER: Final = 16
"""Names that are tried although the peer showed another: hosts may have several identities."""


def ask_first(ways: Collection[Way]) -> bool:
    """Whether to ask the peer who it is before any of these ways is tried."""
    return sum(way.exact for way in ways) >= _MANY


def named_so(shown: str, way: Way) -> bool:
    """Whether a peer that showed an identity may get in by a way; charon has the last word."""
    if "=" in way.name and way.exact:
        try:
            # charon writes distinguished names in another way than people do.
            return dn.same(dn.parse(way.name), dn.parse(shown, charon=True))
        except ValueError:
            return False
    return matches(shown, way.name)


def order(ways: Collection[Way], shown: str | None) -> list[Way]:
    """Return what to try once the peer was asked, the first one to try first.

    Args:
        ways: that are open.
        shown: the identity by which the peer authenticated itself; None if it did not.
    """
    first = [way for way in ways if shown is not None and way.name != "%any" and named_so(shown, way)]
    rest = [way for way in ways if way not in first]
    further = [way for way in rest if way.exact][:_FURTHER]
    # By a pattern the peer would be asked the same again; other kinds are not about names.
    others = [way for way in rest if not way.exact and (shown is None or not way.pattern)]
    return first + further + others
