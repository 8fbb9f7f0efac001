"""One negotiation: what is tried, in which order, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from ..config.model import KeyProfile
from .associations import Address, ChildSa, IkeSa, Outcome
from .groups import Group, Way
from .installed import Installed
from .listing import end_child, list_ike_sas, terminate_ike
from .loaded import Loaded
from .messages import Section, text
from .reason import CharonError, Reason
from .reasons import explain, shown_identity
from .session import GRACE, RefusedError, Session
from .tries import ask_first, named_so, order

__all__ = ["Wanted", "negotiate"]

_LINES: Final = 200
_TIMED_OUT: Final = "not established after"
_TIMES: Final = 16
"""How often one way is tried where what came of it is not said: as often as the peer ends other pairs."""
_FEW: Final = 4
_ALIVE: Final = ("ESTABLISHED", "REKEYING", "REKEYED")
_OTHER_WAYS: Final = (Reason.AUTHENTICATION, Reason.OTHER_IDENTITY)
"""Failures after which another way to show who it is may change something."""
_NOBODY_THERE: Final = (Reason.PEER_SILENT, Reason.UNREACHABLE, Reason.NO_PROPOSAL, Reason.NO_CHARON)
"""Failures of the question after which nothing else is worth a try."""


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
    """Looks for the association that serves; ends what could never.

    Attributes:
        again: whether it was not there, and is worth to be asked for once more: one that the kernel has not
            got was in the way, or the peer is still being asked.
    """

    def __init__(self, session: Session, loaded: Loaded, installed: Installed, wanted: Wanted) -> None:
        self._session = session
        self._loaded = loaded
        self._installed = installed
        self._wanted = wanted
        self.again = False

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

    def known(self, numbers: Collection[int], deadline: float) -> Outcome | None:
        """Return it if it is among these IKE SAs, by charon's numbers; None if it is not."""
        # Every question is work for as many as charon has: of many one is asked for all.
        few = numbers if len(numbers) <= _FEW else [0]
        for number in few:
            listed = list_ike_sas(
                self._session, deadline, wait=False, unique_id=number, peer=self._wanted.peer
            )
            if found := self._among(listed, deadline):
                return found
        return None

    def made(self, connection: str, deadline: float) -> Outcome | None:
        """Return what was negotiated just now: by a connection, or by the peer at the same time."""
        self.again = False
        # charon waits here for all that it is working on: what it has made is in the kernel after this.
        listed = list_ike_sas(self._session, deadline, wait=True, connection=connection)
        if found := self._among(listed, deadline):
            return found
        # charon takes the end of any pair of an IKE SA, by the peer's will, for that of the one asked for.
        self.again |= any(ike.asking and ike.state in _ALIVE for ike in listed)
        wanted = self._wanted
        if not self._installed.any(wanted.profile.profile.reqid, wanted.local, wanted.peer):
            return None
        listed = list_ike_sas(self._session, deadline, wait=True, peer=wanted.peer)
        return self._among(listed, deadline)

    def _among(self, ikes: Iterable[IkeSa], deadline: float) -> Outcome | None:
        for ike in ikes:
            for child in ike.children if self._fits(ike) else ():
                if not self._wanted.served_by(child):
                    continue
                if child.mode != "TRANSPORT":
                    terminate_ike(self._session, ike.unique_id, deadline)
                    raise CharonError(Reason.NOT_TRANSPORT, f"'{ike.remote_id}' made it {child.mode.lower()}")
                if self._installed.has(ike, child):
                    return Outcome(Reason.NONE, ike=ike, child=child)
                # The peer would still use it, and charon would make no other beside it.
                end_child(self._session, child.unique_id, deadline)
                # charon's events had not told of its end yet.
                self.again = True
        return None


def _ask(
    session: Session, message: dict[str, object], lines: list[str], began: float, deadline: float
) -> str:
    """Have charon negotiate; gather what it logs of it, and return what it says of a failure, "" for none."""

    def each(message: Section) -> None:
        if len(lines) < _LINES:
            lines.append(text(message, "msg"))

    now = time.monotonic()
    left = deadline - now
    if left <= 0:
        # What came before took all of it.
        return f"{_TIMED_OUT} {int((now - began) * 1000)}ms"
    message = message | {"timeout": int(left * 1000) or 1, "loglevel": 1}
    try:
        session.stream("initiate", message, "control-log", each, deadline + GRACE)
    except RefusedError as error:
        return error.detail
    return ""


