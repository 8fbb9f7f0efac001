"""Policies that sessions add, as profiles beside those of the file."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ..policy.algorithms import Exchange, Impersonation, QuickModeFlags
from ..policy.policies import QuickModePolicy
from ..profile import AH, ESP, Profile
from .described import NO_LIMIT
from .load import signal_of
from .model import KeyProfile
from .policies import QuickMode, quick_mode

__all__ = ["UnsupportedError", "key_profile", "profile_of", "supported"]

_FLAGS: Final = (
    QuickModeFlags.NAT_ENCAP_ALLOW_PEER_BEHIND_NAT
    | QuickModeFlags.NAT_ENCAP_ALLOW_GENERAL_NAT_TRAVERSAL
    | QuickModeFlags.DONT_NEGOTIATE_SECOND_LIFETIME
    | QuickModeFlags.DONT_NEGOTIATE_BYTE_LIFETIME
)
"""What charon does anyway: hosts do not agree on lifetimes by IKEv2."""


class UnsupportedError(ValueError):
    """A policy that charon, or the kernel's SAs of sockets, cannot have; the message names the member."""


def supported(policy: QuickModePolicy) -> QuickMode:
    """Return what a policy comes to. Raises UnsupportedError."""
    refusals = {
        "persistent: policies that outlive the key daemon are profiles of its file": policy.persistent,
        "flags: negotiation discovery, which lets clear text in, is not had here": (
            int(policy.flags) & ~int(_FLAGS)
        ),
        "clear_seconds: nothing is sent in clear here": policy.clear_seconds,
        "extended, impersonation: users do not authenticate here": (
            policy.extended or policy.impersonation != Impersonation.NONE
        ),
        "exchange: AUTHIP stands for what the default profile says, and there is no other": (
            policy.exchange != Exchange.AUTHIP
        ),
    }
    for why, so in refusals.items():
        if so:
            raise UnsupportedError(why)
    try:
        mode = quick_mode(policy)
    except ValueError as error:
        raise UnsupportedError(str(error)) from None
    if mode.esp and mode.ah:
        raise UnsupportedError("proposals: a socket's associations are all of ESP, or all of AH")
    return mode


def profile_of(policy: QuickModePolicy, mode: QuickMode, name: str, numbers: tuple[int, int, int]) -> Profile:
    """Return the profile that a policy is to sockets.

    Args:
        policy: with its GUID.
        mode: as supported() returned it.
        name: of the profile.
        numbers: its reqid, mark and mask.
    """
    assert policy.guid is not None  # noqa: S101
    return Profile(name, policy.guid, *numbers, mode.encrypting, AH if mode.ah else ESP)


def key_profile(policy: QuickModePolicy, profile: Profile, base: KeyProfile) -> KeyProfile:
    """Return a policy as a profile: the main mode, and who is who, are those of another one."""
    mode = supported(policy)
    packets = min(proposal.lifetime_packets for proposal in policy.proposals)
    return replace(
        base,
        profile=profile,
        esp_proposals=mode.esp,
        ah_proposals=mode.ah,
        rekey_seconds=mode.rekey_seconds,
        rekey_bytes=0 if mode.rekey_bytes >= NO_LIMIT * 1024 else mode.rekey_bytes,
        rekey_packets=0 if packets == NO_LIMIT else packets,
        idle_seconds=mode.idle_seconds,
        signal=signal_of(profile),
    )
