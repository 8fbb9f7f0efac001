"""The pair of SAs that the kernel would take for packets between two hosts now."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ..kernel.route import source_of
from ..kernel.xfrm import SA, XfrmTable
from .associations import Address

__all__ = ["Pair", "Sas", "Table", "chosen", "unscoped"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Both directions.

    Attributes:
        outward: what this host's packets are sent in.
        inward: the newest in which the peer's come.
    """

    outward: SA
    inward: SA


def unscoped(address: Address) -> Address:
    """Return an address as the kernel's SAs and charon's lists have it: they know no scopes."""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        return ipaddress.IPv6Address(int(address))
    return address


def chosen(sas: Iterable[SA], reqid: int, now: float) -> SA | None:
    """Return the SA that the kernel takes: of a reqid, in transport mode, not yet to be replaced, the newest.

    Args:
        sas: of one direction between two addresses, newest first.
        reqid: of the policy.
        now: the system's clock.
    """
    fitting = [
        sa for sa in sas if sa.usable and sa.reqid == reqid and sa.mode == "transport" and not sa.mark[1]
    ]
    return max(fitting, key=lambda sa: (not _to_be_replaced(sa, now), sa.added), default=None)


def _to_be_replaced(sa: SA, now: float) -> bool:
    return bool(
        (sa.soft_seconds and now >= sa.added + sa.soft_seconds)
        or (sa.soft_bytes and sa.bytes >= sa.soft_bytes)
        or (sa.soft_packets and sa.packets >= sa.soft_packets)
    )


class Table(Protocol):
    """What `XfrmTable` has, and says what it does. All methods raise OSError."""

    def __enter__(self) -> Table:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def associations(self) -> list[SA]:
        """Return all SAs."""

    def between(self, src: str | None, dst: str | None) -> list[SA]:
        """Return the SAs from an address to another, the newest first."""

    def delete(self, sa: SA) -> None:
        """Delete an SA."""


class Sas:
    """SAs: of the kernel, in the calling thread's network namespace, or an engine. Methods raise OSError."""

    def __init__(self, table: Callable[[], Table] = XfrmTable) -> None:
        """Describe it; `table` is called for each question."""
        self._table = table

    def source(self, peer: Address, mark: int = 0, device: int = 0) -> Address | None:
        """Return the address from which the kernel would send to a peer; see kernel.route."""
        return source_of(peer, mark, device)

    def find(self, reqid: int, own: Address, peer: Address) -> Pair | None:
        """Return the pair between two addresses; None if a direction lacks."""
        here, there = str(unscoped(own)), str(unscoped(peer))
        now = time.time()
        with self._table() as table:
            outward = chosen(table.between(here, there), reqid, now)
            if outward is None:
                return None
            inward = chosen(table.between(there, here), reqid, now)
        return None if inward is None else Pair(outward, inward)

    def every(self, reqids: Collection[int], peer: Address) -> list[SA]:
        """Return all SAs of some reqids with a peer, both directions, of any address here."""
        there = str(unscoped(peer))
        with self._table() as table:
            found = table.between(None, there) + table.between(there, None)
        return [sa for sa in found if sa.usable and sa.reqid in reqids]

    def of(self, reqids: Collection[int]) -> list[SA]:
        """Return all SAs of some reqids."""
        with self._table() as table:
            return [sa for sa in table.associations() if sa.usable and sa.reqid in reqids]

    def remove(self, sas: Iterable[SA]) -> None:
        """Remove SAs; those that are gone already do not matter."""
        with self._table() as table:
            for sa in sas:
                with suppress(ProcessLookupError):
                    table.delete(sa)
