"""ESP packets, made and read in Python by the RFCs: none of the engine's code, and none of the kernel's.

Transport mode only: RFC 4303; AES-GCM by RFC 4106, ChaCha20-Poly1305 by RFC 7634; in UDP by RFC 3948.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

ESP = 50
UDP_PORT = 4500
TAG_BYTES = 16
SALT_BYTES = 4
HEADER_BYTES = 8
IV_BYTES = 8
NO_NEXT_HEADER = 59
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

__all__ = [
    *("ACK", "ESP", "FIN", "HEADER_BYTES", "IV_BYTES", "NO_NEXT_HEADER", "PSH", "RST", "SYN", "TAG_BYTES"),
    *(
        "UDP_PORT",
        "Association",
        "Opened",
        "Outer",
        "checksum",
        "echo_request",
        "esp_offset",
        "ip_packet",
        "is_fragment",
    ),
    *("outer_packets", "tcp", "transport_checksum", "udp", "with_udp_checksum"),
]


@dataclass(frozen=True)
class Opened:
    """What an ESP packet carried."""

    sequence: int
    next_header: int
    payload: bytes
    padding: bytes


@dataclass(frozen=True)
class Association:
    """One direction between two hosts, with its key.

    Attributes:
        spi: security parameters index.
        key: key and salt of 4 bytes.
        chacha: whether it is ChaCha20-Poly1305; else AES-GCM.
        esn: whether sequence numbers have 64 bits.
    """

    spi: int
    key: bytes = field(repr=False)
    chacha: bool = False
    esn: bool = True

    @property
    def _cipher(self) -> AESGCM | ChaCha20Poly1305:
        key = self.key[:-SALT_BYTES]
        return ChaCha20Poly1305(key) if self.chacha else AESGCM(key)

    def _associated(self, sequence: int) -> bytes:
        """RFC 4106 5: SPI and sequence number, of 64 bits where it is extended."""
        return struct.pack(">IQ" if self.esn else ">II", self.spi, sequence)

    def with_key(self, key: bytes) -> Association:
        """Return it with another key: what a forger has."""
        return replace(self, key=key)

    def seal_bytes(self, sequence: int, plain: bytes, iv: bytes | None = None) -> bytes:
        """Make an ESP packet of any bytes, also such that are no payload with a trailer."""
        iv = struct.pack(">Q", sequence) if iv is None else iv
        sealed = self._cipher.encrypt(self.key[-SALT_BYTES:] + iv, plain, self._associated(sequence))
        return struct.pack(">II", self.spi, sequence & 0xFFFFFFFF) + iv + sealed

    def seal(self, sequence: int, payload: bytes, next_header: int, padding: bytes | None = None) -> bytes:
        """Make an ESP packet; padding is 1, 2, 3 ... up to 4 bytes, unless it is given."""
        if padding is None:
            padding = bytes(range(1, 1 + -(len(payload) + 2) % 4))
        return self.seal_bytes(sequence, payload + padding + bytes([len(padding), next_header]))

    def open(self, packet: bytes, high: int = 0) -> Opened:
        """Open an ESP packet; `high` is the upper half of its sequence number. Raises InvalidTag."""
        spi, low = struct.unpack_from(">II", packet)
        assert spi == self.spi
        sequence = high << 32 | low
        iv, sealed = packet[HEADER_BYTES : HEADER_BYTES + IV_BYTES], packet[HEADER_BYTES + IV_BYTES :]
        plain = self._cipher.decrypt(self.key[-SALT_BYTES:] + iv, sealed, self._associated(sequence))
        length, next_header = plain[-2], plain[-1]
        end = len(plain) - 2 - length
        assert end >= 0, "more padding than packet"
        return Opened(sequence, next_header, plain[:end], plain[end:-2])


def checksum(data: bytes) -> int:
    """Return the Internet's checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def transport_checksum(source: str, target: str, protocol: int, segment: bytes) -> int:
    """Return the checksum with the pseudo header of either family; 0 if it is right already."""
    pseudo = _packed(source) + _packed(target) + struct.pack(">II", len(segment), protocol)
    return checksum(pseudo + segment)


