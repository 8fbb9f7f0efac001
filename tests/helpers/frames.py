"""Frames that are read off the wire and frames that an attacker puts on it."""

from __future__ import annotations

import mmap
import socket
import struct
from dataclasses import dataclass

from wsasec.lab import Namespace

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

_ETHERNET = 14
_ETH_P_ALL = 3
_ETHER_TYPE = {4: 0x0800, 6: 0x86DD}
_SOL_PACKET = 263
_PACKET_RX_RING = 5
_PACKET_STATISTICS = 6
_PACKET_VERSION = 10
_TPACKET_V2 = 1
_TP_STATUS_USER = 1
_TP_STATUS_COPY = 2
_RING_BYTES = 32 << 20
_RING_BLOCK = 1 << 16
_SLOT = 2048
# struct tpacket2_hdr: status, length, captured; where the frame begins.
_SLOT_HEAD = struct.Struct("=IIIH")
_SO_RCVBUFFORCE = 33
_ROOM = 32 << 20
_LARGEST = 1 << 17
_CHECK_BYTES = 16
_ESP_HEADER = 8


class Sniffer:
    """Keeps every frame that passes a device of a host, both ways; by default that of its wire."""

    def __init__(self, namespace: Namespace, device: str | None = None) -> None:
        self._frames: list[bytes] = []
        self._socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
        self._socket.bind((device or namespace.device, _ETH_P_ALL))

    def __enter__(self) -> Sniffer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def frames(self) -> list[bytes]:
        """Return all frames up to now."""
        while True:
            try:
                self._frames.append(self._socket.recv(_LARGEST, socket.MSG_DONTWAIT))
            except BlockingIOError:
                break
        dropped = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1]
        assert not dropped, f"the sniffer missed {dropped} frames"
        return self._frames


