"""The configuration's profiles as policies of both modes, in the form that `wsasec.policy` reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import product
from typing import Any, Final

from ..policy.algorithms import Encryption, Exchange, Group, Impersonation, Integrity, Method, Protocol
from ..policy.checks import UNKNOWN
from ..policy.policies import MAIN, QUICK, QuickModePolicy
from . import policies
from .model import Authentication, Config, KeyProfile

__all__ = [
    "ENCRYPTION",
    "GROUP",
    "INTEGRITY",
    "NO_LIMIT",
    "RAW_KEY",
    "Described",
    "described",
    "kilobytes",
    "methods",
]

Described = tuple[Any, ...]

_KILOBYTE: Final = 1024

NO_LIMIT: Final = 0xFFFFFFFF
"""What is told where there is none: a policy has a limit always, and this is the greatest."""

RAW_KEY: Final = UNKNOWN + 14
"""What stands for raw keys, which Windows has not: IKEv2's number of signatures, behind UNKNOWN."""

# What has no name among the policies' algorithms has IKEv2's number behind UNKNOWN.
ENCRYPTION: Final[Mapping[str, int]] = {
    **{word: int(number) for number, word in policies.ENCRYPTION.items()},
    "null": int(Encryption.NONE),
    "chacha20poly1305": UNKNOWN + 28,
}
INTEGRITY: Final[Mapping[str, int]] = {
    **{word: int(number) for number, word in policies.INTEGRITY.items()},
    "sha512": UNKNOWN + 14,
}
GROUP: Final[Mapping[str, int]] = {
    **{word: int(number) for number, word in policies.GROUP.items()},
    "modp1536": UNKNOWN + 5,
    "modp3072": UNKNOWN + 15,
    "modp4096": UNKNOWN + 16,
    "modp6144": UNKNOWN + 17,
    "modp8192": UNKNOWN + 18,
    "ecp521": UNKNOWN + 21,
    "x25519": UNKNOWN + 31,
    "curve25519": UNKNOWN + 31,
    "x448": UNKNOWN + 32,
}


def _known(words: Iterable[str], numbers: Mapping[str, int]) -> list[int]:
    return [numbers[word] for word in words if word in numbers]


def kilobytes(octets: int) -> int:
    """Return how a limit of so many bytes is told, 0 being none: of less than one kilobyte there is one."""
    return min(-(-octets // _KILOBYTE), NO_LIMIT) if octets else NO_LIMIT


def _proposal(transform: tuple[int, int, int], group: int, *limits: int) -> tuple[Any, ...]:
    return (transform,), group, *limits, 0


def _main(profile: KeyProfile) -> Iterator[tuple[Any, ...]]:
    """Make the proposals of the IKE SA: each keyword's, as one may name several algorithms."""
    for proposal in profile.ike_proposals:
        words = proposal.split("-")
        hashes = _known(words, INTEGRITY) or _known((w.removeprefix("prf") for w in words), INTEGRITY)
        for encryption, integrity, group in product(_known(words, ENCRYPTION), hashes, _known(words, GROUP)):
            yield _proposal((0, encryption, integrity), group, profile.ike_rekey_seconds, 0, 0)


def _quick(profile: KeyProfile) -> Iterator[tuple[Any, ...]]:
    """Make the proposals of the associations."""
    protocol = Protocol.AH if profile.ah_proposals else Protocol.ESP
    for proposal in profile.ah_proposals or profile.esp_proposals:
        words = proposal.split("-")
        for encryption, integrity, group in product(
            _known(words, ENCRYPTION) or [int(Encryption.NONE)],
            _known(words, INTEGRITY) or [int(Integrity.NONE)],
            _known(words, GROUP) or [int(Group.NONE)],
        ):
            transform = int(protocol), encryption, integrity
            limits = kilobytes(profile.rekey_bytes), profile.rekey_packets or NO_LIMIT
            yield _proposal(transform, group, profile.rekey_seconds, *limits)


def methods(profile: KeyProfile) -> Iterator[tuple[int, int]]:
    """Return in which ways peers may show who they are, of `Method`, and how many roots each has."""
    trust = profile.trust
    if profile.identity.authentication is Authentication.PSK:
        yield int(Method.PRESHARED_KEY), 0
    else:
        if trust.ca:
            yield int(Method.CERTIFICATE), len(trust.ca)
        if trust.pinned:
            yield RAW_KEY, 0
    if trust.anonymous:
        yield int(Method.ANONYMOUS), 0


def _described(profile: KeyProfile) -> Iterator[Described]:
    """Make the policies of a profile: both have its GUID, which selects them both."""
    first = profile.ike_version == 1
    head = profile.profile.guid.bytes_le, profile.profile.name
    impersonation = int(Impersonation.NONE)
    authentication = tuple((method, 0, 0, 0, roots) for method, roots in methods(profile))
    kind = MAIN[Exchange.IKE if first else Exchange.IKEV2]
    yield (*head, kind, True, 0, impersonation, 0, 0, 0, 0, 0, authentication, tuple(_main(profile)))
    kind = QUICK[Exchange.IKE if first else Exchange.AUTHIP]
    idle = profile.idle_seconds
    yield (*head, kind, True, 0, impersonation, 0, 0, 0, idle, 0, (), tuple(_quick(profile)))


def described(config: Config, added: Collection[QuickModePolicy] = ()) -> list[Described]:
    """Return the policies of a configuration, those of the default profile first.

    Each profile is two policies, main mode and quick mode, with the profile's GUID and name. Quick modes of
    IKEv2 count as AuthIP's, which are what the keys of sockets are for.

    Args:
        config: whose.
        added: policies that some of its profiles were made of, which are told as they are.
    """
    of_sessions = {policy.guid: policy for policy in added}
    profiles = sorted(config.profiles.values(), key=lambda each: each.profile.name != config.default)
    found: list[Described] = []
    for profile in profiles:
        main, quick = _described(profile)
        policy = of_sessions.get(profile.profile.guid)
        if policy is None:
            found += main, quick
        else:
            key, _, kind, _, *rest = main
            found += (key, policy.name, kind, False, *rest), policy._described(profile.profile.guid)
    return found
