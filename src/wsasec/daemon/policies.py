"""What the daemon says to sessions of `wsasec.policy` on this host, as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from ..config.described import described
from ..config.model import Config
from ..constants import Winsock
from ..keys.associations import IkeSa
from ..keys.pairs import Sas
from ..keys.reason import CharonError
from ..keys.reported import by_number, ike_association, security_associations
from ..policy.policies import QuickModePolicy
from .policy_text import written

__all__ = ["VERBS", "Associations", "Policies", "charon_failed", "refused"]

_SECONDS: Final = 5.0
# While an IKE SA is renewed, its associations may be listed with neither the old nor the new.
_LISTINGS: Final = 3

VERBS: Final = ("policies", "security-associations", "ike-association")


class Associations(Protocol):
    """What of `wsasec.keys.ike.Ike` is asked."""

    def associations(self, deadline: float) -> list[IkeSa]:
        """Return our IKE SAs. CharonError."""


def refused(why: str, code: Winsock, hint: str = "") -> dict[str, Any]:
    """Make the answer of what cannot be done."""
    return {"error": why, "code": int(code), "hint": hint}


def charon_failed(error: CharonError) -> dict[str, Any]:
    """Make the answer where charon does not do it."""
    return refused(
        f"the IKE daemon (charon): {error}",
        Winsock.WSAENETDOWN,
        "see wsasec status, and start it anew: wsasec down, wsasec up",
    )


class Policies:
    """Answers the verbs of sessions; for any thread."""

    def __init__(
        self,
        config: Callable[[], Config],
        ike: Associations,
        added: Callable[[], Iterable[QuickModePolicy]] = tuple,
        sas: Sas | None = None,
    ) -> None:
        """Describe it.

        Args:
            config: returns the configuration in force.
            ike: knows which IKE SAs there are.
            added: returns the policies of sessions.
            sas: the kernel's; None for those of the calling threads' network namespace.
        """
        self._config = config
        self._ike = ike
        self._added = added
        self._sas = Sas() if sas is None else sas

    def answer(self, verb: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return what is to be said."""
        try:
            match verb:
                case "policies":
                    return {
                        "policies": [
                            written(policy) for policy in described(self._config(), tuple(self._added()))
                        ]
                    }
                case "security-associations":
                    return {"associations": self._associations()}
                case _:
                    return self._ike_association(asked.get("number"))
        except CharonError as error:
            return charon_failed(error)
        except OSError as error:
            return refused(f"listing the SAs: {error.strerror or error}", Winsock.WSAENETDOWN)

    def _associations(self) -> list[dict[str, Any]]:
        config = self._config()
        # The kernel first: charon, which waits until it is done with what it is at, then knows all of these.
        sas = self._sas.of({each.profile.reqid for each in config.profiles.values()})
        for _ in range(_LISTINGS):
            ikes = self._ike.associations(time.monotonic() + _SECONDS)
            found, all_of_them = security_associations(config, sas, ikes)
            if all_of_them:
                break
        return found

    def _ike_association(self, number: object) -> dict[str, Any]:
        found = by_number(self._ike.associations(time.monotonic() + _SECONDS), number)
        config = self._config()
        if found is None or found.group not in config.profiles:
            return refused(f"there is no main mode {number}", Winsock.WSAEINVAL, "it may have ended")
        return {"association": ike_association(config, found)}
