"""What charon has been given of the configuration, and the pins: who alone is taken at an address."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

from .associations import Address
from .connections import peer as peer_connection
from .connections import peer_name, question, responders, ways_of
from .credentials import Credentials
from .groups import Group, Way
from .identities import is_exact
from .leftover import Leftover
from .loading import Loader
from .reason import CharonError, Reason
from .session import Session

__all__ = ["Loaded"]

_PEERS: Final = 1024
"""With so many peers, whose identity is not pinned, connections to begin with stay in charon."""

_Key: TypeAlias = tuple[str, Address, Address | None]
"""Group, peer's address, and this host's if it is given."""


class Loaded:
    """Connections and credentials in one charon. For any thread; charon answers its requests at once."""

    def __init__(self, leftover: Leftover | None = None) -> None:
        """Describe it.

        Args:
            leftover: of a charon that outlasts this process.
        """
        self._lock = threading.RLock()
        self._leftover = leftover
        self._loader = Loader(leftover)
        self._begun = False
        self._groups: dict[str, Group] = {}
        self._group_of: dict[str, Group] = {}
        self._credentials = Credentials(())
        self._peers: dict[_Key, dict[str, Way]] = {}
        self._unpinned: OrderedDict[_Key, None] = OrderedDict()
        self._questions = itertools.count()
        self._pins: dict[tuple[str, Address], str] = {}
        self._worked: dict[tuple[str, Address], Way] = {}

    def __bool__(self) -> bool:
        """Whether anything was loaded, or an attempt was made."""
        return self._begun

    def load(self, session: Session, groups: list[Group], credentials: Credentials, deadline: float) -> None:
        """Load all, in place of what was loaded before.

        Pins stay; those of groups that there are not now count again when there are.

        Raises:
            CharonError: charon does not answer, or does not take something.
            ConfigError, OSError: a secret cannot be read any more.
        """
        with self._lock:
            self._begun = True
            self._loader.load_credentials(session, groups, credentials, deadline)
            before = self._loader.connections(session, deadline)
            self._groups = {group.name: group for group in groups}
            self._group_of = {p.profile.name: group for group in groups for p in group.profiles}
            self._credentials = credentials
            self._peers.clear()
            self._unpinned.clear()
            self._worked.clear()
            now: set[str] = set()
            for group in groups:
                now |= self._load_responders(session, group, deadline)
            for name, address in self._pins:
                if name in self._groups:
                    now |= self._load_pinned(session, self._groups[name], address, None, deadline)
            self._loader.unload_connections(session, (before | self._loader.names) - now, deadline)

    def restore(self, session: Session, deadline: float) -> bool:
        """Load all again if somebody else has taken something of it out; return whether that was so.

        Raises:
            CharonError: charon does not answer, or does not take something.
            ConfigError, OSError: a secret cannot be read any more.
        """
        with self._lock:
            if not self._groups or not self._loader.lacks(session, deadline):
                return False
            self.load(session, list(self._groups.values()), self._credentials, deadline)
            return True

    def unload(self, session: Session, deadline: float) -> None:
        """Take out of a shared charon what is ours. Raises CharonError."""
        with self._lock:
            self._loader.unload_all(session, deadline)

    def forget(self) -> None:
        """Forget what was loaded: charon is gone. Pins stay, for the next."""
        with self._lock:
            self._begun = False
            self._loader = Loader(self._leftover)
            self._groups.clear()
            self._peers.clear()
            self._unpinned.clear()
            self._worked.clear()

    def group_of(self, profile: str) -> Group:
        """Return the group of a profile. KeyError if there is no such profile."""
        with self._lock:
            return self._group_of[profile]

    def _load_responders(self, session: Session, group: Group, deadline: float) -> set[str]:
        pinned = [address for name, address in self._pins if name == group.name]
        made = responders(group, self._credentials, pinned)
        self._loader.load_connections(session, made, deadline)
        if not made:
            # No address is left to them: what answered until now would go on answering for all.
            before = responders(group, self._credentials, ())
            self._loader.unload_connections(session, [c.name for c in before], deadline)
        return {connection.name for connection in made}

    def _open(self, group: Group, address: Address) -> list[Way]:
        pin = self._pins.get((group.name, address))
        return list(group.ways()) if pin is None else ways_of(group, self._credentials, pin)

    def ways(self, group: Group, address: Address) -> list[Way]:
        """Return the ways that are open to a peer, the first one to try first."""
        with self._lock:
            ways = self._open(group, address)
            worked = self._worked.get((group.name, address))
            return sorted(ways, key=lambda way: way != worked)

    def has_worked(self, group: Group, address: Address, way: Way) -> bool:
        """Whether this was the way by which the peer got in last."""
        with self._lock:
            return self._worked.get((group.name, address)) == way

    def _load_way(
        self,
        session: Session,
        group: Group,
        address: Address,
        local: Address | None,
        number: int,
        deadline: float,
    ) -> str:
        """Load the connection for a peer, by one of the ways that are open to it; return its name."""
        way = self._open(group, address)[number]
        key = group.name, address, local
        present = self._peers.setdefault(key, {})
        name = peer_name(group, address, local, number)
        if present.get(name) != way:
            made = peer_connection(group, self._credentials, address, local, way, number)
            self._loader.load_connections(session, [made], deadline)
            present[name] = way
        self._unpinned.pop(key, None)
        if key[:2] not in self._pins:
            self._unpinned[key] = None
        self._unload_oldest(session, deadline)
        return name

    def _unload_oldest(self, session: Session, deadline: float) -> None:
        """Take out what began with peers long ago: associations do without, and charon looks through all."""
        while len(self._unpinned) > _PEERS:
            key, _ = self._unpinned.popitem(last=False)
            self._worked.pop(key[:2], None)
            self._loader.unload_connections(session, self._peers.pop(key, ()), deadline)

    def _load_pinned(
        self, session: Session, group: Group, address: Address, local: Address | None, deadline: float
    ) -> set[str]:
        """Load the connections for a peer whose identity is pinned, and no others; return their names."""
        ways = self._open(group, address)
        names = {
            self._load_way(session, group, address, local, number, deadline) for number in range(len(ways))
        }
        self._unload_others(session, (group.name, address, local), names, deadline)
        return names

    def _unload_others(self, session: Session, key: _Key, names: set[str], deadline: float) -> None:
        present = self._peers.get(key, {})
        self._loader.unload_connections(session, present.keys() - names, deadline)
        self._peers[key] = {name: way for name, way in present.items() if name in names}

    def _require(self, group: Group) -> None:
        if self._groups.get(group.name) is not group:
            raise CharonError(Reason.NEGOTIATION, "the configuration was changed meanwhile")

    def peer(
        self,
        session: Session,
        group: Group,
        address: Address,
        local: Address | None,
        way: Way,
        deadline: float,
    ) -> str:
        """Load the connection by which to negotiate with a peer in one way; return its name.

        Raises:
            CharonError: charon does not take it, or the way is not open to the peer any more.
        """
        with self._lock:
            self._require(group)
            try:
                number = self._open(group, address).index(way)
            except ValueError:
                raise CharonError(Reason.NEGOTIATION, "who may be there was changed meanwhile") from None
            return self._load_way(session, group, address, local, number, deadline)

    @contextmanager
    def question(
        self, session: Session, group: Group, address: Address, local: Address | None, deadline: float
    ) -> Iterator[str]:
        """Have a connection by which to see who a peer is, and no more, for a while; its name.

        Raises:
            CharonError: charon does not take it, or the configuration was changed meanwhile.
        """
        with self._lock:
            self._require(group)
            made = question(group, self._credentials, address, local, next(self._questions))
            self._loader.load_connections(session, [made], deadline)
        try:
            yield made.name
        finally:
            if not session.broken:
                with self._lock:
                    self._loader.unload_connections(session, [made.name], deadline)

    def worked(self, group: Group, address: Address, way: Way) -> None:
        """Try this way first from now on."""
        with self._lock:
            self._worked[group.name, address] = way

    def keep_pins(self, pins: Mapping[tuple[str, Address], str]) -> None:
        """Have what an earlier process pinned count from load() on, also who is not trusted any more."""
        with self._lock:
            self._pins.update(pins)

    def pinned(self, group: str, address: Address) -> str | None:
        """Return the identity that is pinned at an address; None also if there is no such group."""
        with self._lock:
            return self._pins.get((group, address)) if group in self._groups else None

    def pin(self, session: Session, group: str, address: Address, identity: str, deadline: float) -> bool:
        """Have charon take nobody but an identity at an address; False if it does so already.

        Raises:
            KeyError: there is no such group.
            CharonError: charon does not take it; another identity is pinned there; it is a pattern, or not
                one of the group's. Nothing is pinned then that was not before.
        """
        with self._lock:
            present = self._pins.get((group, address))
            if present is not None and present != identity:
                raise CharonError(Reason.OTHER_IDENTITY, f"identity is '{present}' for other programs")
            if not is_exact(identity) or not ways_of(self._groups[group], self._credentials, identity):
                raise CharonError(Reason.OTHER_IDENTITY, f"identity '{identity}' cannot be told from others")
            if present is not None:
                return False
            self._pins[group, address] = identity
            try:
                self._reload(session, group, address, deadline)
            except BaseException:
                del self._pins[group, address]
                raise
            return True

    def unpin(self, session: Session, group: str, address: Address, deadline: float) -> None:
        """Have charon take any identity at an address again. CharonError: it is unpinned all the same."""
        with self._lock:
            if self._pins.pop((group, address), None) is not None and group in self._groups:
                self._reload(session, group, address, deadline)

    def _reload(self, session: Session, group: str, address: Address, deadline: float) -> None:
        # First what answers for the address, then the rest begins or stops to do so.
        of = self._groups[group]
        keys = {key for key in self._peers if key[:2] == (group, address)}
        if (group, address) in self._pins:
            for key in keys | {(group, address, None)}:
                self._load_pinned(session, of, address, key[2], deadline)
            self._load_responders(session, of, deadline)
        else:
            self._load_responders(session, of, deadline)
            for key in keys:
                self._unload_others(session, key, set(), deadline)
                del self._peers[key]
                self._unpinned.pop(key, None)
