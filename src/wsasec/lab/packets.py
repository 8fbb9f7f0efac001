"""What a frame on the wire is: ESP, clear, or the neighbourhood's own housekeeping.

In doubt a frame is clear: a proof of "not one clear packet" must not rest on a guess in its favour.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["ESP", "Kind", "encapsulated_spi", "inner", "parse"]

Group = Literal["esp", "clear", "neighbour", "ike"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a frame is.

    Attributes:
        group: "esp"; "clear"; "neighbour" (ARP, neighbour discovery, MLD, IGMP); "ike".
        state: of a clear frame: "SYN", "SYN-ACK", "ACK", "DATA", "FIN", "RST", "TCP" (none of these),
            "UDP", "ICMP", "ICMPV6", "AH", "FRAGMENT" (not the first of a clear datagram), "OTHER",
            "TRUNCATED". Of an ESP frame "ESP", of the others the protocol.
    """

    group: Group
    state: str


ESP: Final = Kind("esp", "ESP")
TRUNCATED: Final = Kind("clear", "TRUNCATED")
OTHER: Final = Kind("clear", "OTHER")
FRAGMENT: Final = Kind("clear", "FRAGMENT")
_ARP: Final = Kind("neighbour", "ARP")
_NDP: Final = Kind("neighbour", "NDP")
_MLD: Final = Kind("neighbour", "MLD")
_IGMP: Final = Kind("neighbour", "IGMP")
_IKE: Final = Kind("ike", "IKE")
_UDP: Final = Kind("clear", "UDP")
_ICMP: Final = Kind("clear", "ICMP")
_ICMPV6: Final = Kind("clear", "ICMPV6")
_AH: Final = Kind("clear", "AH")
_TCP: Final = {name: Kind("clear", name) for name in ("SYN", "SYN-ACK", "ACK", "DATA", "FIN", "RST", "TCP")}

_ETHERNET: Final = 14
_ETHER_IPV4: Final = 0x0800
_ETHER_ARP: Final = 0x0806
_ETHER_IPV6: Final = 0x86DD
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16

_PROTO_UDP: Final = 17
_PROTO_ESP: Final = 50
_PROTO_FRAGMENT: Final = 44
# Hop-by-hop, routing, destination options, mobility, HIP, Shim6: all with (next header, length in 8 bytes).
_EXTENSIONS: Final = frozenset({0, 43, 60, 135, 139, 140})
# Solicitations and advertisements. Not redirects (137): they quote a packet.
_NDP_TYPES: Final = frozenset({133, 134, 135, 136})
_MLD_TYPES: Final = frozenset({130, 131, 132, 143})
_IKE_HEADER: Final = 28
_IKE_VERSIONS: Final = frozenset({0x10, 0x20})


def parse(frame: bytes) -> Kind:
    """Tell what an Ethernet frame is, from as much of it as was captured. Takes any bytes and never fails.

    A fragment of an ESP packet is ESP: its header says so. UDP-encapsulated ESP (port 4500) is "UDP",
    clear: a port number proves nothing.
    """
    if len(frame) < _ETHERNET:
        return TRUNCATED
    kind = frame[12] << 8 | frame[13]
    if kind == _ETHER_IPV4:
        return _ipv4(frame, _ETHERNET)
    if kind == _ETHER_IPV6:
        return _ipv6(frame, _ETHERNET)
    return _ARP if kind == _ETHER_ARP else OTHER


def encapsulated_spi(frame: bytes) -> int | None:
    """Return the SPI of what may be ESP in UDP (RFC 3948), both ports 4500; None for anything else.

    Whether it is ESP the number tells those who know which there are. Takes any bytes and never fails.
    """
    if len(frame) < _ETHERNET + 20:
        return None
    kind, first = frame[12] << 8 | frame[13], frame[_ETHERNET]
    if kind == _ETHER_IPV4 and first >> 4 == 4:
        at = _ETHERNET + (first & 15) * 4
        whole = not (frame[_ETHERNET + 6] << 8 | frame[_ETHERNET + 7]) & 0x3FFF
        protocol = frame[_ETHERNET + 9]
    elif kind == _ETHER_IPV6 and first >> 4 == 6:
        at, whole, protocol = _ETHERNET + 40, True, frame[_ETHERNET + 6]
    else:
        return None
    if not whole or protocol != _PROTO_UDP or len(frame) < at + 16:
        return None
    source, target, size, _, spi = struct.unpack_from(">HHHHI", frame, at)
    # Long enough for the header of ESP, an IV, a trailer and a tag.
    return spi if source == target == 4500 and size >= 8 + 8 + 8 + 4 + 16 else None


