"""What keeps policies on this system: Windows' base filtering engine, or the key daemon of Linux."""

from __future__ import annotations

import sys
from typing import Any, Protocol

__all__ = ["Engine", "open_session"]

_Subnet = tuple[bytes, int] | None


class Engine(Protocol):
    """A session with it, in tuples and numbers; not for two threads at once."""

    def close(self) -> None:
        """End it; more than once is no error."""

    def add(self, policy: tuple[Any, ...]) -> None:
        """Add a policy as `wsasec.policy` describes it."""

    def delete(self, key: bytes) -> None:
        """Delete the policy with this GUID (UUID.bytes_le)."""

    def policies(self) -> list[tuple[Any, ...]]:
        """Return policies, as add() takes them, but with numbers of root certificates for secrets."""

    def associations(self, local: _Subnet, remote: _Subnet) -> list[dict[str, Any]]:
        """Return what `reported.association` takes."""

    def ike_association(self, number: int, lookup: bytes | None) -> dict[str, Any]:
        """Return what `reported.ike_association` takes."""


def open_session(dynamic: bool) -> Engine:
    """Begin a session. Raises SecurityError."""
    if sys.platform == "win32":
        from .. import _wsasec

        return _wsasec.PolicySession(dynamic)
    # Imported here: most programs have no session.
    from ..daemon.policy_session import PolicySession

    return PolicySession(dynamic)
