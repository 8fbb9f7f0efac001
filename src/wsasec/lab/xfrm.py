"""Security associations of the lab: what `wsasec.kernel.xfrm` lists, and how they are installed."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

from ..kernel.netlink import CREATE, Message
from ..kernel.xfrm import SA, XfrmTable, packed_address, parse_associations
from .errors import LabError
from .keys import Key

__all__ = ["SA", "AssociationSpec", "XfrmSocket", "parse_associations"]

_MSG_NEWSA: Final = 0x10
_MSG_DELSA: Final = 0x11
_ATTR_CRYPT: Final = 2
_ATTR_AEAD: Final = 18
_ATTR_AUTH_TRUNC: Final = 20
_ATTR_REPLAY_ESN: Final = 23
_ATTR_SET_MARK: Final = 29
_ATTR_SET_MARK_MASK: Final = 30
_STATE_ESN: Final = 128
_TRANSPORT: Final = 0
_INFINITE: Final = 2**64 - 1
_REPLAY_WINDOW: Final = 1024

# struct xfrm_usersa_id.
_USERSA_ID: Final = struct.Struct("=16s4sHB1x")
# struct xfrm_usersa_info: selector; id; saddr; lft; curlft; stats; seq, reqid; family, mode, window, flags.
_USERSA: Final = struct.Struct("=16s16s4H H3B3x iI 16s4sB3x 16s 8Q 4Q 3I II H3B7x")
assert _USERSA.size == 224  # noqa: S101


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


def _algorithm(name: str, *numbers: int) -> bytes:
    return struct.pack(f"=64s{len(numbers)}I", name.encode(), *numbers)


class XfrmSocket(XfrmTable):
    """The XFRM of one network namespace: that of the thread that makes this."""

    def __init__(self) -> None:
        """Open it. Raises LabError if the kernel has no XFRM."""
        try:
            super().__init__()
        except OSError as error:
            raise LabError(
                f"this kernel has no XFRM (IPsec): {error.strerror}",
                "run it with `wsasec lab run -- COMMAND`",
            ) from error

    def __enter__(self) -> XfrmSocket:
        return self

    def add(self, spec: AssociationSpec, key: Key, *, integrity_only: bool = False) -> None:
        """Add a transport-mode ESP SA with extended sequence numbers; OSError if the kernel refuses it."""
        dst, src = packed_address(spec.dst, spec.family), packed_address(spec.src, spec.family)
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

    def remove(self, spec: AssociationSpec) -> None:
        """Delete an SA; OSError (ESRCH) if there is none."""
        spi = spec.spi.to_bytes(4, "big")
        message = Message(
            _USERSA_ID.pack(packed_address(spec.dst, spec.family), spi, spec.family, socket.IPPROTO_ESP)
        )
        what = f"deleting the SA {spec.src} -> {spec.dst} spi {spec.spi:#x}"
        self._netlink.request(message, _MSG_DELSA, 0, what)
