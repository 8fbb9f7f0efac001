"""Policies that sessions have added: which there are, whose they are, and their numbers."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from ..config.added import key_profile, profile_of, supported
from ..config.model import Config, KeyProfile
from ..kernel.policies import marks_in_use
from ..policy.policies import QuickModePolicy
from ..profile import Profile
from ..profiles import clash, distinct

__all__ = ["Added", "Entry", "Session", "TakenError"]

# A mark has its own value in the upper half of the bits: the lower half stays the host's.
_MASK: Final = 0xFFFF0000
_LOWEST_REQID: Final = 0x80000000
_AT_ONCE: Final = 128  # beside those of the file: a process has 256 profiles
_EVER: Final = 1000  # each leaves its guard in the kernel


class TakenError(ValueError):
    """There is no place for a policy: its GUID is another's, or no number is left."""


class Session:
    """A program's session; two are never equal.

    Attributes:
        dynamic: its policies end with it.
        ended: it has ended.
    """

    def __init__(self, dynamic: bool) -> None:
        self.dynamic = dynamic
        self.ended = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A policy, which has a GUID, and the profile that it is; of dynamic ones also whose they are."""

    policy: QuickModePolicy
    profile: Profile
    session: Session | None = None


class Added:
    """The policies of one daemon; for one thread at a time.

    A profile's numbers are never another's, also not after its end: sockets that have them may be there
    still, and would go on in the other's associations. A policy that is added anew, the same in all, gets its
    own back.
    """

    def __init__(self, marks: Callable[[], set[tuple[int, int]]] = marks_in_use) -> None:
        """Describe it.

        Args:
            marks: returns the marks that policies in the kernel are for; every guard of an earlier profile,
                also of an earlier daemon, is among them. Raises OSError.
        """
        self._marks = marks
        self._entries: dict[uuid.UUID, Entry] = {}
        self._before: dict[QuickModePolicy, Profile] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries.values()))

    def get(self, guid: uuid.UUID) -> Entry | None:
        """Return a policy by its GUID."""
        return self._entries.get(guid)

    def merged(self, config: Config, entries: Iterable[Entry] | None = None) -> Config:
        """Return a configuration of the file with the policies, or with other ones.

        Raises:
            TakenError: a profile of the file cannot be told from one of them.
        """
        profiles = dict(config.profiles)
        base = config.profiles[config.default]
        for entry in self if entries is None else entries:
            made = key_profile(entry.policy, entry.profile, base)
            for old in profiles.values():
                if why := _like(made, old):
                    raise TakenError(f"policy {entry.policy.name!r}: {why}")
            profiles[made.profile.name] = made
        return replace(config, profiles=profiles)

    def entry(self, config: Config, policy: QuickModePolicy, session: Session) -> Entry:
        """Make an entry of a policy, which is not added yet.

        Raises:
            UnsupportedError: the policy is none that there can be here.
            TakenError: its GUID is taken, or there are too many.
            OSError: the kernel does not say which marks it has.
        """
        assert policy.guid is not None  # noqa: S101
        mode = supported(policy)
        if policy.guid in self._entries:
            raise TakenError(f"a policy has this GUID: {self._entries[policy.guid].policy.name!r}")
        if len(self._entries) >= _AT_ONCE:
            raise TakenError(f"there are {_AT_ONCE} policies of sessions: delete some")
        profile = self._before.get(policy)
        if profile is None:
            if len(self._before) >= _EVER:
                raise TakenError(
                    f"{_EVER} policies have been added since the key daemon has begun: a policy that is "
                    "added again is no new one if it has the GUID that it had"
                )
            name = f"session-{policy.guid}"
            profile = profile_of(policy, mode, name, self._numbers(config))
        return Entry(policy, profile, session if session.dynamic else None)

    def _numbers(self, config: Config) -> tuple[int, int, int]:
        """Return a reqid, a mark and its mask that nothing has, nor has had."""
        others = [*self._before.values(), *(each.profile for each in config.profiles.values())]
        used = {(each.mark, each.mask) for each in others}
        # Those of others that have none of our bits are no matter of these.
        used |= {(mark, mask) for mark, mask in self._marks() if mask & _MASK}
        for value in range(0xFFFF, 0, -1):
            if all(distinct((value << 16, _MASK), other) for other in used):
                break
        else:
            raise TakenError("no firewall mark is left: the marks of the file's profiles have too few bits")
        # By chance, as nothing remembers those of earlier daemons: there are 2**31.
        while (reqid := _LOWEST_REQID | secrets.randbits(31)) in {each.reqid for each in others}:
            pass
        return reqid, value << 16, _MASK

    def put(self, entry: Entry) -> None:
        """Take note that a policy was added."""
        assert entry.policy.guid is not None  # noqa: S101
        self._entries[entry.policy.guid] = entry
        self._before[entry.policy] = entry.profile

    def drop(self, entries: Iterable[Entry]) -> None:
        """Take note that policies have ended."""
        for entry in entries:
            assert entry.policy.guid is not None  # noqa: S101
            self._entries.pop(entry.policy.guid, None)


def _like(new: KeyProfile, old: KeyProfile) -> str | None:
    """Say why two profiles could not be told apart."""
    if new.profile.name == old.profile.name:
        return f"profile {old.profile.name!r} has its name"
    if new.signal == old.signal and new.profile.guid != old.profile.guid:
        return f"guid: by chance other hosts would take it for that of profile {old.profile.name!r}"
    return clash(new.profile, old.profile)
