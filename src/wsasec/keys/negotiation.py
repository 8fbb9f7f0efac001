"""One negotiation: what is tried, in which order, and what became of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from ..config.model import KeyProfile
from .associations import Address, ChildSa, IkeSa, Outcome
from .connections import Connection
from .groups import Group
from .identities import matches
from .installed import Installed
from .listing import list_ike_sas, terminate_child, terminate_ike
from .loaded import Loaded
from .messages import Section, text
from .reason import CharonError, Reason
from .reasons import explain, shown_identity
from .session import RefusedError, Session

__all__ = ["GRACE", "Wanted", "negotiate"]

GRACE: Final = 1.0
"""Seconds after a negotiation's deadline until charon must have said so."""

_LINES: Final = 200
_ALIVE: Final = ("ESTABLISHED", "REKEYING", "REKEYED")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be negotiated.

    Attributes:
        group: of the profile.
        profile: for which an association is wanted.
        peer: its address.
        local: this host's; None for that which the routes say.
    """

    group: Group
    profile: KeyProfile
    peer: Address
    local: Address | None

    def served_by(self, child: ChildSa) -> bool:
        """Whether an association is of this profile, and in use."""
        return (
            child.name == self.profile.profile.name
            and child.reqid == self.profile.profile.reqid
            and child.state in ("INSTALLED", "REKEYING")
        )


class _Search:
    """Looks for the association that serves; ends what could never."""

    def __init__(self, session: Session, loaded: Loaded, installed: Installed, wanted: Wanted) -> None:
        self._session = session
        self._loaded = loaded
        self._installed = installed
        self._wanted = wanted

    def _fits(self, ike: IkeSa) -> bool:
        wanted = self._wanted
        pin = self._loaded.pinned(wanted.group.name, wanted.peer)
        return (
            ike.group == wanted.group.name
            and ike.remote == wanted.peer
            and wanted.local in (None, ike.local)
            and ike.state in _ALIVE
            and pin in (None, ike.remote_id)
        )

    def find(self, deadline: float, *, wait: bool, connection: str = "") -> Outcome | None:
        """Return it, None if there is none. See list_ike_sas() for the arguments."""
        for ike in list_ike_sas(self._session, deadline, wait=wait, connection=connection):
            for child in ike.children if self._fits(ike) else ():
                if not self._wanted.served_by(child):
                    continue
                if child.mode != "TRANSPORT":
                    terminate_ike(self._session, ike.unique_id, deadline)
                    raise CharonError(Reason.NOT_TRANSPORT, f"'{ike.remote_id}' made it {child.mode.lower()}")
                if self._installed.has(ike, child):
                    return Outcome(Reason.NONE, ike=ike, child=child)
                # The peer would still use it, and charon would make no other beside it.
                terminate_child(self._session, child.unique_id, deadline)
        return None


def _ask(session: Session, connection: Connection, child: str, lines: list[str], deadline: float) -> str:
    """Have charon negotiate; gather what it logs of it, and return what it says of a failure."""

    def each(message: Section) -> None:
        if len(lines) < _LINES:
            lines.append(text(message, "msg"))

    left = deadline - time.monotonic()
    if left <= 0:
        return "not established after 0ms"
    message = {"child": child, "ike": connection.name, "timeout": int(left * 1000) or 1, "loglevel": 1}
    try:
        session.stream("initiate", message, "control-log", each, deadline + GRACE)
    except RefusedError as error:
        return error.detail
    return ""


def negotiate(
    session: Session, loaded: Loaded, installed: Installed, wanted: Wanted, deadline: float
) -> Outcome:
    """Have an association; one that exists will do.

    Raises:
        CharonError: there is none; it says why.
        MessageError: an answer of charon's has another form.
        OSError: the kernel does not list associations.
    """
    search = _Search(session, loaded, installed, wanted)
    if found := search.find(deadline, wait=False):
        return found
    failures: list[CharonError] = []
    shown: str | None = None
    for connection in loaded.peer(session, wanted.group, wanted.peer, wanted.local, deadline):
        if shown is not None and not matches(shown, connection.way.name):
            continue
        lines: list[str] = []
        said = _ask(session, connection, wanted.profile.profile.name, lines, deadline)
        # Also after a failure: where both ends begin at once one of them fails, and has what the other made.
        late = deadline + GRACE
        found = search.find(late, wait=True, connection=connection.name) or search.find(late, wait=True)
        if found:
            loaded.worked(wanted.group, wanted.peer, connection.way)
            return found
        failure = explain(lines, said, connection.way.name)
        failures.append(failure)
        if failure.reason not in (Reason.AUTHENTICATION, Reason.OTHER_IDENTITY):
            break  # another way to show who it is would change nothing
        shown = shown_identity(lines) if failure.reason is Reason.OTHER_IDENTITY else None
    raise next((f for f in failures if f.reason is Reason.OTHER_IDENTITY), failures[0])
