"""What charon has: IKE SAs, the associations below them, and certificates."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Address", "Certificate", "ChildSa", "Event", "IkeSa", "Outcome"]

from .reason import Reason

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class ChildSa:
    """A pair of security associations.

    Attributes:
        name: of the child configuration: the profile's name.
        unique_id: charon's number of it.
        state: "INSTALLED", "REKEYED", "REKEYING", "DELETING", "CREATED", ...
        reqid: the profile's.
        mode: "TRANSPORT", or what the peer insisted on.
        protocol: "ESP" or "AH".
        spi_in: of what comes in, in the host's byte order.
        spi_out: of what goes out.
        encryption: charon's name, such as "AES_GCM_16"; "" for none.
        encryption_bits: of the key; 0 where the algorithm has but one.
        integrity: charon's name, such as "HMAC_SHA1_96"; "" for an AEAD.
        dh_group: of the exchange that made its keys, such as "ECP_384"; "" for the IKE SA's own.
        esn: whether sequence numbers are extended.
        bytes_in: that came in.
        bytes_out: that went out.
        packets_in: that came in.
        packets_out: that went out.
        age: seconds since it was installed.
        rekey_in: seconds; None: never, or not known. It may be negative: it should have been.
        life_in: seconds until it ends whatever happens; None: never, or not known.
        local_ts: traffic selectors.
        remote_ts: traffic selectors.
        in_udp: whether its packets are encapsulated in UDP.
    """

    name: str
    unique_id: int
    state: str
    reqid: int
    mode: str
    protocol: str
    spi_in: int
    spi_out: int
    encryption: str
    encryption_bits: int
    integrity: str
    dh_group: str
    esn: bool
    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int
    age: int
    rekey_in: int | None
    life_in: int | None
    local_ts: tuple[str, ...]
    remote_ts: tuple[str, ...]
    in_udp: bool = False


@dataclass(frozen=True, slots=True)
class IkeSa:
    """An IKE SA: the connection between the two IKE daemons.

    Attributes:
        connection: name of its connection.
        group: of the profiles it is for.
        unique_id: charon's number of it.
        state: "ESTABLISHED", "CONNECTING", "REKEYING", "REKEYED", "DELETING", ...
        version: of IKE.
        initiator: whether this host began.
        local: this host's address.
        remote: the peer's.
        local_id: who this host is in it.
        remote_id: who the peer is; "%any" as long as it is not known. Proven only when ESTABLISHED.
        encryption: charon's name.
        encryption_bits: of the key; 0 where the algorithm has but one.
        integrity: charon's name; "" for an AEAD.
        prf: charon's name.
        dh_group: charon's name.
        age: seconds since it was established.
        rekey_in: seconds; None: never, or not known.
        children: its associations.
        ports: UDP ports of IKE, this host's and the peer's; 0 where it is not known.
        spis: the two numbers in its packets, the initiator's and the responder's.
        asking: whether the peer is being asked for a pair of associations, or is to be.
    """

    connection: str
    group: str
    unique_id: int
    state: str
    version: int
    initiator: bool
    local: Address
    remote: Address
    local_id: str
    remote_id: str
    encryption: str
    encryption_bits: int
    integrity: str
    prf: str
    dh_group: str
    age: int
    rekey_in: int | None
    children: tuple[ChildSa, ...] = ()
    ports: tuple[int, int] = (0, 0)
    spis: tuple[int, int] = (0, 0)
    asking: bool = False


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that charon holds: its own, loaded ones, and what peers have shown.

    Attributes:
        der: the whole.
        ca: whether it is a CA's.
        own: whether charon has its private key.
    """

    der: bytes
    ca: bool
    own: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a negotiation.

    Attributes:
        reason: Reason.NONE for success.
        detail: what there is to say of a failure: one line, no secret.
        ike: the IKE SA, of a success.
        child: the association, of a success.
        seconds: how long it took.
    """

    reason: Reason
    detail: str = ""
    ike: IkeSa | None = None
    child: ChildSa | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in charon.

    Attributes:
        kind: "ike-updown", "child-updown", "ike-rekey", "child-rekey"; "ike-update": an address changes;
            "gone": charon does not answer any more, and this is the last event.
        up: False if it, of the two updowns, went down, and of "gone".
        ike: the IKE SA with the children that the event names; of the rekeys the new one; of "ike-update"
            with the new addresses; None for "gone".
        old_ike: of "ike-rekey": charon's number of that which it replaces; else 0.
        replaced: of "child-rekey": those which are replaced; else ().
    """

    kind: str
    up: bool = False
    ike: IkeSa | None = None
    old_ike: int = 0
    replaced: tuple[ChildSa, ...] = ()
