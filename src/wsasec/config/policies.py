"""Policies of both modes, as strongSwan's proposals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from ..policy.algorithms import Encryption, Exchange, Group, Integrity, Method, Protocol
from ..policy.checks import enum
from ..policy.policies import MainModePolicy, QuickModePolicy
from ..policy.proposals import AES_GCM, AES_GMAC, MainModeProposal, QuickModeProposal

__all__ = ["ENCRYPTION", "GROUP", "INTEGRITY", "MainMode", "QuickMode", "main_mode", "quick_mode"]

# strongSwan's keywords of what policies have names for.
ENCRYPTION: Final[dict[int, str]] = {
    Encryption.TRIPLE_DES: "3des",
    Encryption.AES_128: "aes128",
    Encryption.AES_192: "aes192",
    Encryption.AES_256: "aes256",
    Encryption.AES_GCM_128: "aes128gcm16",
    Encryption.AES_GCM_192: "aes192gcm16",
    Encryption.AES_GCM_256: "aes256gcm16",
}
INTEGRITY: Final[dict[int, str]] = {
    Integrity.MD5: "md5",
    Integrity.SHA1: "sha1",
    Integrity.SHA256: "sha256",
    Integrity.SHA384: "sha384",
    Integrity.AES_GMAC_128: "aes128gmac",
    Integrity.AES_GMAC_192: "aes192gmac",
    Integrity.AES_GMAC_256: "aes256gmac",
}
GROUP: Final[dict[int, str]] = {
    Group.MODP_768: "modp768",
    Group.MODP_1024: "modp1024",
    Group.MODP_2048: "modp2048",
    Group.MODP_2048_256: "modp2048s256",
    Group.ECP_256: "ecp256",
    Group.ECP_384: "ecp384",
}


def _word(known: dict[int, str], kind: type[IntEnum], value: int) -> str:
    if value not in known:
        raise ValueError(f"{kind.__name__.lower()}: strongSwan has no {enum(kind, value)!r}")
    return known[value]


@dataclass(frozen=True, slots=True)
class MainMode:
    """What a main-mode policy comes to.

    Attributes:
        version: of IKE, 1 or 2.
        proposals: strongSwan's keywords, in the policy's order.
        rekey_seconds: the shortest of the proposals' lifetimes: charon has one for all.
        secret: the pre-shared key; empty where there is none.
        anonymous: whether nobody has to prove anything.
    """

    version: int
    proposals: tuple[str, ...]
    rekey_seconds: int
    secret: bytes = field(repr=False)
    anonymous: bool


@dataclass(frozen=True, slots=True)
class QuickMode:
    """What a quick-mode policy comes to.

    Attributes:
        esp: strongSwan's keywords of ESP, in the policy's order.
        ah: the same of AH. A socket's SAs are all of one protocol, so it uses one of the two.
        rekey_seconds: the shortest of the proposals' lifetimes: charon has one for all.
        rekey_bytes: the same for bytes.
        idle_seconds: an SA without traffic ends after this; 0 for never.
        encrypting: whether every proposal of ESP encrypts.
        clear_seconds: traffic of sockets that may fall back goes in clear after so many seconds; 0 for never.
    """

    esp: tuple[str, ...]
    ah: tuple[str, ...]
    rekey_seconds: int
    rekey_bytes: int
    idle_seconds: int
    encrypting: bool
    clear_seconds: int


def _ike(proposal: MainModeProposal) -> str:
    encryption = _word(ENCRYPTION, Encryption, proposal.encryption)
    integrity = _word(INTEGRITY, Integrity, proposal.integrity)
    group = _word(GROUP, Group, proposal.group)
    if proposal.encryption in AES_GCM:
        return f"{encryption}-prf{integrity}-{group}"
    return f"{encryption}-{integrity}-{group}"


def main_mode(policy: MainModePolicy) -> MainMode:
    """Translate a main-mode policy.

    AuthIP, which no system but Windows has, becomes IKEv2: the proposals are the same. Certificates are
    those of the configuration.

    Raises:
        ValueError: strongSwan lacks an algorithm, or the way to authenticate (Kerberos, NTLM, ...).
    """
    methods = [authentication.method for authentication in policy.authentication]
    known = {
        Method.PRESHARED_KEY,
        Method.CERTIFICATE,
        Method.ANONYMOUS,
        Method.SSL,
        Method.CERTIFICATE_ECDSA_P256,
        Method.CERTIFICATE_ECDSA_P384,
        Method.SSL_ECDSA_P256,
        Method.SSL_ECDSA_P384,
    }
    usable = [method for method in methods if method in known]
    if not usable:
        raise ValueError(f"authentication: strongSwan has none of {[enum(Method, m) for m in methods]}")
    secrets = [item.secret for item in policy.authentication if item.method == Method.PRESHARED_KEY]
    return MainMode(
        1 if policy.exchange == Exchange.IKE else 2,
        tuple(_ike(proposal) for proposal in policy.proposals),
        min(proposal.lifetime_seconds for proposal in policy.proposals),
        secrets[0] if secrets else b"",
        usable[0] == Method.ANONYMOUS,
    )


def _child(proposal: QuickModeProposal) -> str:
    if proposal.further:
        raise ValueError("further: a socket's packets have one transform here")
    words = []
    if proposal.encryption in AES_GCM:
        words.append(_word(ENCRYPTION, Encryption, proposal.encryption))
    elif proposal.integrity in AES_GMAC:
        # ESP's name for a null cipher with GMAC is GMAC's own (RFC 4543).
        words.append(_word(INTEGRITY, Integrity, proposal.integrity))
    else:
        if proposal.protocol == Protocol.ESP:
            null = proposal.encryption == Encryption.NONE
            words.append("null" if null else _word(ENCRYPTION, Encryption, proposal.encryption))
        words.append(_word(INTEGRITY, Integrity, proposal.integrity))
    if proposal.pfs == Group.MAIN_MODE:
        raise ValueError("pfs: strongSwan makes no main mode for each quick mode; name a group")
    if proposal.pfs != Group.NONE:
        words.append(_word(GROUP, Group, proposal.pfs))
    return "-".join(words)


def _of(proposals: Iterable[QuickModeProposal], protocol: Protocol) -> tuple[str, ...]:
    return tuple(_child(proposal) for proposal in proposals if proposal.protocol == protocol)


def quick_mode(policy: QuickModePolicy) -> QuickMode:
    """Translate a quick-mode policy.

    Raises:
        ValueError: strongSwan, or the kernel's SAs of sockets, lack something.
    """
    for proposal in policy.proposals:
        if proposal.protocol not in (Protocol.ESP, Protocol.AH):
            raise ValueError("protocol: only whole connections are protected here")
    esp = [proposal for proposal in policy.proposals if proposal.protocol == Protocol.ESP]
    return QuickMode(
        _of(policy.proposals, Protocol.ESP),
        _of(policy.proposals, Protocol.AH),
        min(proposal.lifetime_seconds for proposal in policy.proposals),
        min(proposal.lifetime_bytes for proposal in policy.proposals),
        policy.idle_seconds,
        bool(esp) and all(proposal.encryption != Encryption.NONE for proposal in esp),
        policy.clear_seconds,
    )