def _ipv4(frame: bytes, start: int) -> Kind:
    if len(frame) < start + 20:
        return TRUNCATED
    first = frame[start]
    header = (first & 15) * 4
    if first >> 4 != 4 or header < 20:
        return OTHER
    protocol = frame[start + 9]
    if protocol == _PROTO_ESP:
        return ESP
    if (frame[start + 6] << 8 | frame[start + 7]) & 0x1FFF:
        return FRAGMENT
    # 0 is a segmentation-offload packet over 64 kB: what was captured is all there is to go by.
    total = frame[start + 2] << 8 | frame[start + 3] or len(frame) - start
    if protocol == 1:
        return _ICMP
    if protocol == 2:
        return _IGMP
    return _transport(protocol, frame, start + header, start + total)


def _ipv6(frame: bytes, start: int) -> Kind:
    if len(frame) < start + 40:
        return TRUNCATED
    if frame[start] >> 4 != 6:
        return OTHER
    payload = frame[start + 4] << 8 | frame[start + 5]
    end = start + 40 + payload if payload else len(frame)
    protocol = frame[start + 6]
    at = start + 40
    while protocol in _EXTENSIONS or protocol == _PROTO_FRAGMENT:
        if len(frame) < at + 8:
            return TRUNCATED
        following = frame[at]
        if protocol == _PROTO_FRAGMENT:
            if following != _PROTO_ESP and (frame[at + 2] << 8 | frame[at + 3]) & 0xFFF8:
                return FRAGMENT
            at += 8
        else:
            at += 8 + frame[at + 1] * 8
        protocol = following
        if protocol == _PROTO_ESP:
            return ESP
    if protocol == _PROTO_ESP:
        return ESP
    if protocol == 58:
        return _icmpv6(frame, at, hop_limit=frame[start + 7])
    return _transport(protocol, frame, at, end)


def _icmpv6(frame: bytes, at: int, hop_limit: int) -> Kind:
    if len(frame) <= at:
        return TRUNCATED
    kind = frame[at]
    if kind in _NDP_TYPES and hop_limit == 255:
        return _NDP
    if kind in _MLD_TYPES and hop_limit == 1:
        return _MLD
    return _ICMPV6


def _transport(protocol: int, frame: bytes, at: int, end: int) -> Kind:
    if protocol == 6:
        return _tcp(frame, at, end)
    if protocol == 17:
        return _udp(frame, at)
    return _AH if protocol == 51 else OTHER


def _tcp(frame: bytes, at: int, end: int) -> Kind:
    if len(frame) < at + 14:
        return TRUNCATED
    flags = frame[at + 13]
    if flags & _SYN:
        return _TCP["SYN-ACK" if flags & _ACK else "SYN"]
    if flags & _RST:
        return _TCP["RST"]
    if end - at > (frame[at + 12] >> 4) * 4:
        return _TCP["DATA"]
    if flags & _FIN:
        return _TCP["FIN"]
    return _TCP["ACK" if flags & _ACK else "TCP"]


def _udp(frame: bytes, at: int) -> Kind:
    """IKE is what has its ports and its header, with the length that the datagram has."""
    if len(frame) < at + 8:
        return TRUNCATED
    source, target, size = struct.unpack_from(">HHH", frame, at)
    body = at + 8
    if 4500 in (source, target):
        if frame[body : body + 4] != bytes(4):
            return _UDP
        body += 4
    elif 500 not in (source, target):
        return _UDP
    if len(frame) < body + _IKE_HEADER or frame[body + 17] not in _IKE_VERSIONS:
        return _UDP
    (length,) = struct.unpack_from(">I", frame, body + 24)
    return _IKE if length == at + size - body else _UDP


def inner(frame: bytes, check_bytes: int = 16) -> Kind:
    """Tell what an ESP frame carries when it is authenticated but not encrypted (transport mode).

    Args:
        frame: the whole frame.
        check_bytes: the length of its integrity check value.

    Returns:
        The Kind of the packet inside, as if it had been sent in clear; FRAGMENT for a fragment of an ESP
        packet, TRUNCATED for what cannot be read. For a frame that is not ESP, its own Kind.
    """
    kind = parse(frame)
    if kind is not ESP:
        return kind
    version = frame[_ETHERNET] >> 4
    if version == 4:
        if (frame[_ETHERNET + 6] << 8 | frame[_ETHERNET + 7]) & 0x3FFF:
            return FRAGMENT
        at = _ETHERNET + (frame[_ETHERNET] & 15) * 4
        end = _ETHERNET + (frame[_ETHERNET + 2] << 8 | frame[_ETHERNET + 3])
    else:
        if frame[_ETHERNET + 6] != _PROTO_ESP:
            return FRAGMENT
        at = _ETHERNET + 40
        end = at + (frame[_ETHERNET + 4] << 8 | frame[_ETHERNET + 5])
    trailer = end - check_bytes - 2
    if not at + 8 <= trailer < len(frame) - 1:
        return TRUNCATED
    padding, protocol = frame[trailer], frame[trailer + 1]
    if protocol == 1:
        return _ICMP
    if protocol == 58:
        return _icmpv6(frame, at + 8, hop_limit=0)
    return _transport(protocol, frame[: trailer - padding], at + 8, trailer - padding)