class RingSniffer:
    """Keeps every packet that passes a device of a host, both ways, as it was when it passed.

    What waits in a packet socket is no copy: of ESP in UDP that came in pages, the kernel decrypts those.
    """

    def __init__(self, namespace: Namespace, device: str | None = None) -> None:
        self._frames: list[bytes] = []
        self._next = 0
        self._socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
        request = struct.pack("=4I", _RING_BLOCK, _RING_BYTES // _RING_BLOCK, _SLOT, _RING_BYTES // _SLOT)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        self._ring = mmap.mmap(self._socket.fileno(), _RING_BYTES)
        self._socket.bind((device or namespace.device, _ETH_P_ALL))

    def __enter__(self) -> RingSniffer:
        return self

    def __exit__(self, *_: object) -> None:
        self._ring.close()
        self._socket.close()

    def frames(self) -> list[bytes]:
        """Return all frames up to now."""
        while True:
            at = self._next * _SLOT
            status, _, captured, mac = _SLOT_HEAD.unpack_from(self._ring, at)
            if not status & _TP_STATUS_USER:
                break
            assert not status & _TP_STATUS_COPY, "a frame is larger than a packet"
            self._frames.append(self._ring[at + mac : at + mac + captured])
            struct.pack_into("=I", self._ring, at, 0)
            self._next = (self._next + 1) % (_RING_BYTES // _SLOT)
        dropped = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1]
        assert not dropped, f"the sniffer missed {dropped} frames"
        return self._frames


def source_of(frame: bytes) -> str:
    """Return the source address of an IP frame; of any other a description."""
    version = frame[_ETHERNET] >> 4
    if version == 4:
        return socket.inet_ntop(socket.AF_INET, frame[_ETHERNET + 12 : _ETHERNET + 16])
    if version == 6:
        return socket.inet_ntop(socket.AF_INET6, frame[_ETHERNET + 8 : _ETHERNET + 24])
    return f"no IP: {frame[:16].hex()}"


def quoted_protocol(frame: bytes) -> int:
    """Return the protocol of the packet that an ICMP or ICMPv6 error quotes."""
    if frame[_ETHERNET] >> 4 == 4:
        return frame[_ETHERNET + (frame[_ETHERNET] & 15) * 4 + 8 + 9]
    quoted = _ETHERNET + 40 + 8
    protocol, at = frame[quoted + 6], quoted + 40
    return int(frame[at] if protocol == socket.IPPROTO_FRAGMENT else protocol)


@dataclass(frozen=True)
class Segment:
    """A TCP segment, in clear or inside an ESP packet that is not encrypted."""

    source: str
    source_port: int
    target_port: int
    seq: int
    flags: int
    size: int

    @property
    def next_seq(self) -> int:
        """The sequence number that follows it."""
        return (self.seq + self.size + bool(self.flags & SYN) + bool(self.flags & FIN)) & 0xFFFFFFFF


def read_segment(frame: bytes) -> Segment | None:
    """Read a TCP segment out of a frame; None if there is none."""
    version = frame[_ETHERNET] >> 4
    if version == 4:
        start = _ETHERNET + (frame[_ETHERNET] & 15) * 4
        end = _ETHERNET + struct.unpack_from(">H", frame, _ETHERNET + 2)[0]
        protocol = frame[_ETHERNET + 9]
    elif version == 6:
        start = _ETHERNET + 40
        end = start + struct.unpack_from(">H", frame, _ETHERNET + 4)[0]
        protocol = frame[_ETHERNET + 6]
    else:
        return None
    if protocol == socket.IPPROTO_ESP:
        trailer = end - _CHECK_BYTES - 2
        padding, protocol = frame[trailer], frame[trailer + 1]
        start, end = start + _ESP_HEADER, trailer - padding
    if protocol != socket.IPPROTO_TCP:
        return None
    source_port, target_port, seq, _, offset, flags = struct.unpack_from(">HHIIBB", frame, start)
    return Segment(source_of(frame), source_port, target_port, seq, flags, end - start - (offset >> 4) * 4)


def next_seq(frames: list[bytes], source: str, port: int) -> int:
    """Return the sequence number that the next segment of a sender will have."""
    for frame in reversed(frames):
        segment = read_segment(frame)
        if segment and (segment.source, segment.source_port) == (source, port):
            return segment.next_seq
    raise AssertionError(f"no segment from {source} port {port} in {len(frames)} frames")


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _with_checksum(packet: bytes, at: int, source: bytes, target: bytes, protocol: int) -> bytes:
    pseudo = source + target + struct.pack(">II", len(packet), protocol)
    value = _checksum(pseudo + packet) or 0xFFFF
    return packet[:at] + struct.pack(">H", value) + packet[at + 2 :]


class Forger:
    """Puts packets on the wire that claim to be from a host, from that host's side of it.

    They are as good as an attacker's can be: right addresses, ports, sequence numbers and checksums.
    """

    def __init__(self, near: Namespace, far: Namespace) -> None:
        """Open it at `near`, whose packets are forged, towards `far`."""
        with far.socket(socket.AF_PACKET, socket.SOCK_RAW) as probe:
            probe.bind((far.device, 0))
            self._target_mac = probe.getsockname()[4]
        self._socket = near.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((near.device, 0))
        self._source_mac = self._socket.getsockname()[4]

    def __enter__(self) -> Forger:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, frame: bytes) -> None:
        """Send a whole frame as it is."""
        assert self._socket.send(frame) == len(frame)

    def send_ip(self, source: str, target: str, protocol: int, packet: bytes, checksum_at: int) -> None:
        """Send a packet of a transport protocol, with its checksum put in at an offset."""
        version = 6 if ":" in source else 4
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        ends = socket.inet_pton(family, source), socket.inet_pton(family, target)
        packet = _with_checksum(packet, checksum_at, *ends, protocol)
        if version == 4:
            size = 20 + len(packet)
            header = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0x4000, 64, protocol, 0) + b"".join(ends)
            header = header[:10] + struct.pack(">H", _checksum(header)) + header[12:]
        else:
            header = struct.pack(">IHBB", 6 << 28, len(packet), protocol, 64) + b"".join(ends)
        ethernet = self._target_mac + self._source_mac + struct.pack(">H", _ETHER_TYPE[version])
        self.send(ethernet + header + packet)

    def send_tcp(
        self,
        source: tuple[str, int],
        target: tuple[str, int],
        seq: int,
        ack: int,
        flags: int,
        data: bytes = b"",
    ) -> None:
        """Send a segment; source and target are (address, port)."""
        header = struct.pack(">HHIIBBHHH", source[1], target[1], seq, ack, 5 << 4, flags, 0xFFFF, 0, 0)
        self.send_ip(source[0], target[0], socket.IPPROTO_TCP, header + data, 16)

    def send_udp(self, source: tuple[str, int], target: tuple[str, int], data: bytes) -> None:
        """Send a datagram; source and target are (address, port)."""
        header = struct.pack(">HHHH", source[1], target[1], 8 + len(data), 0)
        self.send_ip(source[0], target[0], socket.IPPROTO_UDP, header + data, 6)
