"""Policies that have a name of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .algorithms import Encryption, Group, Integrity, Method, Protocol, QuickModeFlags
from .authentication import Authentication
from .policies import MainModePolicy, QuickModePolicy
from .proposals import MainModeProposal, QuickModeProposal


@dataclass(frozen=True, slots=True)
class PolicyPair:
    """What a socket needs: policies for both modes."""

    main_mode: MainModePolicy
    quick_mode: QuickModePolicy


def _windows_vista_default() -> PolicyPair:
    hour, gigabyte = 3600, 1 << 30

    def proposal(encryption: Encryption, protocol: Protocol = Protocol.ESP) -> QuickModeProposal:
        return QuickModeProposal(encryption, Integrity.SHA1, protocol, hour, 55 * gigabyte)

    main_mode = MainModePolicy(
        "windows-vista-default",
        (
            MainModeProposal(Encryption.AES_128, Integrity.SHA1, Group.ECP_256, 2 * hour),
            MainModeProposal(Encryption.TRIPLE_DES, Integrity.SHA1, Group.MODP_1024, 2 * hour),
        ),
        (Authentication(Method.ANONYMOUS),),
    )
    quick_mode = QuickModePolicy(
        "windows-vista-default",
        (
            proposal(Encryption.NONE),
            proposal(Encryption.AES_128),
            proposal(Encryption.TRIPLE_DES),
            proposal(Encryption.NONE, Protocol.AH),
        ),
        flags=QuickModeFlags.ND_BOUNDARY,
        clear_seconds=10,
        idle_seconds=300,
        idle_failover_seconds=60,
        extended=(Authentication(Method.SSL), Authentication(Method.KERBEROS), Authentication(Method.SSL)),
    )
    return PolicyPair(main_mode, quick_mode)


WINDOWS_VISTA_DEFAULT: Final = _windows_vista_default()
"""What Windows Vista is documented to use where there are no settings and no administrator's policy.

It is weak: it likes integrity without encryption best, goes over to clear text after 10 seconds without an
answer, does not authenticate hosts, and has SHA-1, 3DES and a group of 1,024 bits. It is here for peers that
know nothing else, and is never used unless it is named."""

_NAMED: Final = {"windows-vista-default": WINDOWS_VISTA_DEFAULT}


def named(name: str) -> PolicyPair:
    """Return the policies of a name: "windows-vista-default" is `WINDOWS_VISTA_DEFAULT`, which is weak.

    Raises:
        ValueError: there are none of this name.

    """
    try:
        return _NAMED[name]
    except KeyError:
        raise ValueError(f"no policies are named {name!r}; known: {', '.join(_NAMED)}") from None
