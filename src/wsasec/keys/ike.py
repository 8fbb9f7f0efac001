"""IKE for this network namespace: charon with the configuration's connections."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from ..config.model import Config
from ..kernel.xfrm import SA
from ..profiles import ConfigError
from .abilities import AT_ONCE
from .associations import Address, Certificate, Event, IkeSa, Outcome
from .carrier import Carrier, KernelCarrier
from .charon import Charon
from .credentials import Credentials
from .groups import Group, groups
from .installed import Installed
from .keeper import Keeper
from .leftover import Leftover
from .listing import list_certificates, list_ike_sas, terminate_child, terminate_ike
from .loaded import Loaded
from .messages import MessageError
from .negotiation import Wanted, negotiate
from .pairs import Sas
from .pool import Pool
from .reason import CharonError, Reason
from .routes import Routes
from .session import GRACE, Session
from .sharing import require_shareable
from .strangers import Strangers
from .watcher import Watcher
from .whereabouts import Whereabouts

__all__ = ["Ike"]

_log = logging.getLogger(__name__)

_SHARED_SCHEME: Final = "unix://"
_STOP_SECONDS: Final = 5.0
_STRANGER_SECONDS: Final = 10.0


def _reason_of(error: OSError) -> CharonError:
    return CharonError(Reason.NO_CHARON, f"the kernel: {error.strerror or error}")


class Ike:
    """charon and what is loaded into it. All methods may be called from any thread.

    Deadlines are points of time.monotonic(), in seconds.
    """

    def __init__(self, folder: Path, config: Config, carrier: Carrier | None = None) -> None:
        """Describe it.

        Args:
            folder: of this daemon, writable by root only (0711): charon's files get below it.
            config: what start() loads; `config.vici` names a charon of others to share.
            carrier: who has the associations; None: the kernel.

        Raises:
            ValueError: the shared daemon's socket has another form than unix:///PATH.
        """
        self._config = config
        self._carrier: Carrier = KernelCarrier() if carrier is None else carrier
        self._charon: Charon | None = None
        self._keeper: Keeper | None = None
        leftover = None
        if config.vici is None:
            self._charon = Charon(folder / "charon", self._carrier.plugin, self._carrier.sockets)
            self._pool = Pool(self._charon.vici)
        else:
            if not config.vici.startswith(_SHARED_SCHEME + "/"):
                raise ValueError(f"vici: {config.vici!r} is not of the form unix:///PATH")
            self._pool = Pool(Path(config.vici.removeprefix(_SHARED_SCHEME)))
            leftover = Leftover(folder / "left")
        self._loaded = Loaded(leftover)
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._whereabouts = Whereabouts()
        self._callbacks: list[Callable[[Event], None]] = []
        self._watcher: Watcher | None = None
        self._strangers: Strangers | None = None
        self._routes: Routes | None = None
        self._installed: Installed | None = None

    def make_folder(self) -> None:
        """Make charon's folders, before what it finds there: an engine's control socket. Raises OSError."""
        if self._charon is not None:
            self._charon.make_folder()

    def require(self, config: Config, deadline: float) -> None:
        """Find out whether a charon of others can do what a configuration asks of it. Nothing is changed.

        Raises:
            CharonError: it cannot, or does not answer. And as start().
        """
        if self._charon is None:
            found = groups(config.profiles)
            self._require(found, Credentials(found), deadline)

    def _require(self, found: list[Group], credentials: Credentials, deadline: float) -> None:
        if self._charon is not None:
            return
        with self._session(deadline) as session:
            at_once = require_shareable(session, str(self._pool.path), found, credentials, deadline)
        self._slots = threading.BoundedSemaphore(at_once)

    def start(self, deadline: float) -> None:
        """Start charon (or find the shared one) and load the configuration. Again after its end is fine.

        It works in the network namespace of the calling thread.

        Raises:
            CharonError: it does not answer, or does not take the configuration.
            ConfigError: a file does not hold what it should.
            OSError: a file cannot be read.
            ValueError: the configuration's profiles cannot be kept apart.
        """
        found = groups(self._config.profiles)
        credentials = Credentials(found)
        self.stop()
        self._require(found, credentials, deadline)
        try:
            self._routes = Routes()
            self._installed = self._carrier.installed()
            if self._charon is not None:
                self._charon.start(deadline)
                # Of an earlier charon, which cannot renew or end them now. Not before this one has the ports.
                sas = self._carrier.sas()
                sas.remove(sas.of(self._reqids()))
            with self._session(deadline) as session:
                self._loaded.load(session, found, credentials, deadline)
            self._strangers = Strangers(self.pinned, self._end_strangers)
            self._watcher = Watcher(self._pool.path, self._happened)
            self._watcher.start(deadline)
            # Of a shared one, or begun by peers before this host could be told.
            self._whereabouts.listed(self.associations(deadline))
            if self._charon is None:
                self._keeper = Keeper(self._restore)
        except BaseException:
            self.stop()
            raise

    def _restore(self, deadline: float) -> bool:
        with self._session(deadline) as session:
            return self._loaded.restore(session, deadline)

    def load(self, config: Config, deadline: float) -> None:
        """Load another configuration, which require() has found good, in place of the present one.

        Associations stay.

        Raises:
            ValueError: it names another charon: stop and start for that. And as start().
        """
        if config.vici != self._config.vici:
            raise ValueError("vici: another IKE daemon: run wsasec down, wsasec up")
        found = groups(config.profiles)
        credentials = Credentials(found)
        with self._session(deadline) as session:
            self._loaded.load(session, found, credentials, deadline)
        self._config = config

    def stop(self) -> None:
        """End charon, and with it all associations; or take from a shared one what is ours. Twice is fine."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.close()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
        if self._charon is None and self._loaded:
            self._leave(time.monotonic() + _STOP_SECONDS)
        self._pool.close()
        if self._charon is not None:
            self._charon.stop()
        strangers, self._strangers = self._strangers, None
        if strangers is not None:
            strangers.close()
        self._loaded.forget()
        self._whereabouts.happened(Event("gone"))
        routes, self._routes = self._routes, None
        if routes is not None:
            routes.close()
        installed, self._installed = self._installed, None
        if installed is not None:
            installed.close()

    def _leave(self, deadline: float) -> None:
        """Take from a shared charon what is ours; what it does not do is not waited for."""
        try:
            with self._session(deadline) as session:
                self._loaded.unload(session, deadline)
                for ike in list_ike_sas(session, deadline, wait=True):
                    terminate_ike(session, ike.unique_id, deadline)
        except CharonError as error:
            _log.warning("%s: not everything of ours was taken out: %s", self._pool.path, error)

    @property
    def alive(self) -> bool:
        """Whether charon runs; of a shared one: whether it still holds its end of the events' session."""
        watcher = self._watcher
        return watcher is not None and watcher.alive and (self._charon is None or self._charon.alive)

    @property
    def pid(self) -> int | None:
        """Number of charon's process; None if it does not run or is shared."""
        return self._charon.pid if self._charon is not None else None

    def watch(self, callback: Callable[[Event], None]) -> None:
        """Call back for every event from a thread of its own, from start() to stop(); it must not raise."""
        self._callbacks.append(callback)

    def _happened(self, event: Event) -> None:
        self._whereabouts.happened(event)
        strangers = self._strangers
        if strangers is not None:
            strangers.happened(event)
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

    def group(self, profile: str) -> str:
        """Return the group of a profile: those of one share IKE SAs. KeyError if there is no such profile."""
        return self._loaded.group_of(profile).name

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
        group = self._loaded.group_of(profile)
        of_name = next(p for p in group.profiles if p.profile.name == profile)
        try:
            outcome = self._initiate(Wanted(group, of_name, peer, local), deadline)
        except CharonError as error:
            outcome = Outcome(error.reason, error.detail)
        return replace(outcome, seconds=time.monotonic() - begun)

    def _initiate(self, wanted: Wanted, deadline: float) -> Outcome:
        networks = wanted.profile.peers
        if networks and not any(wanted.peer in network for network in networks):
            raise CharonError(
                Reason.NEGOTIATION,
                f"{wanted.peer} is not among the peers of profile '{wanted.profile.profile.name}'",
            )
        routes, installed = self._routes, self._installed
        if routes is None or installed is None:
            raise CharonError(Reason.NO_CHARON, "it was not started")
        routes.require(wanted.peer)
        slots = self._slots
        if not slots.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise CharonError(Reason.PEER_SILENT, "too many negotiations at once: its turn did not come")
        try:
            # A negotiation that fails at the deadline still gets its reason from charon.
            with self._session(deadline + GRACE) as session:
                if self._charon is None:
                    self._loaded.restore(session, deadline)
                known = self._whereabouts.at(wanted.group.name, wanted.peer)
                return negotiate(session, self._loaded, installed, wanted, known, deadline)
        except ConfigError as error:
            raise CharonError(Reason.NEGOTIATION, str(error)) from error
        except OSError as error:
            raise _reason_of(error) from error
        finally:
            slots.release()

    def pin(self, group: str, peer: Address, identity: str, deadline: float) -> None:
        """From now on take nobody but this identity (an IKE SA's remote_id, exactly) at this address.

        What others have there at the time of the return is ended, and charon takes no more of theirs. What it
        was about to renew just then, and what gets there from elsewhere by address translation, is ended as
        soon as charon tells of it. Pins are kept when charon ends: they are there again after start().

        Raises:
            KeyError: there is no such group.
            CharonError: charon does not answer or does not take it; another identity is pinned there; the
                identity is a pattern, or none of the profile's. Nothing is pinned then that was not before.
        """
        with self._session(deadline) as session:
            new = self._loaded.pin(session, group, peer, identity, deadline)
            try:
                self._end_others(session, group, peer, identity, deadline)
            except BaseException:
                if new:
                    with suppress(CharonError):
                        self.unpin(group, peer, deadline + GRACE)
                raise

    def _end_others(
        self, session: Session, group: str, peer: Address, identity: str, deadline: float
    ) -> None:
        while True:
            # Waiting for IKE SAs at work is the barrier: those which are listed after it know of the pin.
            others = [
                ike
                for ike in list_ike_sas(session, deadline, wait=True, peer=peer)
                if ike.group == group
                and ike.remote_id != identity
                # A peer that has begun and not said who it is will be held against the pin.
                and (ike.initiator or ike.state != "CONNECTING")
            ]
            if not others:
                return
            for ike in others:
                terminate_ike(session, ike.unique_id, deadline)

    def _end_strangers(self, group: str, peer: Address) -> bool:
        deadline = time.monotonic() + _STRANGER_SECONDS
        try:
            with self._session(deadline) as session:
                identity = self._loaded.pinned(group, peer)
                if identity is not None:
                    self._end_others(session, group, peer, identity, deadline)
        except CharonError as error:
            if not self.alive:
                return True  # whoever starts it again removes what it had made
            return self.give_up(error, lambda sas: sas.every(self._reqids(), peer))
        except OSError as error:  # no descriptor, or no memory
            _log.error("another than is pinned at %s is still there: %s", peer, error)
            return False
        return True

    def unpin(self, group: str, peer: Address, deadline: float) -> None:
        """Take any identity of the profile's at this address again; nothing happens if none was pinned.

        Raises:
            CharonError: charon does not answer. The pin is forgotten here; load() makes charon forget it.
        """
        with self._session(deadline) as session:
            self._loaded.unpin(session, group, peer, deadline)

    def keep_pins(self, pins: Mapping[tuple[str, Address], str]) -> None:
        """Have an earlier process's pins count from the next start() on, before anybody can negotiate."""
        self._loaded.keep_pins(pins)

    def pinned(self, group: str, peer: Address) -> str | None:
        """Return the identity that is pinned at an address."""
        return self._loaded.pinned(group, peer)

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
            return list_ike_sas(session, deadline, wait=wait, peer=peer)

    def give_up(self, why: CharonError, endangered: Callable[[Sas], Iterable[SA]]) -> bool:
        """Take a charon that did not do what it has to for dead: nobody knows what it keeps alive.

        One of our own is killed, which watchers hear of, and all that it had made is removed: nothing is
        sent until another one has made it anew. One of others goes on.

        Args:
            why: what it answered, or that it did not.
            endangered: finds what is removed, whoever's it is.

        Returns:
            Whether all of it has ended; else the caller has to try again.
        """
        charon = self._charon
        if charon is None:
            _log.error("charon does not do what it has to, and is asked again: %s", why)
        else:
            _log.error("charon does not do what it has to, and is ended: %s", why)
            charon.kill()
        sas = self._carrier.sas()
        try:
            found = set(endangered(sas))
            if charon is not None:
                found.update(sas.of(self._reqids()))
            sas.remove(found)
        except OSError as error:
            _log.error("associations that are to end: %s", error)
            return False
        return charon is not None

    def _reqids(self) -> set[int]:
        return {each.profile.reqid for each in self._config.profiles.values()}

    def end_associations(self, reqids: Collection[int], deadline: float) -> None:
        """End all associations with some reqids, of profiles that charon has no more.

        It works in the network namespace of the calling thread. From the return on the kernel has none of
        them; what charon was about to make it may still install, and tells of by an event.

        Raises:
            CharonError: charon does not answer.
            OSError: the kernel refused, or there is no descriptor left.
        """
        sas = self._carrier.sas()
        told: set[int] = set()
        # Not only by charon, which waits for the peer before it takes them out.
        sas.remove(sas.of(reqids))
        with self._session(deadline) as session:
            while True:
                # Waiting for IKE SAs at work is the barrier, as in _end_others().
                ikes = list_ike_sas(session, deadline, wait=True)
                found = {c.unique_id for ike in ikes for c in ike.children if c.reqid in reqids} - told
                if not found:
                    break
                for number in found:
                    terminate_child(session, number, deadline)
                told |= found
        sas.remove(sas.of(reqids))

    def prepare(self, config: Config) -> None:
        """Have the next start() load another configuration, where load() cannot now."""
        self._config = config

    def certificates(self, deadline: float, subject: str | None = None) -> list[Certificate]:
        """Return X.509 certificates that charon holds: all, or those which an identity is in. CharonError."""
        with self._session(deadline) as session:
            return list_certificates(session, deadline, subject)

    def terminate(self, unique_id: int, deadline: float) -> bool:
        """End an IKE SA and its associations at once; False if it is gone already. Raises CharonError."""
        with self._session(deadline) as session:
            return terminate_ike(session, unique_id, deadline)
