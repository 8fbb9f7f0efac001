"""Which IKE SAs there are with a peer, as far as charon has told: not all need to be listed for one."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeAlias

from .associations import Address, Event, IkeSa

__all__ = ["Whereabouts"]

_Place: TypeAlias = tuple[str, Address]


class Whereabouts:
    """charon's numbers of IKE SAs, by group and peer's address. Thread-safe.

    It may be late by as much as charon's events are: nothing may depend on a number that is not there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: defaultdict[_Place, set[int]] = defaultdict(set)
        self._place: dict[int, _Place] = {}

    def happened(self, event: Event) -> None:
        """Take note of an event of charon's."""
        ike = event.ike
        with self._lock:
            if ike is None:
                self._at.clear()
                self._place.clear()
                return
            self._remove(event.old_ike)
            if event.up:
                self._add(ike)
            elif event.kind == "ike-updown":
                # Of its children charon tells after it: those say nothing new.
                self._remove(ike.unique_id)

    def listed(self, ikes: Iterable[IkeSa]) -> None:
        """Take note of IKE SAs that charon has listed."""
        with self._lock:
            for ike in ikes:
                self._add(ike)

    def _add(self, ike: IkeSa) -> None:
        self._remove(ike.unique_id)
        place = ike.group, ike.remote
        self._place[ike.unique_id] = place
        self._at[place].add(ike.unique_id)

    def _remove(self, unique_id: int) -> None:
        place = self._place.pop(unique_id, None)
        if place is not None:
            self._at[place].discard(unique_id)
            if not self._at[place]:
                del self._at[place]

    def at(self, group: str, peer: Address) -> list[int]:
        """Return the numbers of those of a group with a peer."""
        with self._lock:
            return sorted(self._at.get((group, peer), ()))