def _with_checksum(source: str, target: str, protocol: int, segment: bytes, at: int) -> bytes:
    value = transport_checksum(source, target, protocol, segment) or 0xFFFF
    return segment[:at] + struct.pack(">H", value) + segment[at + 2 :]


def udp(source: tuple[str, int], target: tuple[str, int], data: bytes) -> bytes:
    """Make a datagram with its header and checksum; source and target are (address, port)."""
    header = struct.pack(">HHHH", source[1], target[1], 8 + len(data), 0)
    return _with_checksum(source[0], target[0], socket.IPPROTO_UDP, header + data, 6)


def tcp(
    source: tuple[str, int],
    target: tuple[str, int],
    seq: int,
    ack: int,
    flags: int,
    data: bytes = b"",
    options: bytes = b"",
) -> bytes:
    """Make a segment with its header and checksum; options are a multiple of 4 bytes."""
    offset = 5 + len(options) // 4
    header = struct.pack(">HHIIBBHHH", source[1], target[1], seq, ack, offset << 4, flags, 0xFFFF, 0, 0)
    return _with_checksum(source[0], target[0], socket.IPPROTO_TCP, header + options + data, 16)


def echo_request(source: str, target: str, identifier: int, sequence: int, data: bytes) -> tuple[int, bytes]:
    """Make a ping; return its protocol and the message."""
    if ":" in source:
        message = struct.pack(">BBHHH", 128, 0, 0, identifier, sequence) + data
        return socket.IPPROTO_ICMPV6, _with_checksum(source, target, socket.IPPROTO_ICMPV6, message, 2)
    message = struct.pack(">BBHHH", 8, 0, 0, identifier, sequence) + data
    return socket.IPPROTO_ICMP, message[:2] + struct.pack(">H", checksum(message)) + message[4:]


def ip_packet(
    source: str, target: str, protocol: int, payload: bytes, *, fragment: int = 0, options: bytes = b""
) -> bytes:
    """Make an IP packet of either family.

    Args:
        source: its address.
        target: its address.
        protocol: of the payload.
        payload: what it carries; for IPv6 extension headers are a part of it.
        fragment: of IPv4 flags and offset; Don't Fragment is 0x4000.
        options: of IPv4, a multiple of 4 bytes.
    """
    ends = _packed(source) + _packed(target)
    if ":" in source:
        return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + ends + payload
    words, size = 5 + len(options) // 4, 20 + len(options) + len(payload)
    header = struct.pack(">BBHHHBBH", 0x40 | words, 0, size, 1, fragment, 64, protocol, 0) + ends + options
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


@dataclass(frozen=True)
class Outer:
    """An ESP packet as it was on the wire.

    Attributes:
        source: address of the sender.
        target: address of the receiver.
        ports: of the UDP encapsulation; None for raw ESP.
        esp: the packet from its SPI on.
        ecn: bits of congestion notification in the IP header.
    """

    source: str
    target: str
    ports: tuple[int, int] | None
    esp: bytes
    ecn: int = 0


def _read_ip(packet: bytes) -> tuple[int, int, int, tuple[int, bool, int] | None] | None:
    """Return protocol, start and end of an IP packet's payload; of a fragment number, more, offset."""
    if packet and packet[0] >> 4 == 4 and len(packet) >= 20:
        size, number, where = struct.unpack_from(">HHH", packet, 2)
        piece = (number, bool(where & 0x2000), (where & 0x1FFF) * 8) if where & 0x3FFF else None
        return packet[9], (packet[0] & 15) * 4, size, piece
    if packet and packet[0] >> 4 == 6 and len(packet) >= 40:
        protocol, start, end = packet[6], 40, 40 + struct.unpack_from(">H", packet, 4)[0]
        if protocol != socket.IPPROTO_FRAGMENT:
            return protocol, start, end, None
        where, number = struct.unpack_from(">HI", packet, start + 2)
        return packet[start], start + 8, end, (number, bool(where & 1), where & 0xFFF8)
    return None


