"""Security associations over the kernel's netlink interface.

Netlink, not ``ip xfrm``: a key is then never an argument, a line of a batch, or part of a tool's complaint.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

from .errors import LabError
from .keys import Key
from .netlink import CREATE, Message, NetlinkSocket, attributes, messages

__all__ = ["SA", "AssociationSpec", "XfrmSocket", "parse_associations"]

_NETLINK_XFRM: Final = 6
_MSG_NEWSA: Final = 0x10
_MSG_DELSA: Final = 0x11
_MSG_GETSA: Final = 0x12

_ATTR_CRYPT: Final = 2
_ATTR_AEAD: Final = 18
_ATTR_AUTH_TRUNC: Final = 20
_ATTR_MARK: Final = 21
_ATTR_REPLAY_ESN: Final = 23
_ATTR_SET_MARK: Final = 29
_ATTR_SET_MARK_MASK: Final = 30

_STATE_ESN: Final = 128
_MODES: Final = {0: "transport", 1: "tunnel", 4: "beet"}
_PROTOCOLS: Final = {50: "esp", 51: "ah", 108: "comp"}
_TRANSPORT: Final = 0
_INFINITE: Final = 2**64 - 1
_REPLAY_WINDOW: Final = 1024

# struct xfrm_usersa_id.
_USERSA_ID: Final = struct.Struct("=16s4sHB1x")
# struct xfrm_usersa_info: selector; id; saddr; lft; curlft; stats; seq, reqid; family, mode, window, flags.
_USERSA: Final = struct.Struct("=16s16s4H H3B3x iI 16s4sB3x 16s 8Q 4Q 3I II H3B7x")
assert _USERSA.size == 224  # noqa: S101


@dataclass(frozen=True, slots=True)
class SA:
    """A security association as the kernel lists it, without its keys.

    Attributes:
        src: address of the sender.
        dst: address of the receiver.
        spi: security parameters index.
        proto: "esp", "ah", "comp" or a number.
        mode: "transport", "tunnel", "beet" or a number.
        reqid: what policies name it by.
        bytes: payload bytes that passed, by the kernel's account.
        packets: packets that passed.
        mark: (value, mask) a packet must have to find it; (0, 0) for any.
        set_mark: (value, mask) it puts on packets; (0, 0) for none.
        algorithm: the kernel's name of the AEAD or cipher.
        esn: whether sequence numbers are extended.
        replay_window: packets; 0 for no replay protection.
        replayed: packets refused as replays.
        integrity_failed: packets refused for a wrong check value.
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


@dataclass(frozen=True, slots=True)
class AssociationSpec:
    """One direction of the lab's traffic in one family; the same in both namespaces."""

    src: str
    dst: str
    family: int
    spi: int
    reqid: int
    mark: int
    mask: int


def _address(text: str, family: int) -> bytes:
    return socket.inet_pton(family, text).ljust(16, b"\0")


def _text(address: bytes, family: int) -> str:
    if family == socket.AF_INET:
        return socket.inet_ntop(family, address[:4])
    return socket.inet_ntop(socket.AF_INET6, address)


def _algorithm(name: str, *numbers: int) -> bytes:
    return struct.pack(f"=64s{len(numbers)}I", name.encode(), *numbers)


def _pair(data: memoryview) -> tuple[int, int]:
    first, second = struct.unpack_from("=II", data)
    return first, second


def _association(data: memoryview) -> SA:
    fields = _USERSA.unpack_from(data)
    daddr, spi, proto, saddr = fields[12:16]
    count_bytes, count_packets = fields[24:26]
    window, replayed, failed, _, reqid, family, mode, small_window, flags = fields[28:37]
    mark = set_mark = (0, 0)
    algorithm = ""
    replay_window = window or small_window
    for kind, value in attributes(data[_USERSA.size :]):
        if kind == _ATTR_MARK and len(value) >= 8:
            mark = _pair(value)
        elif kind == _ATTR_SET_MARK and len(value) >= 4:
            set_mark = (struct.unpack_from("=I", value)[0], set_mark[1] or 0xFFFFFFFF)
        elif kind == _ATTR_SET_MARK_MASK and len(value) >= 4:
            set_mark = (set_mark[0], struct.unpack_from("=I", value)[0])
        elif kind in (_ATTR_AEAD, _ATTR_CRYPT) and len(value) >= 64:
            algorithm = bytes(value[:64]).split(b"\0")[0].decode("ascii", "replace")
        elif kind == _ATTR_REPLAY_ESN and len(value) >= 24:
            replay_window = struct.unpack_from("=I", value, 20)[0]
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
        algorithm=algorithm,
        esn=bool(flags & _STATE_ESN),
        replay_window=replay_window,
        replayed=replayed,
        integrity_failed=failed,
    )


