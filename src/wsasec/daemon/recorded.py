"""Ike that remembers what went wrong last with each peer."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..config.model import Config
from ..keys.associations import Address, Outcome
from ..keys.carrier import Carrier
from ..keys.ike import Ike
from ..keys.reason import Reason

__all__ = ["Failure", "RecordedIke"]

_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """A negotiation that failed; when: seconds since the epoch."""

    profile: str
    peer: str
    reason: Reason
    detail: str
    when: float


class RecordedIke(Ike):
    """As Ike."""

    def __init__(self, folder: Path, config: Config, carrier: Carrier | None = None) -> None:
        """As Ike."""
        super().__init__(folder, config, carrier)
        self._record_lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, str], Failure] = OrderedDict()

    def initiate(self, profile: str, peer: Address, deadline: float, local: Address | None = None) -> Outcome:
        """As Ike's."""
        outcome = super().initiate(profile, peer, deadline, local)
        key = (profile, str(peer))
        with self._record_lock:
            self._failures.pop(key, None)
            if outcome.reason is not Reason.NONE:
                failure = Failure(profile, str(peer), outcome.reason, outcome.detail, time.time())
                self._failures[key] = failure
                if len(self._failures) > _MOST:
                    self._failures.popitem(last=False)
        return outcome

    def failures(self) -> list[Failure]:
        """Return the last failure of each profile and peer since which there was no success."""
        with self._record_lock:
            return list(self._failures.values())
