"""Associations in the form that `wsasec.policy` reads, as far as JSON can hold it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, Final

from ..config.described import ENCRYPTION, GROUP, INTEGRITY, NO_LIMIT, RAW_KEY, kilobytes
from ..config.model import Authentication, Config, KeyProfile
from ..kernel.xfrm import SA
from ..policy.algorithms import (
    Direction,
    Encryption,
    Exchange,
    Group,
    Impersonation,
    Integrity,
    Method,
    Protocol,
)
from ..policy.checks import UNKNOWN
from .algorithms import name_of
from .associations import Address, ChildSa, IkeSa
from .groups import ANONYMOUS
from .identities import is_key
from .known import PROVEN

__all__ = ["by_number", "ike_association", "security_associations"]

_HASHES: Final = ("md5", "sha1", "sha256", "sha384", "sha512")
# By charon's names; ciphers of AES are the same for all sizes of keys.
_CIPHERS: Final = {
    (name_of(word), int(word[3:6]) if word.startswith("aes") else 0): number
    for word, number in ENCRYPTION.items()
    if word != "null"
}
_INTEGRITY: Final = {
    name: INTEGRITY[word] for word in _HASHES for name in (name_of(word), name_of(f"prf{word}"))
}
_GROUPS: Final = {name_of(word): number for word, number in GROUP.items()}
_NO_CIPHER: Final = ("", "NULL", "NULL_AES_GMAC")
_GMAC: Final = "GMAC"
_IKE_PORT: Final = 500


def _encryption(name: str, bits: int) -> int:
    if name in _NO_CIPHER:
        return int(Encryption.NONE)
    return _CIPHERS.get((name, bits), _CIPHERS.get((name, 0), UNKNOWN))


def _integrity(child: ChildSa) -> int:
    """Return the number of an association's own integrity, that of GMAC also where it is called a cipher."""
    if child.encryption == "NULL_AES_GMAC":
        return INTEGRITY.get(f"aes{child.encryption_bits}gmac", UNKNOWN)
    if child.integrity.endswith(_GMAC):  # AES_256_GMAC, of AH
        return INTEGRITY.get(child.integrity.replace("_", "").lower(), UNKNOWN)
    return _INTEGRITY.get(child.integrity, UNKNOWN) if child.integrity else int(Integrity.NONE)


def _group(name: str) -> int:
    if not name:
        return int(Group.NONE)
    return _GROUPS.get(name, UNKNOWN)


def _udp_ports(ike: IkeSa) -> tuple[int, int]:
    # IKE goes over to the other port where addresses are translated; what it carries goes there, too.
    return (0, 0) if ike.ports[0] == _IKE_PORT else ike.ports


def _one(sa: SA, ike: IkeSa, child: ChildSa, idle_seconds: int) -> dict[str, Any]:
    inward = sa.spi == child.spi_in and ipaddress.ip_address(sa.dst) == ike.local
    local, remote = (sa.dst, sa.src) if inward else (sa.src, sa.dst)
    protocol = Protocol.AH if sa.proto == "ah" else Protocol.ESP
    return {
        "context_id": child.unique_id,
        "main_mode_id": ike.unique_id,
        "filter_id": sa.reqid,
        "quick_mode_id": child.unique_id,
        "direction": int(Direction.INBOUND if inward else Direction.OUTBOUND),
        "spi": sa.spi,
        "flags": 0,
        "tunnel": sa.mode == "tunnel",
        "group": _group(child.dh_group),
        "transform": (int(protocol), _encryption(child.encryption, child.encryption_bits), _integrity(child)),
        "lifetime_seconds": sa.hard_seconds or NO_LIMIT,
        "lifetime_kilobytes": kilobytes(sa.hard_bytes),
        "lifetime_packets": min(sa.hard_packets or NO_LIMIT, NO_LIMIT),
        "idle_seconds": idle_seconds,
        "local": local,
        "remote": remote,
        "ip_protocol": 0,
        "local_port": 0,
        "remote_port": 0,
        "udp_ports": _udp_ports(ike) if child.in_udp else (0, 0),
    }


def security_associations(
    config: Config, sas: Iterable[SA], ikes: Iterable[IkeSa]
) -> tuple[list[dict[str, Any]], bool]:
    """Return the kernel's SAs that IKE SAs have made, and whether those are all of them."""
    makers: dict[tuple[Address, int], tuple[IkeSa, ChildSa]] = {}
    for ike in ikes:
        for child in ike.children:
            makers[ike.local, child.spi_in] = makers[ike.remote, child.spi_out] = ike, child
    idle = {each.profile.reqid: each.idle_seconds for each in config.profiles.values()}
    found, all_of_them = [], True
    for sa in sas:
        maker = makers.get((ipaddress.ip_address(sa.dst), sa.spi))
        if maker is None:
            all_of_them = False
        else:
            found.append(_one(sa, *maker, idle.get(sa.reqid, 0)))
    return found, all_of_them


def by_number(ikes: Iterable[IkeSa], number: object) -> IkeSa | None:
    """Return the IKE SA with a number, if it is one whose peer has proven who it is."""
    return next((ike for ike in ikes if ike.unique_id == number and ike.state in PROVEN), None)


def _method(authentication: Authentication) -> int:
    return {
        Authentication.CERTIFICATE: int(Method.CERTIFICATE),
        Authentication.RAW_KEY: RAW_KEY,
        Authentication.PSK: int(Method.PRESHARED_KEY),
        Authentication.ANONYMOUS: int(Method.ANONYMOUS),
    }[authentication]


def _peer_method(profile: KeyProfile, identity: str) -> int:
    if identity == ANONYMOUS and profile.trust.anonymous:
        return int(Method.ANONYMOUS)
    if profile.identity.authentication is Authentication.PSK:
        return int(Method.PRESHARED_KEY)
    return RAW_KEY if is_key(identity) else int(Method.CERTIFICATE)


def ike_association(config: Config, ike: IkeSa) -> dict[str, Any]:
    """Return an IKE SA. KeyError: the configuration has no such profile any more."""
    profile = config.profiles[ike.group]
    none = int(Impersonation.NONE)
    proposal = (
        0,
        _encryption(ike.encryption, ike.encryption_bits),
        _INTEGRITY.get(ike.integrity or ike.prf, UNKNOWN),
    )
    own, peer = _method(profile.identity.authentication), _peer_method(profile, ike.remote_id)
    return {
        "number": ike.unique_id,
        "cookies": ike.spis,
        "policy": profile.profile.guid.hex,
        "key_module": int(Exchange.IKE if ike.version == 1 else Exchange.IKEV2),
        "credentials": [(own, none, peer, none)],
        "proposal": ((proposal,), _group(ike.dh_group), profile.ike_rekey_seconds, 0, 0, 0),
        "local": str(ike.local),
        "remote": str(ike.remote),
        "udp_ports": _udp_ports(ike),
    }
