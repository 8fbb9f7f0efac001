"""From what the system reports to objects, which need not be such as would be taken."""

from __future__ import annotations

import ipaddress
import uuid
from dataclasses import fields
from typing import Any, Final, TypeVar

from .algorithms import (
    Direction,
    Encryption,
    Exchange,
    Group,
    Impersonation,
    Integrity,
    MainModeFlags,
    Method,
    Protocol,
    QuickModeFlags,
    Roots,
)
from .associations import IkeAssociation, IPAddress, SecurityAssociation
from .authentication import Authentication
from .checks import UNKNOWN, enum
from .policies import MAIN, QUICK, MainModePolicy, Policy, QuickModePolicy
from .proposals import MainModeProposal, QuickModeProposal, Transform

_Reported = TypeVar("_Reported")

_KILOBYTE: Final = 1024


def _reported(kind: type[_Reported], **values: Any) -> _Reported:
    """Make an object of what the system says, which need not be what this library would take."""
    made = object.__new__(kind)
    for item in fields(kind):  # type: ignore[arg-type]
        object.__setattr__(made, item.name, values[item.name])
    return made


def _transform(kind: type[_Reported], packed: tuple[int, int, int], **more: Any) -> _Reported:
    protocol, encryption, integrity = packed
    return _reported(
        kind,
        encryption=enum(Encryption, encryption),
        integrity=enum(Integrity, integrity),
        protocol=enum(Protocol, protocol),
        **more,
    )


def _quick_mode_proposal(described: tuple[Any, ...]) -> QuickModeProposal:
    transforms, group, seconds, kilobytes, packets, _ = described
    first, *further = transforms or [(UNKNOWN, 0, 0)]
    return _transform(
        QuickModeProposal,
        first,
        lifetime_seconds=seconds,
        lifetime_bytes=kilobytes * _KILOBYTE,
        lifetime_packets=packets,
        pfs=enum(Group, group),
        further=tuple(_transform(Transform, packed) for packed in further),
    )


def _main_mode_proposal(described: tuple[Any, ...]) -> MainModeProposal:
    ((_, encryption, integrity),), group, seconds, _, _, limit = described
    return _reported(
        MainModeProposal,
        encryption=enum(Encryption, encryption),
        integrity=enum(Integrity, integrity),
        group=enum(Group, group),
        lifetime_seconds=seconds,
        quick_mode_limit=limit,
    )


def _authentication(described: tuple[int, int, int, int, int]) -> Authentication:
    method, flags, inbound, outbound, root_count = described
    return _reported(
        Authentication,
        method=enum(Method, method),
        flags=flags,
        inbound_roots=enum(Roots, inbound),
        outbound_roots=enum(Roots, outbound),
        secret=b"",
        root_count=root_count,
    )


def policy_of(described: tuple[Any, ...]) -> Policy:
    """Make a policy of what the boundary tells."""
    key, name, kind, persistent, flags, impersonation = described[:6]
    filters, retransmit, clear, idle, failover = described[6:11]
    authentication = tuple(map(_authentication, described[11]))
    common = {
        "name": name,
        "guid": uuid.UUID(bytes_le=key),
        "impersonation": enum(Impersonation, impersonation),
        "persistent": persistent,
    }
    for exchange, number in MAIN.items():
        if kind == number:
            return _reported(
                MainModePolicy,
                **common,
                exchange=exchange,
                flags=MainModeFlags(flags),
                proposals=tuple(map(_main_mode_proposal, described[12])),
                authentication=authentication,
                dynamic_filters=filters,
                retransmit_seconds=retransmit,
            )
    return _reported(
        QuickModePolicy,
        **common,
        exchange=next(exchange for exchange, number in QUICK.items() if kind == number),
        flags=QuickModeFlags(flags),
        proposals=tuple(map(_quick_mode_proposal, described[12])),
        clear_seconds=clear,
        idle_seconds=idle,
        idle_failover_seconds=failover,
        extended=authentication,
    )


def _address(packed: bytes) -> IPAddress | None:
    return ipaddress.ip_address(packed) if packed else None


def _guid(packed: bytes) -> uuid.UUID | None:
    return uuid.UUID(bytes_le=packed) if any(packed) else None


def association(found: dict[str, Any]) -> SecurityAssociation:
    """Make a security association of what the boundary tells."""
    kilobytes = found.pop("lifetime_kilobytes")
    return SecurityAssociation(
        direction=enum(Direction, found.pop("direction")),
        transform=_transform(Transform, found.pop("transform")),
        pfs=enum(Group, found.pop("group")),
        local=_address(found.pop("local")),
        remote=_address(found.pop("remote")),
        udp_ports=ports if any(ports := found.pop("udp_ports")) else None,
        lifetime_bytes=kilobytes * _KILOBYTE,
        lookup=_guid(found.pop("lookup")),
        **found,
    )


def ike_association(found: dict[str, Any]) -> IkeAssociation:
    """Make the result of a main mode of what the boundary tells."""
    initiator, responder = found["cookies"]
    return IkeAssociation(
        number=found["number"],
        exchange=enum(Exchange, found["key_module"]),
        proposal=_main_mode_proposal(found["proposal"]),
        local=_address(found["local"]),
        remote=_address(found["remote"]),
        udp_ports=found["udp_ports"] if any(found["udp_ports"]) else None,
        policy=_guid(found["policy"]),
        initiator_cookie=initiator,
        responder_cookie=responder,
        credentials=tuple(
            (
                enum(Method, pair[0]),
                enum(Impersonation, pair[1]),
                enum(Method, pair[2]),
                enum(Impersonation, pair[3]),
            )
            for pair in found["credentials"]
        ),
    )
