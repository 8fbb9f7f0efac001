"""What is loaded into charon, and taken out of it again: only what has our prefix, or is known to be ours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from ..config.model import Authentication
from .connections import PREFIX, Connection
from .credentials import Credentials, pre_shared_key, private_key
from .groups import ANONYMOUS, Group
from .leftover import Leftover
from .messages import MessageError, Section, text, texts
from .reason import CharonError, Reason
from .session import RefusedError, Session

__all__ = ["Loader"]

_ANONYMOUS_SECRET: Final = PREFIX + ANONYMOUS


def _name(kind: str, data: bytes) -> str:
    return f"{PREFIX}{kind}-{hashlib.sha256(data).hexdigest()[:32]}"


class Loader:
    """Credentials and connections of one charon; for one thread at a time.

    All methods take a session and the deadline of their requests, and raise CharonError.
    """

    def __init__(self, leftover: Leftover | None = None) -> None:
        """Describe it.

        Args:
            leftover: of a charon that outlasts this process.
        """
        self._leftover = leftover
        self._keys: set[str] = set()
        self._there: dict[str, set[str]] = {}  # what must be in charon's lists, by their commands
        self._connections: set[str] = set()

    def load_credentials(
        self, session: Session, groups: Iterable[Group], credentials: Credentials, deadline: float
    ) -> None:
        """Load all that connections need, then take out what of an earlier configuration nothing needs now.

        Raises:
            ConfigError: a secret's file changed its mode.
            OSError: a secret's file cannot be read.
            CharonError: charon does not take something; the detail says what.
        """
        authorities = {_name("ca", der): der for der in credentials.all_authorities()}
        for name, der in authorities.items():
            session.request("load-authority", {name: {"cacert": der}}, deadline)
        for der in credentials.between():
            session.request("load-cert", {"type": "X509", "flag": "NONE", "data": der}, deadline)
        for der in credentials.crls():
            session.request("load-cert", {"type": "X509_CRL", "data": der}, deadline)
        keys, all_keys = self._load_keys(session, credentials, deadline)
        secrets = self._load_secrets(session, groups, deadline)

        stale = self._listed(session, "get-authorities", "authorities", deadline) - set(authorities)
        self._unload(session, "unload-authority", "name", stale, deadline)
        stale = self._listed(session, "get-shared", "keys", deadline) - secrets
        self._unload(session, "unload-shared", "id", stale, deadline)
        self._unload(session, "unload-key", "id", self._keys - keys, deadline)
        if self._leftover is not None:
            self._leftover.write(session.listener()[0], keys)
        self._keys = keys
        self._there = {"get-authorities": set(authorities), "get-shared": secrets, "get-keys": all_keys}
        # What charon concluded from the old credentials.
        session.request("flush-certs", {}, deadline)

    def _load_keys(
        self, session: Session, credentials: Credentials, deadline: float
    ) -> tuple[set[str], set[str]]:
        """Load the private keys; return charon's numbers of those that are ours alone, and of all."""
        charon, _ = session.listener() if self._leftover is not None else (0, 0)
        if self._leftover is not None:
            self._keys |= self._leftover.read(charon)
        before = set(_texts(session.request("get-keys", None, deadline), "keys")) - self._keys
        loaded: set[str] = set()
        for path in credentials.key_files():
            try:
                answer = session.request("load-key", {"type": "any", "data": private_key(path)}, deadline)
            except RefusedError as error:
                raise CharonError(error.reason, f"{path}: {error.detail}") from None
            loaded.add(_text(answer, "id"))
            if self._leftover is not None:
                self._leftover.write(charon, self._keys | loaded - before)
        return loaded - before, loaded

    def _load_secrets(self, session: Session, groups: Iterable[Group], deadline: float) -> set[str]:
        """Load the pre-shared keys; return the names under which they are known."""
        loaded = set()
        for group in groups:
            identity = group.identity
            if identity.authentication is Authentication.PSK and identity.psk is not None:
                name = _name("psk", f"{identity.psk}\0{group.key_owners()}".encode())
                message = {"id": name, "type": "IKE", "owners": list(group.key_owners())}
                session.request("load-shared", message | {"data": pre_shared_key(identity.psk)}, deadline)
                loaded.add(name)
            if group.uses_anonymous_key() and _ANONYMOUS_SECRET not in loaded:
                message = {"id": _ANONYMOUS_SECRET, "type": "IKE", "owners": [ANONYMOUS]}
                session.request("load-shared", message | {"data": ANONYMOUS}, deadline)
                loaded.add(_ANONYMOUS_SECRET)
        return loaded

    def _listed(self, session: Session, command: str, key: str, deadline: float) -> set[str]:
        """Return the names with our prefix out of one of charon's lists."""
        names = _texts(session.request(command, None, deadline), key)
        return {name for name in names if name.startswith(PREFIX)}

    def load_connections(self, session: Session, connections: Iterable[Connection], deadline: float) -> None:
        """Load connections, in place of those with the same names."""
        for connection in connections:
            try:
                session.request("load-conn", {connection.name: connection.message}, deadline)
            except RefusedError as error:
                raise CharonError(error.reason, f"connection {connection.name}: {error.detail}") from None
            self._connections.add(connection.name)

    def unload_connections(self, session: Session, names: Iterable[str], deadline: float) -> None:
        """Take connections out; those that are not there do not matter."""
        gone = set(names)
        self._unload(session, "unload-conn", "name", gone, deadline)
        self._connections -= gone

    def _unload(
        self, session: Session, command: str, key: str, names: Iterable[str], deadline: float
    ) -> None:
        """Take something out; what is not there, as somebody else has taken it out, does not matter."""
        for name in names:
            try:
                session.request(command, {key: name}, deadline)
            except RefusedError as error:
                if "not found" not in error.detail:
                    raise

    def lacks(self, session: Session, deadline: float) -> bool:
        """Tell whether something of what was loaded is there no more: somebody else has taken it out."""
        lists = {"get-authorities": "authorities", "get-shared": "keys", "get-keys": "keys"}
        for command, key in lists.items():
            wanted = self._there.get(command)
            if wanted and not wanted.issubset(_texts(session.request(command, None, deadline), key)):
                return True
        return not self._connections.issubset(self.connections(session, deadline))

    @property
    def names(self) -> set[str]:
        """Names of the connections that are loaded, unless somebody else has taken them out."""
        return set(self._connections)

    def connections(self, session: Session, deadline: float) -> set[str]:
        """Return the names of our connections that charon has."""
        return self._listed(session, "get-conns", "conns", deadline)

    def unload_all(self, session: Session, deadline: float) -> None:
        """Take everything out that is ours."""
        self.unload_connections(session, self.connections(session, deadline), deadline)
        names = self._listed(session, "get-authorities", "authorities", deadline)
        self._unload(session, "unload-authority", "name", names, deadline)
        names = self._listed(session, "get-shared", "keys", deadline)
        self._unload(session, "unload-shared", "id", names, deadline)
        self._unload(session, "unload-key", "id", self._keys, deadline)
        self._keys = set()
        if self._leftover is not None:
            self._leftover.forget()


def _texts(answer: Section, name: str) -> tuple[str, ...]:
    """Return a list out of an answer; an answer of another form is charon's failure."""
    try:
        return texts(answer, name)
    except MessageError as error:
        raise CharonError(Reason.NO_CHARON, str(error)) from error


def _text(answer: Section, name: str) -> str:
    """Return a value out of an answer; an answer of another form is charon's failure."""
    try:
        return text(answer, name)
    except MessageError as error:
        raise CharonError(Reason.NO_CHARON, str(error)) from error
