"""Security associations (SAs) as the kernel lists them, without their keys.

Netlink, not ``ip xfrm``: a key is then never an argument, a line of a batch, or part of a tool's complaint.
"""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass
from typing import Final

from .netlink import HEADER, Message, NetlinkSocket, attributes, messages

__all__ = ["NETLINK_XFRM", "SA", "XfrmTable", "packed_address", "parse_associations"]

NETLINK_XFRM: Final = 6
_MSG_NEWSA: Final = 0x10
_MSG_DELSA: Final = 0x11
_MSG_GETSA: Final = 0x12

_ATTR_AUTH: Final = 1
_ATTR_CRYPT: Final = 2
_ATTR_AEAD: Final = 18
_ATTR_AUTH_TRUNC: Final = 20
_ATTR_MARK: Final = 21
_ATTR_REPLAY_ESN: Final = 23
_ATTR_ADDRESS_FILTER: Final = 26
_ATTR_SET_MARK: Final = 29
_ATTR_SET_MARK_MASK: Final = 30

_STATE_ESN: Final = 128
_MODES: Final = {0: "transport", 1: "tunnel", 4: "beet"}
_PROTOCOLS: Final = {50: "esp", 51: "ah", 108: "comp"}
_NUMBERS: Final = {name: number for number, name in _PROTOCOLS.items()}
_INFINITE: Final = 2**64 - 1

# Bits of a key that are no key: the salt (RFC 4106, 4309, 3686, 7634).
_SALTS: Final = {"rfc4106": 32, "rfc4309": 24, "rfc3686": 32, "rfc7539esp": 32}
# Of these nothing is encrypted.
_NULL: Final = ("rfc4543", "cipher_null")

# struct xfrm_usersa_id, struct xfrm_address_filter.
_USERSA_ID: Final = struct.Struct("=16s4sHB1x")
_FILTER: Final = struct.Struct("=16s16sHBB")
# struct xfrm_usersa_info: selector; id; saddr; lft; curlft; stats; seq, reqid; family, mode, window, flags.
_USERSA: Final = struct.Struct("=16s16s4H H3B3x iI 16s4sB3x 16s 8Q 4Q 3I II H3B7x")
assert _USERSA.size == 224  # noqa: S101


@dataclass(frozen=True, slots=True)
class SA:
    """A security association as the kernel lists it, without its keys.

    Attributes:
        src: address of the sender.
        dst: address of the receiver.
        spi: security parameters index; 0 of one that the kernel waits for.
        proto: "esp", "ah", "comp" or a number.
        mode: "transport", "tunnel", "beet" or a number.
        reqid: what policies name it by.
        bytes: payload bytes that passed, by the kernel's account.
        packets: packets that passed.
        mark: (value, mask) a packet must have to find it; (0, 0) for any.
        set_mark: (value, mask) it puts on packets; (0, 0) for none.
        algorithm: the kernel's name of the AEAD or cipher; "" where there is none.
        esn: whether sequence numbers are extended.
        replay_window: packets; 0 for no replay protection.
        replayed: packets refused as replays: outside the window, or seen before.
        integrity_failed: packets refused for a wrong check value.
        encryption_bits: of the key, without its salt; 0: nothing is encrypted.
        integrity: the kernel's name of the algorithm; "" for an AEAD, which has its own.
        integrity_bits: of the tag; for an AEAD of its own tag.
        added: when it was installed, in seconds of the system's clock.
        soft_bytes: after so many it is to be replaced; 0 for no limit.
        soft_packets: the same in packets.
        soft_seconds: the same in seconds since it was installed.
        hard_bytes: after so many it ends; 0 for no limit.
        hard_packets: the same in packets.
        hard_seconds: the same in seconds since it was installed.
    """

    src: str
    dst: str
    spi: int
    proto: str
    mode: str
    reqid: int
    bytes: int
    packets: int
    mark: tuple[int, int] = (0, 0)
    set_mark: tuple[int, int] = (0, 0)
    algorithm: str = ""
    esn: bool = False
    replay_window: int = 0
    replayed: int = 0
    integrity_failed: int = 0
    encryption_bits: int = 0
    integrity: str = ""
    integrity_bits: int = 0
    added: int = 0
    soft_bytes: int = 0
    soft_packets: int = 0
    soft_seconds: int = 0
    hard_bytes: int = 0
    hard_packets: int = 0
    hard_seconds: int = 0

    @property
    def usable(self) -> bool:
        """Whether it has keys: the kernel lists also what it waits for."""
        return bool(self.spi and (self.algorithm or self.integrity))


def packed_address(text: str, family: int) -> bytes:
    """Return xfrm_address_t of an address."""
    return socket.inet_pton(family, text).ljust(16, b"\0")


def _text(address: bytes, family: int) -> str:
    if family == socket.AF_INET:
        return socket.inet_ntop(family, address[:4])
    return socket.inet_ntop(socket.AF_INET6, address)


def _pair(data: memoryview) -> tuple[int, int]:
    first, second = struct.unpack_from("=II", data)
    return first, second


def _name(data: memoryview) -> str:
    return bytes(data[:64]).split(b"\0")[0].decode("ascii", "replace")


def _number(data: memoryview, at: int) -> int:
    return int.from_bytes(data[at : at + 4], sys.byteorder)


def _limit(value: int) -> int:
    # charon's random part may take a short time below zero.
    return 0 if value > _INFINITE // 2 else value


