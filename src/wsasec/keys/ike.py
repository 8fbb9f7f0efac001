"""IKE for this network namespace: charon with the configuration's connections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..config.model import Config
from .associations import Address, Certificate, Event, IkeSa, Outcome

__all__ = ["Ike"]


class Ike:
    """charon and what is loaded into it. All methods may be called from any thread.

    Deadlines are points of time.monotonic(), in seconds.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        """Describe it.

        Args:
            folder: of this daemon, readable and writable by root only (0711): charon's files get below it.
            config: what start() loads; `config.vici` names a charon of others to share.
        """

    def start(self, deadline: float) -> None:
        """Start charon (or find the shared one) and load the configuration.

        Raises:
            CharonError: it does not answer, or does not take the configuration.
            OSError: a file cannot be read.
        """

    def load(self, config: Config, deadline: float) -> None:
        """Load another configuration in place of the present one; associations stay. Errors as start()."""

    def stop(self) -> None:
        """End charon, and with it all associations; or take from a shared one what is ours. Twice is fine."""

    @property
    def alive(self) -> bool:
        """Whether charon runs; of a shared one: whether it answers."""

    @property
    def pid(self) -> int | None:
        """charon's process; None if it does not run or is shared."""

    def group(self, profile: str) -> str:
        """Return the group of a profile: those of one group share IKE SAs. KeyError if there is no such profile."""

    def initiate(self, profile: str, peer: Address, deadline: float, local: Address | None = None) -> Outcome:
        """Have an association of a profile with a peer; one that exists already will do. Blocks.

        Never raises CharonError: it is in the outcome (Reason.NO_CHARON). KeyError if there is no such profile.
        """

    def pin(self, group: str, peer: Address, identity: str, deadline: float) -> None:
        """From now on take nobody but this identity (an IKE SA's remote_id, exactly) at this address.

        What others have there at the time of the return is ended, and no more of theirs can come.

        Raises:
            CharonError: charon does not answer or does not take it. Nothing is pinned then that was not before.
        """

    def unpin(self, group: str, peer: Address, deadline: float) -> None:
        """Take any identity of the profile's at this address again; nothing happens if none was pinned."""

    def pinned(self, group: str, peer: Address) -> str | None:
        """Return the identity that is pinned at an address."""

    def associations(self, deadline: float, peer: Address | None = None) -> list[IkeSa]:
        """Return our IKE SAs, of all peers or of one. Waits for those that are being negotiated just now.

        Raises CharonError.
        """

    def certificates(self, deadline: float, subject: str | None = None) -> list[Certificate]:
        """Return X.509 certificates that charon holds, of any subject or one identity. Raises CharonError."""

    def terminate(self, unique_id: int, deadline: float) -> bool:
        """End an IKE SA and its associations, by its number; False if it is gone already. Raises CharonError."""

    def watch(self, callback: Callable[[Event], None]) -> None:
        """Call back for every event, from a thread of its own, until stop(); before start() or after."""
