"""Security associations, as the system reports them."""

from __future__ import annotations

import ipaddress
import uuid
from dataclasses import dataclass
from typing import TypeAlias

from .algorithms import Direction, Exchange, Group, Impersonation, Method
from .proposals import MainModeProposal, Transform

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class SecurityAssociation:
    """IPSEC_SA_CONTEXT1 (ipsectypes.h): one direction of protected traffic.

    Attributes:
        direction: of `Direction`.
        spi: the number in its packets.
        transform: `Transform`: its protocol and algorithms.
        pfs: of `Group`.
        local, remote: addresses; None if they are neither IPv4 nor IPv6.
        ip_protocol: socket.IPPROTO_TCP and so on; 0 for any.
        local_port, remote_port: 0 for any.
        udp_ports: local and remote port of its encapsulation in UDP, or None.
        tunnel: whether it is one of tunnel mode.
        lifetime_seconds, lifetime_bytes, lifetime_packets: it ends after any of them.
        idle_seconds: it ends after so long without traffic.
        flags: IPSEC_SA_BUNDLE_FLAG_... of ipsectypes.h.
        context_id: the same for associations that were negotiated together.
        main_mode_id: for `Session.ike_association`.
        quick_mode_id: as a query of the socket tells it.
        filter_id: of the system's filter, or tunnel policy, that it belongs to.
        lookup: ties it to the query of a socket; None if there is no such tie.

    """

    direction: Direction | int
    spi: int
    transform: Transform
    pfs: Group | int
    local: IPAddress | None
    remote: IPAddress | None
    ip_protocol: int
    local_port: int
    remote_port: int
    udp_ports: tuple[int, int] | None
    tunnel: bool
    lifetime_seconds: int
    lifetime_bytes: int
    lifetime_packets: int
    idle_seconds: int
    flags: int
    context_id: int
    main_mode_id: int
    quick_mode_id: int
    filter_id: int
    lookup: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class IkeAssociation:
    """IKEEXT_SA_DETAILS1 (iketypes.h): the result of a main mode.

    Attributes:
        number: its id.
        exchange: of `Exchange`.
        proposal: what was agreed on.
        local, remote: addresses; None if they are neither IPv4 nor IPv6.
        udp_ports: local and remote port of the encapsulation in UDP, or None.
        policy: the GUID of its main-mode policy, or None.
        initiator_cookie, responder_cookie: 64 bits each.
        credentials: (local method, its impersonation, peer's method, its impersonation) of `Method` and
            `Impersonation`, main mode first; at most 16.

    """

    number: int
    exchange: Exchange | int
    proposal: MainModeProposal
    local: IPAddress | None
    remote: IPAddress | None
    udp_ports: tuple[int, int] | None
    policy: uuid.UUID | None
    initiator_cookie: int
    responder_cookie: int
    credentials: tuple[tuple[Method | int, Impersonation | int, Method | int, Impersonation | int], ...]
