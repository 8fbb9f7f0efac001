"""Groups: the profiles that share IKE SAs, as they have the same identity, trust and settings of IKE."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeAlias

from ..config.model import Authentication, Identity, KeyProfile

__all__ = ["ANONYMOUS", "Group", "Way", "groups"]

ANONYMOUS = "anonymous"
"""The identity of those who have none, and the pre-shared key that everybody knows."""

_PATTERN = re.compile(r"[*?\[]")
"""What fnmatchcase() takes for more than itself."""

_NAMED = ("ca", "psk")
"""Kinds of ways that a profile's names are about."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which peers may show who they are.

    Attributes:
        kind: "ca", "pinned", "psk" or "anonymous".
        name: the identity, or pattern, that they must have; "%any" for all.
    """

    kind: str
    name: str = "%any"

    @property
    def exact(self) -> bool:
        """Whether it is for one of the names that a profile has."""
        return self.kind in _NAMED and "*" not in self.name and "%" not in self.name

    @property
    def pattern(self) -> bool:
        """Whether it is for several of the names that a profile has."""
        return self.kind in _NAMED and not self.exact


@dataclass(frozen=True, slots=True)
class Group:
    """Profiles that share IKE SAs.

    Attributes:
        name: that of the first.
        profiles: all, in the configuration's order.
        known_by_own_id: whether charon may look its pre-shared key up by this host's identity, too.
    """

    name: str
    profiles: tuple[KeyProfile, ...]
    known_by_own_id: bool = False

    @property
    def first(self) -> KeyProfile:
        """That which stands for what all have in common."""
        return self.profiles[0]

    @property
    def identity(self) -> Identity:
        """Who this host is."""
        return self.first.identity

    def ways(self) -> tuple[Way, ...]:
        """Return the ways that are open to peers, the first one to try first; () if it believes nobody."""
        trust = self.first.trust
        names = self.first.names or ("%any",)
        if self.identity.authentication is Authentication.PSK:
            open_to = [Way("psk", name) for name in names]
        else:
            # Keys are named one by one: no name says more.
            open_to = [Way("ca", name) for name in names if trust.ca] + [Way("pinned")] * bool(trust.pinned)
        return (*open_to, *[Way(ANONYMOUS, ANONYMOUS)] * trust.anonymous)

    def uses_anonymous_key(self) -> bool:
        """Whether the key that everybody knows is needed."""
        return self.first.trust.anonymous or self.identity.authentication is Authentication.ANONYMOUS

    def key_owners(self) -> tuple[str, ...]:
        """Return whom charon takes the pre-shared key from; () for anybody.

        These are the peers, not this host: when a peer begins without saying whom it wants, charon looks the
        key up before it knows who it is itself.
        """
        names = self.first.names
        if any("*" in name or "%" in name for name in names):
            return ()
        # With its own it has the key also for a peer that it does not know yet.
        return (*names, self.identity.id) if names and self.known_by_own_id else names

    @property
    def can_ask(self) -> bool:
        """Whether peers can be asked who they are before they are asked for a name."""
        if self.first.ike_version != 2:  # in which the first name that is tried tells it
            return False
        return self.identity.authentication is not Authentication.PSK or self.known_by_own_id


def _common(profile: KeyProfile) -> tuple[object, ...]:
    return (
        *(profile.identity, profile.trust, profile.ike_version, profile.ike_proposals),
        *(profile.ike_rekey_seconds, profile.dpd_seconds, profile.peers, profile.names),
    )


def _taking(group: Group) -> Callable[[str], bool]:
    """Return what says of an identity whether one who knows a key could be a peer of a group by it."""
    names = {name.lower() for name in group.first.names or ("*",)}
    patterns = {name for name in names if _PATTERN.search(name)}
    # Either end's identity is good for a key.
    exact = names - patterns | {group.identity.id.lower()}

    def takes(identity: str) -> bool:
        return identity.lower() in exact or any(fnmatchcase(identity.lower(), name) for name in patterns)

    return takes


_Keyed: TypeAlias = list[tuple[Group, Callable[[str], bool]]]
"""Groups with pre-shared keys, and whom they take."""


def _may_be_known_by_own_id(group: Group, keyed: _Keyed) -> bool:
    """Whether nobody could enter other groups by its key if this host's identity were enough for that."""
    if group.identity.authentication is not Authentication.PSK or group.first.ike_version != 2:
        return False
    return not any(
        takes(group.identity.id) for other, takes in keyed if other.identity.psk != group.identity.psk
    )


def _check_shared(found: list[Group], keyed: _Keyed) -> None:
    """Raise ValueError if a peer could get into another group than its own.

    All pre-shared keys are in one charon, which takes any that has the peer's identity, or its own, among its
    owners. So a peer that knows the key of one group could use it in another that takes that identity; and
    everybody knows the key of the anonymous.
    """
    anonymous = any(group.uses_anonymous_key() for group in found)
    for group, takes in keyed:
        if anonymous and not group.first.trust.anonymous and takes(ANONYMOUS):
            raise ValueError(
                f"profile {group.name!r}: names: other profiles take anonymous peers, who could use this one "
                "too: name its peers"
            )
        for other, _ in keyed:
            if group.identity.psk == other.identity.psk:
                continue
            owners = other.key_owners()
            if not owners or any(map(takes, owners)):
                raise ValueError(
                    f"profile {group.name!r}: names: profile {other.name!r} has another pre-shared key, by "
                    "which its peers could use this one, too: name the peers of both, each without patterns, "
                    "and none in both"
                )


def groups(profiles: Mapping[str, KeyProfile]) -> list[Group]:
    """Return the groups of a configuration's profiles.

    Raises:
        ValueError: a group believes nobody, or a peer of one could get into another.
    """
    members: dict[tuple[object, ...], list[KeyProfile]] = {}
    for profile in profiles.values():
        members.setdefault(_common(profile), []).append(profile)
    found = [Group(together[0].profile.name, tuple(together)) for together in members.values()]
    for group in found:
        if not group.ways():
            raise ValueError(
                f"profile {group.name!r}: trust: it believes nobody: name a CA, keys, or anonymous"
            )
    keyed = [(g, _taking(g)) for g in found if g.identity.authentication is Authentication.PSK]
    _check_shared(found, keyed)
    return [replace(group, known_by_own_id=_may_be_known_by_own_id(group, keyed)) for group in found]