def _addresses(packet: bytes) -> tuple[str, str]:
    family, at, size = (socket.AF_INET, 12, 4) if packet[0] >> 4 == 4 else (socket.AF_INET6, 8, 16)
    return (
        socket.inet_ntop(family, packet[at : at + size]),
        socket.inet_ntop(family, packet[at + size : at + 2 * size]),
    )


def _ecn(packet: bytes) -> int:
    return packet[1] & 3 if packet[0] >> 4 == 4 else packet[1] >> 4 & 3


def outer_packets(frames: list[bytes], ethernet: int = 14) -> tuple[list[Outer], list[bytes]]:
    """Read the ESP packets, raw or in UDP, out of frames; return them and the frames that are none.

    Fragments are put together; those of a packet that is not whole are none. IKE and keepalives
    (RFC 3948 2.2, 2.3) are none, either.

    Args:
        frames: in the order in which they passed.
        ethernet: the length of a frame's header.
    """
    found: list[Outer] = []
    others: list[bytes] = []
    waiting: dict[tuple[str, str, int, int], list[tuple[bytes, int, bool, bytes]]] = {}
    for frame in frames:
        packet = frame[ethernet:]
        read = _read_ip(packet)
        if read is None:
            others.append(frame)
            continue
        protocol, start, end, piece = read
        ends = _addresses(packet)
        payload = packet[start:end]
        if piece is not None:
            number, more, offset = piece
            key = (*ends, protocol, number)
            pieces = waiting.setdefault(key, [])
            pieces.append((frame, offset, more, payload))
            payload = _joined([entry[1:] for entry in pieces])
            if not payload:
                continue
            del waiting[key]
        outer = _outer(*ends, protocol, payload, _ecn(packet))
        if outer is None:
            others.append(frame)
        else:
            found.append(outer)
    others += [entry[0] for pieces in waiting.values() for entry in pieces]
    return found, others


def _joined(pieces: list[tuple[int, bool, bytes]]) -> bytes:
    """Put fragments together; nothing as long as one is missing."""
    whole = b""
    for offset, more, payload in sorted(pieces):
        if offset != len(whole):
            return b""
        whole += payload
        if not more:
            return whole
    return b""


def _outer(source: str, target: str, protocol: int, payload: bytes, ecn: int) -> Outer | None:
    if protocol == ESP and len(payload) >= HEADER_BYTES:
        return Outer(source, target, None, payload, ecn)
    if protocol != socket.IPPROTO_UDP or len(payload) < 8 + HEADER_BYTES:
        return None
    first, second = struct.unpack_from(">HH", payload)
    if UDP_PORT not in (first, second) or payload[8:12] == bytes(4):
        return None
    return Outer(source, target, (first, second), payload[8:], ecn)


def esp_offset(frame: bytes, ethernet: int = 14) -> int:
    """Return where ESP begins in a frame that is whole."""
    read = _read_ip(frame[ethernet:])
    assert read is not None
    return ethernet + read[1] + (8 if read[0] == socket.IPPROTO_UDP else 0)


def with_udp_checksum(frame: bytes, ethernet: int = 14) -> bytes:
    """Return a frame with its UDP checksum put right, if it has one.

    Captured frames have half of it where a network card is to do the rest.
    """
    packet = frame[ethernet:]
    read = _read_ip(packet)
    assert read is not None
    protocol, start, end, piece = read
    segment = packet[start:end]
    if protocol != socket.IPPROTO_UDP or piece is not None or segment[6:8] == bytes(2):
        return frame
    segment = segment[:6] + bytes(2) + segment[8:]
    segment = _with_checksum(*_addresses(packet), protocol, segment, 6)
    return frame[: ethernet + start] + segment + frame[ethernet + end :]


def is_fragment(frame: bytes, ethernet: int = 14) -> bool:
    """Whether a frame is one of several that make a packet."""
    read = _read_ip(frame[ethernet:])
    return read is not None and read[3] is not None