def parse_associations(data: bytes) -> list[SA]:
    """Read the SAs out of a dump's messages; what is cut off or of another kind is left out."""
    return [
        _association(payload)
        for kind, _, payload in messages(memoryview(data))
        if kind == _MSG_NEWSA and len(payload) >= _USERSA.size
    ]


class XfrmSocket:
    """The XFRM of one network namespace: that of the thread that makes this."""

    def __init__(self) -> None:
        """Open it. Raises LabError if the kernel has no XFRM."""
        try:
            self._netlink = NetlinkSocket(_NETLINK_XFRM)
        except OSError as error:
            raise LabError(
                f"this kernel has no XFRM (IPsec): {error.strerror}",
                "run it with `wsasec lab run -- COMMAND`",
            ) from error

    def __enter__(self) -> XfrmSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._netlink.close()

    def add(self, spec: AssociationSpec, key: Key, *, integrity_only: bool = False) -> None:
        """Add a transport-mode ESP SA with extended sequence numbers; OSError if the kernel refuses it."""
        dst, src = _address(spec.dst, spec.family), _address(spec.src, spec.family)
        message = Message(
            _USERSA.pack(
                *(bytes(16), bytes(16), 0, 0, 0, 0, spec.family, 0, 0, 0, 0, 0),
                *(dst, spec.spi.to_bytes(4, "big"), socket.IPPROTO_ESP, src),
                *(_INFINITE,) * 4,
                *(0,) * 12,  # time limits, counters, statistics, sequence number
                *(spec.reqid, spec.family, _TRANSPORT, 0, _STATE_ESN),
            )
        )
        if integrity_only:
            header = _algorithm("hmac(sha256)", 8 * len(key), 128)
            message.attribute(_ATTR_AUTH_TRUNC, header, key.reveal())
            message.attribute(_ATTR_CRYPT, _algorithm("ecb(cipher_null)", 0))
        else:
            header = _algorithm("rfc4106(gcm(aes))", 8 * len(key), 128)
            message.attribute(_ATTR_AEAD, header, key.reveal())
        words = _REPLAY_WINDOW // 32
        replay = struct.pack("=6I", words, 0, 0, 0, 0, _REPLAY_WINDOW)
        message.attribute(_ATTR_REPLAY_ESN, replay, bytes(4 * words))
        message.attribute(_ATTR_SET_MARK, struct.pack("=I", spec.mark))
        message.attribute(_ATTR_SET_MARK_MASK, struct.pack("=I", spec.mask))
        try:
            what = f"adding the SA {spec.src} -> {spec.dst} spi {spec.spi:#x}"
            self._netlink.request(message, _MSG_NEWSA, CREATE, what)
        finally:
            message.wipe()

    def delete(self, spec: AssociationSpec) -> None:
        """Delete an SA; OSError (ESRCH) if there is none."""
        spi = spec.spi.to_bytes(4, "big")
        message = Message(
            _USERSA_ID.pack(_address(spec.dst, spec.family), spi, spec.family, socket.IPPROTO_ESP)
        )
        what = f"deleting the SA {spec.src} -> {spec.dst} spi {spec.spi:#x}"
        self._netlink.request(message, _MSG_DELSA, 0, what)

    def associations(self) -> list[SA]:
        """Return all SAs of the namespace with their counters. Raises OSError."""
        parts = self._netlink.dump(_MSG_GETSA, "listing the SAs")
        return [found for part in parts for found in parse_associations(part)]
