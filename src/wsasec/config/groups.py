"""Which profiles charon, as the responder, can tell apart."""

from __future__ import annotations

from itertools import product
from typing import Final

from .model import Authentication, Identity, KeyProfile, Network

__all__ = ["SHARED", "clash"]

_IKE: Final = ("ike_version", "ike_proposals", "ike_rekey_seconds", "dpd_seconds")
_FEW: Final = 16

SHARED: Final = (*_IKE, "identity", "trust", "peers", "names")
"""What profiles of one connection have in common."""


def _share_peers(a: tuple[Network, ...], b: tuple[Network, ...]) -> bool:
    if not a or not b:
        return True
    if len(a) * len(b) <= _FEW:
        return any(x.version == y.version and x.overlaps(y) for x, y in product(a, b))
    spans = sorted(
        (network.version, int(network.network_address), int(network.broadcast_address), which)
        for which, networks in enumerate((a, b))
        for network in networks
    )
    # As far as those of each that have begun go: there may be thousands.
    reach = {(version, which): -1 for version in (4, 6) for which in (0, 1)}
    for version, first, last, which in spans:
        if reach[version, 1 - which] >= first:
            return True
        reach[version, which] = max(reach[version, which], last)
    return False


def _share_name(a: str, b: str) -> bool:
    """Tell whether some identity may fit both."""
    a, b = a.lower(), b.lower()
    if "=" in a + b:  # distinguished names, whose patterns are not taken apart here
        return a == b or "*" in a + b
    if a.startswith("*") and b.startswith("*"):
        return a[1:].endswith(b[1:]) or b[1:].endswith(a[1:])
    if a.startswith("*"):
        return b.endswith(a[1:])
    return a.endswith(b[1:]) if b.startswith("*") else a == b


def _share_names(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    if not a or not b or {name.lower() for name in a} & {name.lower() for name in b}:
        return True
    patterns = [[name for name in names if "*" in name] for names in (a, b)]
    # Of exact names only the same are shared: there may be thousands.
    return any(_share_name(x, y) for x, y in (*product(patterns[0], b), *product(a, patterns[1])))


def _shown(identity: Identity) -> object:
    """Return what stands for the identity that charon shows to peers: `id` is not that of all."""
    if identity.authentication == Authentication.ANONYMOUS:
        return Authentication.ANONYMOUS
    return identity.key if identity.authentication == Authentication.RAW_KEY else identity.id.lower()


def clash(new: KeyProfile, old: KeyProfile) -> tuple[str, str] | None:
    """Say why the responder could not tell which of two profiles is meant.

    A peer names this host's identity and its own. Profiles with one identity are told apart by the peer's
    address; or, where all of their IKE settings are the same, by the peer's name. If they differ in nothing
    of the kind, they are one connection, and told apart by the profile's signal.

    Returns:
        The key that is about it, and the reason; or None if they can be told apart.
    """
    differ = [key for key in SHARED if getattr(new, key) != getattr(old, key)]
    if not differ or _shown(new.identity) != _shown(old.identity) or not _share_peers(new.peers, old.peers):
        return None
    key = differ[0]
    named = Authentication.PSK not in (new.identity.authentication, old.identity.authentication)
    if key not in _IKE and named and not _share_names(new.names, old.names):
        return None
    identity = "identity" if key in _IKE else "identity's id"
    return key, (
        f"profile {old.profile.name!r} has this {identity} and another {key}: peers could get either; "
        "give it an identity of its own, or peers that are not the other's"
    )