def _give_up(session: Session, connection: str, deadline: float) -> None:
    """End what charon has begun with a peer and would go on repeating, by default for minutes.

    The next attempt would join it, and wait for its next repetition, where a new one is heard at once.
    """
    for ike in list_ike_sas(session, deadline, wait=False, connection=connection):
        if ike.initiator and ike.state == "CONNECTING":
            terminate_ike(session, ike.unique_id, deadline)


class _Negotiation:
    """One after the other of what there is to try."""

    def __init__(
        self, session: Session, loaded: Loaded, installed: Installed, wanted: Wanted, deadline: float
    ) -> None:
        self._session = session
        self._loaded = loaded
        self._wanted = wanted
        self._began = time.monotonic()
        self._deadline = deadline
        self._search = _Search(session, loaded, installed, wanted)
        self._failures: list[CharonError] = []

    def run(self, known: Collection[int]) -> Outcome:
        if found := self._search.known(known, self._deadline):
            return found
        ways = self._loaded.ways(self._wanted.group, self._wanted.peer)
        may_ask = self._wanted.group.can_ask
        shown: str | None = None
        while ways:
            if may_ask and ask_first(ways) and not self._has_worked(ways[0]):
                may_ask = False
                ways = self._asked(ways)
                continue
            way = ways.pop(0)
            if shown is not None and not named_so(shown, way):
                continue
            lines: list[str] = []
            if found := self._try(way, lines):
                return found
            failure = self._failures[-1]
            if failure.reason not in _OTHER_WAYS:
                break
            shown = shown_identity(lines) if failure.reason is Reason.OTHER_IDENTITY else None
        raise next((f for f in self._failures if f.reason is Reason.OTHER_IDENTITY), self._failures[0])

    def _has_worked(self, way: Way) -> bool:
        return self._loaded.has_worked(self._wanted.group, self._wanted.peer, way)

    def _asked(self, ways: list[Way]) -> list[Way]:
        """Ask the peer who it is; return what to try then."""
        wanted, session = self._wanted, self._session
        lines: list[str] = []
        late = self._deadline + GRACE
        with self._loaded.question(session, wanted.group, wanted.peer, wanted.local, late) as name:
            said = _ask(session, {"ike": name}, lines, self._began, self._deadline)
            if not said:
                # It has a name that there is not; charon took it, with nothing below it.
                for ike in list_ike_sas(session, late, wait=True, connection=name):
                    terminate_ike(session, ike.unique_id, late)
            elif _TIMED_OUT in said:
                _give_up(session, name, late)
        shown = shown_identity(lines)
        if shown is None:
            self._failures.append(explain(lines, said))
            if self._failures[-1].reason in _NOBODY_THERE:
                return []
        elif not any(named_so(shown, way) for way in ways):
            self._failures.append(
                CharonError(Reason.OTHER_IDENTITY, f"identity is '{shown}', none of the profile's names")
            )
        return order(ways, shown)

    def _try(self, way: Way, lines: list[str]) -> Outcome | None:
        """Negotiate in one way; remember how it failed."""
        wanted, session = self._wanted, self._session
        late = self._deadline + GRACE
        name = self._loaded.peer(session, wanted.group, wanted.peer, wanted.local, way, late)
        message: dict[str, object] = {"child": wanted.profile.profile.name, "ike": name}
        for _ in range(_TIMES):
            lines.clear()
            said = _ask(session, message, lines, self._began, self._deadline)
            # Also after a failure: where both ends begin at once one of them fails, and has what the other
            # made.
            found = self._search.made(name, late)
            if found or _TIMED_OUT in said or not self._search.again:
                break
        if found:
            self._loaded.worked(wanted.group, wanted.peer, way)
            return found
        if _TIMED_OUT in said:
            _give_up(session, name, late)
        self._failures.append(explain(lines, said, way.name))
        return None


def negotiate(
    session: Session,
    loaded: Loaded,
    installed: Installed,
    wanted: Wanted,
    known: Collection[int],
    deadline: float,
) -> Outcome:
    """Have an association; one that exists will do.

    Args:
        session: with charon.
        loaded: what it was given.
        installed: what the kernel has.
        wanted: what is to be negotiated.
        known: charon's numbers of IKE SAs that there are with the peer already.
        deadline: for all of it.

    Raises:
        CharonError: there is none; it says why.
        MessageError: an answer of charon's has another form.
        OSError: the kernel does not list associations.
    """
    return _Negotiation(session, loaded, installed, wanted, deadline).run(known)
