"""IKE for this network namespace: charon with the configuration's connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from ..config.model import Config, KeyProfile
from .associations import Address, Certificate, ChildSa, Event, IkeSa, Outcome
from .charon import Charon
from .connections import Connection, responders
from .connections import peer as peer_connections
from .credentials import Credentials
from .groups import Group, Way, groups
from .identities import is_exact
from .loading import Loader
from .messages import MessageError, Section, text
from .parsing import certificate, ike_sas
from .pool import Pool
from .reason import CharonError, Reason
from .reasons import explain, shown_identity
from .routes import Routes
from .session import RefusedError, Session
from .watcher import Watcher

__all__ = ["Ike"]

_AT_ONCE: Final = 40
"""Negotiations that are waited for at the same time: each holds one of charon's threads."""

_LINES: Final = 200
_GRACE: Final = 1.0
_SHARED_SCHEME: Final = "unix://"
_STOP_SECONDS: Final = 5.0


class Ike:
    """charon and what is loaded into it. All methods may be called from any thread.

    Deadlines are points of time.monotonic(), in seconds.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        """Describe it.

        Args:
            folder: of this daemon, writable by root only (0711): charon's files get below it.
            config: what start() loads; `config.vici` names a charon of others to share.

        Raises:
            ValueError: the shared daemon's socket has another form than unix:///PATH.
        """
        self._config = config
        self._charon: Charon | None = None
        if config.vici is None:
            self._charon = Charon(folder / "charon")
            self._pool = Pool(self._charon.vici)
        else:
            if not config.vici.startswith(_SHARED_SCHEME + "/"):
                raise ValueError(f"vici: {config.vici!r} is not of the form unix:///PATH")
            self._pool = Pool(Path(config.vici.removeprefix(_SHARED_SCHEME)))
        self._lock = threading.RLock()
        self._loader = Loader()
        self._groups: dict[str, Group] = {}
        self._group_of: dict[str, Group] = {}
        self._credentials = Credentials(())
        self._peers: dict[tuple[str, Address, Address | None], list[Connection]] = {}
        self._pins: dict[tuple[str, Address], str] = {}
        self._worked: dict[tuple[str, Address], Way] = {}
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._callbacks: list[Callable[[Event], None]] = []
        self._watcher: Watcher | None = None
        self._routes: Routes | None = None

    # Life

    def start(self, deadline: float) -> None:
        """Start charon (or find the shared one) and load the configuration. Again after its end is fine.

        Raises:
            CharonError: it does not answer, or does not take the configuration.
            ConfigError: a file does not hold what it should.
            OSError: a file cannot be read.
            ValueError: the configuration's profiles cannot be kept apart.
        """
        found = groups(self._config.profiles)
        credentials = Credentials(found)
        self.stop()
        try:
            self._routes = Routes()
            if self._charon is not None:
                self._charon.start(deadline)
            self._load(found, credentials, deadline)
            self._watcher = Watcher(self._pool.path, self._happened)
            self._watcher.start(deadline)
        except BaseException:
            self.stop()
            raise

    def load(self, config: Config, deadline: float) -> None:
        """Load another configuration in place of the present one; associations stay.

        Raises:
            ValueError: it names another charon: stop and start for that. And as start().
        """
        if config.vici != self._config.vici:
            raise ValueError("vici: another IKE daemon: run wsasec down, wsasec up")
        found = groups(config.profiles)
        credentials = Credentials(found)
        self._load(found, credentials, deadline)
        self._config = config

    def _load(self, found: list[Group], credentials: Credentials, deadline: float) -> None:
        with self._lock, self._session(deadline) as session:
            self._loader.load_credentials(session, found, credentials, deadline)
            before = self._loader.connections(session, deadline)
            self._groups = {group.name: group for group in found}
            self._group_of = {p.profile.name: group for group in found for p in group.profiles}
            self._credentials = credentials
            self._pins = {key: pin for key, pin in self._pins.items() if key[0] in self._groups}
            self._peers.clear()
            self._worked.clear()
            now: set[str] = set()
            for group in found:
                now |= self._load_responders(session, group, deadline)
            for name, address in self._pins:
                made = self._load_peer(session, self._groups[name], address, None, deadline)
                now |= {connection.name for connection in made}
            self._loader.unload_connections(session, before - now, deadline)

    def stop(self) -> None:
        """End charon, and with it all associations; or take from a shared one what is ours. Twice is fine."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
        if self._charon is not None:
            self._pool.close()
            self._charon.stop()
        elif self._groups:
            deadline = time.monotonic() + _STOP_SECONDS
            with self._lock, suppress(CharonError), self._session(deadline) as session:
                self._loader.unload_all(session, deadline)
                for ike in self._list(session, deadline, wait=False):
                    self._terminate(session, ike.unique_id, deadline)
            self._pool.close()
        with self._lock:
            if self._routes is not None:
                self._routes.close()
                self._routes = None
            self._groups.clear()
            self._peers.clear()
            self._worked.clear()

    @property
    def alive(self) -> bool:
        """Whether charon runs; of a shared one: whether it still holds its end of the events' session."""
        watcher = self._watcher
        return watcher is not None and watcher.alive and (self._charon is None or self._charon.alive)

    @property
    def pid(self) -> int | None:
        """Charon's process; None if it does not run or is shared."""
        return self._charon.pid if self._charon is not None else None

    def watch(self, callback: Callable[[Event], None]) -> None:
        """Call back for every event from a thread of its own, from start() to stop(); it must not raise."""
        self._callbacks.append(callback)

    def _happened(self, event: Event) -> None:
        for callback in self._callbacks:
            callback(event)

    @contextmanager
    def _session(self, deadline: float) -> Iterator[Session]:
        """Lend a session; what cannot be understood of charon's answers is charon's failure."""
        try:
            with self._pool.session(deadline) as session:
                yield session
        except MessageError as error:
            raise CharonError(Reason.NO_CHARON, f"its answer has another form: {error}") from error

    # Connections

    def group(self, profile: str) -> str:
        """Return the group of a profile: those of one share IKE SAs. KeyError if there is no such profile."""
        with self._lock:
            return self._group_of[profile].name

    def _load_responders(self, session: Session, group: Group, deadline: float) -> set[str]:
        pinned = [address for name, address in self._pins if name == group.name]
        made = responders(group, self._credentials, pinned)
        self._loader.load_connections(session, made, deadline)
        return {connection.name for connection in made}

    def _ways(self, group: Group, address: Address) -> list[Way]:
        """Return the ways that are open to a peer, that which it took last at the head."""
        pin = self._pins.get((group.name, address))
        if pin is not None:
            return _ways_of(group, pin)
        ways = list(group.ways())
        worked = self._worked.get((group.name, address))
        if worked in ways:
            ways.remove(worked)
            ways.insert(0, worked)
        return ways

    def _load_peer(
        self, session: Session, group: Group, address: Address, local: Address | None, deadline: float
    ) -> list[Connection]:
        key = (group.name, address, local)
        ways = self._ways(group, address)
        present = self._peers.get(key)
        if present is not None and {c.way for c in present} == set(ways):
            return sorted(present, key=lambda connection: ways.index(connection.way))
        made = peer_connections(group, self._credentials, address, local, ways)
        self._loader.load_connections(session, made, deadline)
        stale = {c.name for c in present or ()} - {c.name for c in made}
        self._loader.unload_connections(session, stale, deadline)
        self._peers[key] = made
        return made

    # Negotiations

    def initiate(self, profile: str, peer: Address, deadline: float, local: Address | None = None) -> Outcome:
        """Have an association of a profile with a peer; one that exists already will do. Blocks.

        Args:
            profile: its name.
            peer: its address.
            deadline: for all of it.
            local: this host's address; None for that which the routes say.

        Returns:
            What became of it; also a CharonError becomes an outcome.

        Raises:
            KeyError: there is no such profile.
        """
        begun = time.monotonic()
        with self._lock:
            group = self._group_of[profile]
        wanted = next(p for p in group.profiles if p.profile.name == profile)
        try:
            outcome = self._initiate(group, wanted, peer, local, deadline)
        except CharonError as error:
            outcome = Outcome(error.reason, error.detail)
        return replace(outcome, seconds=time.monotonic() - begun)

    def _initiate(
        self, group: Group, wanted: KeyProfile, peer: Address, local: Address | None, deadline: float
    ) -> Outcome:
        if wanted.peers and not any(peer in network for network in wanted.peers):
            raise CharonError(
                Reason.NEGOTIATION, f"{peer} is not among the peers of profile {wanted.profile.name!r}"
            )
        routes = self._routes
        if routes is None:
            raise CharonError(Reason.NO_CHARON, "it was not started")
        routes.require(peer)
        if not self._slots.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise CharonError(
                Reason.PEER_SILENT, "too many negotiations at once: no turn before the deadline"
            )
        try:
            # A negotiation that fails at the deadline still gets its reason from charon.
            with self._session(deadline + _GRACE) as session:
                return self._negotiate(session, group, wanted, peer, local, deadline)
        finally:
            self._slots.release()

    def _negotiate(
        self,
        session: Session,
        group: Group,
        wanted: KeyProfile,
        peer: Address,
        local: Address | None,
        deadline: float,
    ) -> Outcome:
        if found := self._find(session, group, wanted, peer, local, deadline):
            return found
        with self._lock:
            connections = self._load_peer(session, group, peer, local, deadline)
        failures: list[CharonError] = []
        shown: str | None = None
        for connection in connections:
            if shown is not None and not _matches(shown, connection.way.name):
                continue
            lines: list[str] = []
            said = self._ask(session, connection, wanted.profile.name, lines, deadline)
            # Also after a failure: where both ends begin at once one of them fails, and has what the other made.
            found = self._find(session, group, wanted, peer, local, deadline + _GRACE, connection.name)
            found = found or self._find(session, group, wanted, peer, local, deadline + _GRACE, "")
            if found:
                with self._lock:
                    self._worked[group.name, peer] = connection.way
                return found
            failure = explain(lines, said)
            failures.append(failure)
            if failure.reason not in (Reason.AUTHENTICATION, Reason.OTHER_IDENTITY):
                break  # another way to show who it is would change nothing
            shown = shown_identity(lines) if failure.reason is Reason.OTHER_IDENTITY else None
        raise next((f for f in failures if f.reason is Reason.OTHER_IDENTITY), failures[0])

    def _ask(
        self, session: Session, connection: Connection, child: str, lines: list[str], deadline: float
    ) -> str:
        """Have charon negotiate; gather what it logs of it, and return what it says of a failure."""

        def each(message: Section) -> None:
            if len(lines) < _LINES:
                lines.append(text(message, "msg"))

        left = deadline - time.monotonic()
        if left <= 0:
            return "not established after 0ms"
        message = {"child": child, "ike": connection.name, "timeout": int(left * 1000) or 1, "loglevel": 1}
        try:
            session.stream("initiate", message, "control-log", each, deadline + _GRACE)
        except RefusedError as error:
            return error.detail
        return ""

    def _find(
        self,
        session: Session,
        group: Group,
        wanted: KeyProfile,
        peer: Address,
        local: Address | None,
        deadline: float,
        connection: str | None = None,
    ) -> Outcome | None:
        """Return the association that serves, if there is one; end those that could never.

        Without a connection IKE SAs at work are left out. With one they are waited for; "" stands for any.
        """
        with self._lock:
            pin = self._pins.get((group.name, peer))
        for ike in self._list(session, deadline, wait=connection is not None, connection=connection or ""):
            if ike.group != group.name or ike.remote != peer or local not in (None, ike.local):
                continue
            if ike.state not in ("ESTABLISHED", "REKEYING", "REKEYED") or pin not in (None, ike.remote_id):
                continue
            for child in ike.children:
                if not _serves(child, wanted):
                    continue
                if child.mode != "TRANSPORT":
                    self._terminate(session, ike.unique_id, deadline)
                    raise CharonError(Reason.NOT_TRANSPORT, f"'{ike.remote_id}' made it {child.mode.lower()}")
                return Outcome(Reason.NONE, ike=ike, child=child)
        return None

    # Pins

    def pin(self, group: str, peer: Address, identity: str, deadline: float) -> None:
        """From now on take nobody but this identity (an IKE SA's remote_id, exactly) at this address.

        What others have there at the time of the return is ended, and no more of theirs can come.

        Raises:
            KeyError: there is no such group.
            CharonError: charon does not answer or does not take it; another identity is pinned there; the
                identity is a pattern, or none of the profile's. Nothing is pinned then that was not before.
        """
        key = (group, peer)
        with self._session(deadline) as session:
            with self._lock:
                present = self._pins.get(key)
                if present is not None and present != identity:
                    raise CharonError(Reason.OTHER_IDENTITY, f"identity is '{present}' for other programs")
                if not is_exact(identity) or not _ways_of(self._groups[group], identity):
                    raise CharonError(Reason.OTHER_IDENTITY, f"'{identity}' cannot be told from others")
                if present is None:
                    self._set_pin(session, key, identity, deadline)
            try:
                self._end_others(session, group, peer, identity, deadline)
            except BaseException:
                if present is None:
                    with self._lock, suppress(CharonError):
                        self._drop_pin(key, deadline)
                raise

    def _set_pin(self, session: Session, key: tuple[str, Address], identity: str, deadline: float) -> None:
        self._pins[key] = identity
        try:
            # First what answers for the address, then the rest stops to do so.
            self._reload(session, key, deadline)
        except BaseException:
            with suppress(CharonError):
                self._drop_pin(key, deadline)
            raise

    def _reload(self, session: Session, key: tuple[str, Address], deadline: float) -> None:
        group, peer = self._groups[key[0]], key[1]
        for loaded in {entry[2] for entry in self._peers if entry[:2] == key} | {None}:
            self._load_peer(session, group, peer, loaded, deadline)
        self._load_responders(session, group, deadline)

    def _end_others(
        self, session: Session, group: str, peer: Address, identity: str, deadline: float
    ) -> None:
        while True:
            # Waiting for IKE SAs at work is the barrier: those which are listed after it know of the pin.
            others = [
                ike
                for ike in self._list(session, deadline, wait=True)
                if (ike.group, ike.remote) == (group, peer)
                and ike.remote_id != identity
                # A peer that has begun and not said who it is will be held against the pin.
                and (ike.initiator or ike.state != "CONNECTING")
            ]
            if not others:
                return
            for ike in others:
                self._terminate(session, ike.unique_id, deadline)

    def unpin(self, group: str, peer: Address, deadline: float) -> None:
        """Take any identity of the profile's at this address again; nothing happens if none was pinned.

        Raises:
            CharonError: charon does not answer. The pin is forgotten here; load() makes charon forget it.
        """
        with self._lock:
            if (group, peer) in self._pins:
                self._drop_pin((group, peer), deadline)

    def _drop_pin(self, key: tuple[str, Address], deadline: float) -> None:
        del self._pins[key]
        with self._session(deadline) as session:
            self._reload(session, key, deadline)

    def pinned(self, group: str, peer: Address) -> str | None:
        """Return the identity that is pinned at an address."""
        with self._lock:
            return self._pins.get((group, peer))

    # What there is

    def associations(self, deadline: float, peer: Address | None = None, *, wait: bool = True) -> list[IkeSa]:
        """Return our IKE SAs.

        Args:
            deadline: for all of it.
            peer: None for those of all peers.
            wait: for those that charon is working on just now; else they are left out.

        Raises:
            CharonError: charon does not answer.
        """
        with self._session(deadline) as session:
            return [ike for ike in self._list(session, deadline, wait=wait) if peer in (None, ike.remote)]

    def _list(self, session: Session, deadline: float, *, wait: bool, connection: str = "") -> list[IkeSa]:
        found: list[IkeSa] = []
        message = {"noblock": "no" if wait else "yes"} | ({"ike": connection} if connection else {})
        session.stream("list-sas", message, "list-sa", lambda each: found.extend(ike_sas(each)), deadline)
        return found

    def certificates(self, deadline: float, subject: str | None = None) -> list[Certificate]:
        """Return X.509 certificates that charon holds: all, or those which an identity is in. CharonError."""
        found: list[Certificate] = []

        def each(message: Section) -> None:
            listed = certificate(message)
            if listed is not None:
                found.append(listed)

        message = {"type": "X509"} | ({"subject": subject} if subject is not None else {})
        with self._session(deadline) as session:
            session.stream("list-certs", message, "list-cert", each, deadline)
        return found

    def terminate(self, unique_id: int, deadline: float) -> bool:
        """End an IKE SA and its associations at once; False if it is gone already. Raises CharonError."""
        with self._session(deadline) as session:
            return self._terminate(session, unique_id, deadline)

    def _terminate(self, session: Session, unique_id: int, deadline: float) -> bool:
        try:
            session.request("terminate", {"ike-id": unique_id, "force": "yes", "timeout": -1}, deadline)
        except RefusedError as error:
            if "no matching" in error.detail:
                return False
            raise
        return True


def _matches(identity: str, name: str) -> bool:
    """Whether an identity may be one of a name's; charon has the last word."""
    return name == "%any" or fnmatchcase(identity.lower(), name.lower())


def _ways_of(group: Group, identity: str) -> list[Way]:
    """Return the ways of a group that are open to one identity, and to it alone."""
    return list(dict.fromkeys(Way(w.kind, identity) for w in group.ways() if _matches(identity, w.name)))


def _serves(child: ChildSa, wanted: KeyProfile) -> bool:
    return (
        child.name == wanted.profile.name
        and child.reqid == wanted.profile.reqid
        and child.state in ("INSTALLED", "REKEYING")
    )