class _Algorithms:
    """What the attributes of an SA say of its algorithms."""

    def __init__(self) -> None:
        self.encryption = self.integrity = ""
        self.encryption_bits = self.integrity_bits = 0

    def take(self, kind: int, value: memoryview) -> None:
        """Take note of an attribute: a name of 64 bytes, bits of the key, of most also bits of the tag."""
        if kind in (_ATTR_AEAD, _ATTR_CRYPT):
            self.encryption = _name(value)
            salt = next((bits for word, bits in _SALTS.items() if word in self.encryption), 0)
            null = any(word in self.encryption for word in _NULL)
            self.encryption_bits = 0 if null else max(0, _number(value, 64) - salt)
        elif kind in (_ATTR_AUTH, _ATTR_AUTH_TRUNC):
            self.integrity = _name(value)
        if kind in (_ATTR_AEAD, _ATTR_AUTH_TRUNC):
            self.integrity_bits = _number(value, 68)


def _association(data: memoryview) -> SA:
    fields = _USERSA.unpack_from(data)
    daddr, spi, proto, saddr = fields[12:16]
    soft_bytes, hard_bytes, soft_packets, hard_packets, soft_seconds, hard_seconds = fields[16:22]
    count_bytes, count_packets, added = fields[24:27]
    late, replayed, failed, _, reqid, family, mode, replay_window, flags = fields[28:37]
    mark = set_mark = (0, 0)
    algorithms = _Algorithms()
    for kind, value in attributes(data[_USERSA.size :]):
        if kind == _ATTR_MARK and len(value) >= 8:
            mark = _pair(value)
        elif kind == _ATTR_SET_MARK and len(value) >= 4:
            set_mark = (struct.unpack_from("=I", value)[0], set_mark[1] or 0xFFFFFFFF)
        elif kind == _ATTR_SET_MARK_MASK and len(value) >= 4:
            set_mark = (set_mark[0], struct.unpack_from("=I", value)[0])
        elif kind == _ATTR_REPLAY_ESN and len(value) >= 24:
            replay_window = struct.unpack_from("=I", value, 20)[0]
        else:
            algorithms.take(kind, value)
    return SA(
        src=_text(saddr, family),
        dst=_text(daddr, family),
        spi=int.from_bytes(spi, "big"),
        proto=_PROTOCOLS.get(proto, str(proto)),
        mode=_MODES.get(mode, str(mode)),
        reqid=reqid,
        bytes=count_bytes,
        packets=count_packets,
        mark=mark,
        set_mark=set_mark,
        algorithm=algorithms.encryption,
        esn=bool(flags & _STATE_ESN),
        replay_window=replay_window,
        replayed=late + replayed,
        integrity_failed=failed,
        encryption_bits=algorithms.encryption_bits,
        integrity=algorithms.integrity,
        integrity_bits=algorithms.integrity_bits,
        added=added,
        soft_bytes=_limit(soft_bytes),
        soft_packets=_limit(soft_packets),
        soft_seconds=_limit(soft_seconds),
        hard_bytes=_limit(hard_bytes),
        hard_packets=_limit(hard_packets),
        hard_seconds=_limit(hard_seconds),
    )


def _entry(kind: int, payload: memoryview) -> SA | None:
    return _association(payload) if kind == _MSG_NEWSA and len(payload) >= _USERSA.size else None


def parse_associations(data: bytes) -> list[SA]:
    """Read the SAs out of a dump's messages; what is cut off or of another kind is left out."""
    found = (_entry(kind, payload) for kind, _, payload in messages(memoryview(data)))
    return [sa for sa in found if sa is not None]


class XfrmTable:
    """The SAs of one network namespace: that of the thread that makes this. For one thread at a time."""

    def __init__(self) -> None:
        """Open it. Raises OSError if the kernel has no XFRM."""
        self._netlink = NetlinkSocket(NETLINK_XFRM)

    def __enter__(self) -> XfrmTable:
        return self

    def __exit__(self, *_: object) -> None:
        self._netlink.close()

    def associations(self) -> list[SA]:
        """Return all SAs of the namespace with their counters. Raises OSError."""
        return self._netlink.listing(_MSG_GETSA, "listing the SAs", _entry)

    def between(self, src: str | None, dst: str | None) -> list[SA]:
        """Return the SAs from an address to another, newest first; one may be None: any. Raises OSError."""
        family = socket.AF_INET6 if ":" in (src or dst or "") else socket.AF_INET
        bits = 128 if family == socket.AF_INET6 else 32
        ends = [bytes(16) if end is None else packed_address(end, family) for end in (src, dst)]
        question = Message()
        question.attribute(
            _ATTR_ADDRESS_FILTER,
            _FILTER.pack(*ends, family, bits * (src is not None), bits * (dst is not None)),
        )
        what = f"listing the SAs {src or 'from anywhere'} -> {dst or 'anywhere'}"
        found = self._netlink.listing(_MSG_GETSA, what, _entry, bytes(question[HEADER.size :]))
        # A kernel that does not know the filter lists all.
        return [sa for sa in found if src in (None, sa.src) and dst in (None, sa.dst)]

    def delete(self, sa: SA) -> None:
        """Delete an SA; OSError (ESRCH) if there is none."""
        family = socket.AF_INET6 if ":" in sa.dst else socket.AF_INET
        protocol = _NUMBERS.get(sa.proto) or int(sa.proto)
        spi = sa.spi.to_bytes(4, "big")
        message = Message(_USERSA_ID.pack(packed_address(sa.dst, family), spi, family, protocol))
        if sa.mark[1]:
            message.attribute(_ATTR_MARK, struct.pack("=II", *sa.mark))
        self._netlink.request(message, _MSG_DELSA, 0, f"deleting the SA {sa.src} -> {sa.dst} spi {sa.spi:#x}")
