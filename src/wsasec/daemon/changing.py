"""Policies that sessions add and delete: what is asked, and the configuration that comes of it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final, Protocol

from ..config.added import UnsupportedError
from ..config.model import Config
from ..constants import Winsock
from ..errors import SecurityError
from ..keys.associations import Event
from ..keys.reason import CharonError
from ..policy.policies import QuickModePolicy
from ..policy.reported import policy_of
from ..profile import Profile
from ..profiles import ConfigError
from .added import Added, Entry, Session, TakenError
from .policies import charon_failed, refused
from .policy_text import read
from .server import Asked, Kept

__all__ = ["VERBS", "Changer", "Changing"]

VERBS: Final = ("policy-session", "add-policy", "delete-policy", "end-session")
_FILE: Final = "policies that stay are profiles: write [profile.NAME] into {}, and run wsasec reload"
_ENDED: Final = "the session has ended"


class Changer(Protocol):
    """Who has a configuration in force; its methods are called with `Changing.lock` held."""

    def change(self, config: Config) -> None:
        """Have another one in force, or the old one if that fails: it raises what reloading does."""

    def withdraw(self, config: Config, reqids: Collection[int]) -> None:
        """Have one with less profiles in force, whatever fails, and end the associations of the others."""

    def tell(self, added: Iterable[Profile]) -> None:
        """Have programs know of all profiles that are not the file's."""


class Changing:
    """The configuration of the file with the policies of sessions.

    Attributes:
        lock: held while either changes.
    """

    def __init__(self, config: Config, changer: Changer, added: Added | None = None) -> None:
        """Describe it.

        Args:
            config: of the file.
            changer: has it in force already.
            added: None for none so far.
        """
        self.lock = threading.Lock()
        self._file = config
        self._changer = changer
        self._added = Added() if added is None else added
        self._gone: set[int] = set()

    def policies(self) -> Iterator[QuickModePolicy]:
        """Return the policies that were added."""
        return (entry.policy for entry in self._added)

    def reload(self, config: Config) -> None:
        """Have another file's configuration in force, with the policies; lock is held.

        Raises:
            TakenError: it has a profile that cannot be told from one of them. And as `Changer.change`.
        """
        self._changer.change(self._added.merged(config))
        self._file = config
        self._tell()

    def _tell(self) -> None:
        self._changer.tell([entry.profile for entry in self._added])

    def over(self, event: Event) -> frozenset[int]:
        """Return the reqids of policies that are no more, but which charon has made associations of."""
        if not event.up or event.ike is None:
            return frozenset()
        return frozenset(child.reqid for child in event.ike.children if child.reqid in self._gone)

    def gone(self, reqids: Collection[int]) -> frozenset[int]:
        """Return those of them whose policies are no more; lock is held."""
        return frozenset(self._gone.intersection(reqids))

    def answer(self, verb: str, question: dict[str, Any], asked: Asked) -> Callable[[], dict[str, Any]]:
        """Return what answers, in another thread."""
        session = _session_of(asked.kept, question, self._ended)
        match verb:
            case "add-policy":
                return lambda: self._refusing(lambda: self._add(question, session))
            case "delete-policy":
                return lambda: self._refusing(lambda: self._delete(question, session))
            case "end-session":
                return lambda: self._refusing(lambda: self._ended(session))
        return dict  # who may ask this may ask the others

    def _refusing(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return work()
        except UnsupportedError as error:
            return refused(str(error), Winsock.WSAEOPNOTSUPP, _FILE.format(self._file.path))
        except SecurityError as error:
            return refused(str(error.strerror), error.winsock, error.hint)
        except CharonError as error:
            return charon_failed(error)
        except (TakenError, ConfigError, OSError, ValueError) as error:
            return refused(str(error), Winsock.WSAEINVAL)

    def _add(self, question: dict[str, Any], session: Session) -> dict[str, Any]:
        policy = _policy(question)
        with self.lock:
            if session.ended:
                raise TakenError(_ENDED)
            entry = self._added.entry(self._file, policy, session)
            self._changer.change(self._added.merged(self._file, [*self._added, entry]))
            self._added.put(entry)
            self._gone.discard(entry.profile.reqid)
            self._tell()
        made = entry.profile
        numbers = made.reqid, made.mark, made.mask, made.encrypting, made.protocol, made.carrier
        return {"profile": (made.name, made.guid.hex, *numbers)}

    def _delete(self, question: dict[str, Any], session: Session) -> dict[str, Any]:
        guid = uuid.UUID(str(question.get("guid")))
        with self.lock:
            entry = self._added.get(guid)
            if entry is None:
                if any(each.profile.guid == guid for each in self._file.profiles.values()):
                    raise UnsupportedError("it is a profile of the configuration")
                raise TakenError(f"there is no policy {guid}")
            if entry.session not in (None, session):
                raise TakenError("it is a policy of another session, with which it ends")
            self._withdraw([entry])
        return {}

    def _ended(self, session: Session) -> dict[str, Any]:
        with self.lock:
            session.ended = True
            self._withdraw([entry for entry in self._added if entry.session is session])
        return {}

    def _withdraw(self, entries: Iterable[Entry]) -> None:
        entries = list(entries)
        if not entries:
            return
        self._added.drop(entries)
        reqids = {entry.profile.reqid for entry in entries}
        self._gone |= reqids
        self._changer.withdraw(self._added.merged(self._file), reqids)
        self._tell()


def _session_of(kept: Kept, question: dict[str, Any], ended: Callable[[Session], object]) -> Session:
    """Return the session of a connection, which begins with the first question."""
    if isinstance(kept.what, Session):
        return kept.what
    session = Session(question.get("dynamic") is not False)
    kept.what = session
    kept.at_end = lambda: ended(session)
    return session


def _policy(question: dict[str, Any]) -> QuickModePolicy:
    """Read a policy. ValueError: it is none."""
    try:
        policy = policy_of(read(question["policy"]))
        policy._check()
    except (KeyError, TypeError, StopIteration) as error:
        raise ValueError(f"no policy: {error!r}") from None
    if not isinstance(policy, QuickModePolicy):
        raise UnsupportedError("main modes are the configuration's: what is added has the default profile's")
    return policy
