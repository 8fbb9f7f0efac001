"""What the negotiator needs of the layer below it; `wsasec.keys.ike.Ike` has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .associations import Address, Certificate, Event, IkeSa, Outcome

__all__ = ["IkeLayer"]


class IkeLayer(Protocol):
    """Ike's methods, which say there what they do. Deadlines are points of time.monotonic()."""

    @property
    def alive(self) -> bool:
        """Whether charon runs."""

    def group(self, profile: str) -> str:
        """Return the group of a profile."""

    def initiate(self, profile: str, peer: Address, deadline: float, local: Address | None = None) -> Outcome:
        """Have an association with a peer."""

    def pin(self, group: str, peer: Address, identity: str, deadline: float) -> None:
        """Take nobody but this identity at this address."""

    def unpin(self, group: str, peer: Address, deadline: float) -> None:
        """Take any identity of the profile's at this address again."""

    def pinned(self, group: str, peer: Address) -> str | None:
        """Return the identity that is pinned at an address."""

    def associations(self, deadline: float, peer: Address | None = None) -> list[IkeSa]:
        """Return our IKE SAs."""

    def certificates(self, deadline: float, subject: str | None = None) -> list[Certificate]:
        """Return X.509 certificates that charon holds."""

    def terminate(self, unique_id: int, deadline: float) -> bool:
        """End an IKE SA."""

    def watch(self, callback: Callable[[Event], None]) -> None:
        """Call back for every event."""
