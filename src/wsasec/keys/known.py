"""Which IKE SA made a pair of the kernel's SAs: remembered, and asked of charon where it is not known."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import Final, TypeAlias

from ..kernel.xfrm import SA
from .associations import Address, ChildSa, Event, IkeSa
from .layer import IkeLayer
from .pairs import Pair, unscoped

__all__ = ["PROVEN", "Known", "Maker", "made_by"]

Maker: TypeAlias = tuple[IkeSa, ChildSa]

# While an IKE SA is renewed, its associations may be listed with neither the old nor the new.
_LISTINGS: Final = 2

# IKE SAs that have ended: listings that are under way may still have them.
_REMEMBERED: Final = 4096

PROVEN: Final = ("ESTABLISHED", "REKEYING", "REKEYED")
"""States of IKE SAs whose remote_id has been proven."""


def made_by(ikes: Iterable[IkeSa]) -> set[int]:
    """Return the SPIs of all SAs that IKE SAs have made."""
    return {spi for ike in ikes for child in ike.children for spi in (child.spi_in, child.spi_out)}


class Known:
    """Makers by SPIs: that of what comes in, and that of what goes out with the peer's address. Thread-safe.

    One by one: while an association is renewed, the new comes in already, and the old still goes out.
    """

    def __init__(self, ike: IkeLayer) -> None:
        self._ike = ike
        self._lock = threading.Lock()
        self._inward: dict[int, Maker] = {}
        self._outward: dict[tuple[Address, int], Maker] = {}
        self._inward_of: defaultdict[int, set[int]] = defaultdict(set)
        self._certificates: dict[int, tuple[bytes, ...]] = {}
        self._ended: OrderedDict[int, None] = OrderedDict()

    def happened(self, event: Event) -> None:
        """Take note of an event of charon's."""
        with self._lock:
            if event.kind == "gone":
                self._inward.clear()
                self._outward.clear()
                self._inward_of.clear()
                self._certificates.clear()
                self._ended.clear()
            elif event.ike is None:
                return
            elif event.kind == "ike-updown" and not event.up:
                self._forget(event.ike.unique_id)
            elif event.kind == "ike-rekey":
                self._renumber(event.old_ike, event.ike)
            elif event.kind == "child-rekey" or (event.kind == "child-updown" and event.up):
                self._drop(event.ike, event.replaced)
                self._add(event.ike)
            elif event.kind == "child-updown":
                self._drop(event.ike, event.ike.children)

    def _add(self, ike: IkeSa) -> None:
        if ike.state in PROVEN:
            for child in ike.children:
                self._drop_inward(child.spi_in)
                self._inward[child.spi_in] = self._outward[ike.remote, child.spi_out] = ike, child
                self._inward_of[ike.unique_id].add(child.spi_in)

    def _drop_inward(self, spi: int) -> None:
        before = self._inward.pop(spi, None)
        if before is not None:
            number = before[0].unique_id
            self._inward_of[number].discard(spi)
            if not self._inward_of[number]:
                del self._inward_of[number]

    def _made_by(self, unique_id: int) -> list[Maker]:
        return [self._inward[spi] for spi in self._inward_of.get(unique_id, ())]

    def _drop(self, ike: IkeSa, children: tuple[ChildSa, ...]) -> None:
        for child in children:
            self._drop_inward(child.spi_in)
            self._outward.pop((ike.remote, child.spi_out), None)

    def _end(self, unique_id: int) -> None:
        self._ended[unique_id] = None
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def _forget(self, unique_id: int) -> None:
        self._end(unique_id)
        for ike, child in self._made_by(unique_id):
            self._drop(ike, (child,))
        self._certificates.pop(unique_id, None)

    def _renumber(self, old: int, new: IkeSa) -> None:
        self._end(old)
        for _, child in self._made_by(old):
            self._add(replace(new, children=(child,)))
        if old in self._certificates:
            self._certificates[new.unique_id] = self._certificates.pop(old)

    def cached(self, pair: Pair) -> Maker | None:
        """Return who made what goes out; None unless it is known, and what comes in is the same peer's."""
        with self._lock:
            inward = self._inward.get(pair.inward.spi)
            outward = self._outward.get((ip_address(pair.outward.dst), pair.outward.spi))
        if inward is None or outward is None or inward[0].remote_id != outward[0].remote_id:
            return None
        return outward

    def ask(self, peer: Address | None, deadline: float) -> list[IkeSa]:
        """Ask charon for IKE SAs, of all peers or of one, and remember what they made. Raises CharonError."""
        found = self._ike.associations(deadline, None if peer is None else unscoped(peer))
        with self._lock:
            for ike in found:
                # The listing may be older than the event that says what became of it.
                if ike.unique_id not in self._ended:
                    self._add(ike)
        return found

    def maker(self, pair: Pair, peer: Address, deadline: float) -> Maker | None:
        """Return who made a pair; None: not this charon. Raises CharonError."""
        found = self.cached(pair)
        for _ in range(_LISTINGS):
            if found is None:
                self.ask(peer, deadline)
                found = self.cached(pair)
        return found

    def unmade(
        self, sas: Collection[SA], peer: Address | None, deadline: float
    ) -> tuple[list[IkeSa], list[SA]]:
        """Ask charon for all IKE SAs, or those with a peer; return them, and the SAs that none of them made.

        The SAs are to be listed before: charon, which waits until it is done with what it is working on, then
        knows all that it has installed. Raises CharonError.
        """
        ikes = self.ask(peer, deadline)
        unknown = [sa for sa in sas if sa.spi not in made_by(ikes)]
        for _ in range(_LISTINGS - 1):
            if unknown:
                ikes = self.ask(peer, deadline)
                unknown = [sa for sa in unknown if sa.spi not in made_by(ikes)]
        return ikes, unknown

    def certificates(self, ike: IkeSa, deadline: float) -> tuple[bytes, ...]:
        """Return all certificates (DER) of the identity of an IKE SA's peer, no CA's. Raises CharonError."""
        with self._lock:
            found = self._certificates.get(ike.unique_id)
        if found is None:
            listed = self._ike.certificates(deadline, ike.remote_id)
            found = tuple(certificate.der for certificate in listed if not certificate.ca)
            with self._lock:
                self._certificates[ike.unique_id] = found
        return found
