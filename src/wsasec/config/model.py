"""What /etc/wsasec/wsasec.toml says, as data."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

from ..profile import Profile
from .positions import Place

__all__ = [
    "ESP_PROPOSALS",
    "IKE_PROPOSALS",
    "Access",
    "Account",
    "Authentication",
    "Config",
    "Identity",
    "KeyProfile",
    "Network",
    "Revocation",
    "Trust",
]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# strongSwan's keywords. Without a group in ESP's, keys of later associations come of the IKE SA's exchange.
IKE_PROPOSALS: Final = (
    "aes256gcm16-prfsha384-ecp384-ecp256-x25519",
    "aes128gcm16-prfsha256-ecp256-x25519",
    "chacha20poly1305-prfsha256-x25519-ecp256",
)
ESP_PROPOSALS: Final = ("aes256gcm16-esn", "aes128gcm16-esn", "chacha20poly1305-esn")


class Authentication(StrEnum):
    """How this host shows who it is."""

    CERTIFICATE = "certificate"
    RAW_KEY = "raw key"
    PSK = "pre-shared key"
    ANONYMOUS = "anonymous"


class Revocation(StrEnum):
    """What is made of a certificate whose status nobody tells."""

    RELAXED = "relaxed"
    IF_URI = "ifuri"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this host is.

    Attributes:
        id: the IKE identity, as charon takes it: a DNS name, an e-mail address, a distinguished name.
        authentication: which of the rest there is.
        certificate: file with the certificate, and those between it and the CA, PEM.
        key: file with the private key, PEM; readable by its owner only.
        psk: file with the pre-shared key, readable by its owner only.
    """

    id: str
    authentication: Authentication
    certificate: Path | None = None
    key: Path | None = None
    psk: Path | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom this host believes.

    Attributes:
        ca: files of CA certificates, PEM.
        pinned: files of public keys, PEM; each is its owner's identity.
        crl: files of revocation lists, PEM or DER.
        revocation: what is made of a certificate without a status.
        anonymous: whether peers without an identity are taken.
    """

    ca: tuple[Path, ...] = ()
    pinned: tuple[Path, ...] = ()
    crl: tuple[Path, ...] = ()
    revocation: Revocation = Revocation.RELAXED
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class KeyProfile:
    """A profile, and how its keys are negotiated.

    Attributes:
        profile: its name, GUID, reqid, mark and protection.
        identity: who this host is in it.
        trust: whom it believes in it.
        ike_version: 2, or 1.
        ike_proposals: strongSwan's keywords, the one that is liked best first.
        esp_proposals: the same; () for AH.
        ah_proposals: the same; () for ESP. A profile has one of the two, as its sockets' templates do.
        ike_rekey_seconds: of the IKE SA.
        rekey_seconds: of the associations.
        rekey_bytes: of the associations; 0 for no limit.
        rekey_packets: the same; only policies of sessions have one, and no key of the file.
        idle_seconds: an association without traffic ends after this; 0 for never.
        dpd_seconds: how often a silent peer is asked whether it is there.
        peers: networks that may be reached, and may reach this host; () for all.
        names: identities that peers may have: exact ones, or patterns such as "*.example"; () for all.
        signal: by which both hosts know the profile, 0 for the plain one: port of the traffic selectors.
    """

    profile: Profile
    identity: Identity
    trust: Trust
    ike_version: int = 2
    ike_proposals: tuple[str, ...] = IKE_PROPOSALS
    esp_proposals: tuple[str, ...] = ESP_PROPOSALS
    ah_proposals: tuple[str, ...] = ()
    ike_rekey_seconds: int = 14400
    rekey_seconds: int = 3600
    rekey_bytes: int = 0
    rekey_packets: int = 0
    idle_seconds: int = 0
    dpd_seconds: int = 2
    peers: tuple[Network, ...] = ()
    names: tuple[str, ...] = ()
    signal: int = 0


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use which profiles through the key daemon without CAP_NET_ADMIN.

    Attributes:
        everyone: whether it is for all users.
        users: names or numbers.
        groups: names or numbers.
        profiles: names; () for all.
    """

    everyone: bool = False
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """Which local account stands for peers: by the whole identity, or by the domain of a DNS name.

    Attributes:
        account: name of the local account.
        identity: the peer's whole identity, or None.
        domain: every DNS name below this one, or None.
    """

    account: str
    identity: str | None = None
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """All of it.

    Attributes:
        path: the file.
        profiles: by name.
        default: name of the default profile.
        access: rules, all of which count.
        accounts: rules, of which the first that fits counts, exact ones before domains.
        vici: of a daemon of others to share: "unix:///run/charon.vici"; None to start one's own.
        first_seconds: how long the negotiation for a first connection may take, at the most.
        spin_microseconds: that a thread of the engine looks for the next packet before it sleeps; None for
            its own default.
        one_call: whether sockets on secure devices are secured by one call, where the kernel can do that.
        lines: where in the file its keys are, for errors.
    """

    path: Path
    profiles: dict[str, KeyProfile] = field(default_factory=dict)
    default: str = "default"
    access: tuple[Access, ...] = ()
    accounts: tuple[Account, ...] = ()
    vici: str | None = None
    first_seconds: float = 10.0
    spin_microseconds: int | None = None
    one_call: bool = True
    lines: dict[Place, int] = field(default_factory=dict, compare=False, repr=False)
