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

__all__ = ["AES_GCM", "CHACHA20_POLY1305", "SA", "AssociationSpec", "XfrmSocket", "parse_associations"]

AES_GCM: Final = "rfc4106(gcm(aes))"
"""AES-GCM with an 8-byte IV and a 16-byte tag (RFC 4106); the length of the key says which AES."""

CHACHA20_POLY1305: Final = "rfc7539esp(chacha20,poly1305)"
"""ChaCha20-Poly1305 (RFC 7634)."""

_MSG_NEWSA: Final = 0x10
_MSG_DELSA: Final = 0x11
_MSG_NEWPOLICY: Final = 0x13
_ATTR_CRYPT: Final = 2
_ATTR_ENCAP: Final = 4
_ATTR_TMPL: Final = 5
_ATTR_AEAD: Final = 18
_ATTR_AUTH_TRUNC: Final = 20
_ATTR_REPLAY_ESN: Final = 23
_ATTR_SET_MARK: Final = 29
_ATTR_SET_MARK_MASK: Final = 30
_STATE_ESN: Final = 128
_TRANSPORT: Final = 0
_INFINITE: Final = 2**64 - 1
_REPLAY_WINDOW: Final = 1024
_ENCAP_ESP_IN_UDP: Final = 2

# struct xfrm_usersa_id.
_USERSA_ID: Final = struct.Struct("=16s4sHB1x")
# struct xfrm_usersa_info: selector; id; saddr; lft; curlft; stats; seq, reqid; family, mode, window, flags.
_USERSA: Final = struct.Struct("=16s16s4H H3B3x iI 16s4sB3x 16s 8Q 4Q 3I II H3B7x")
assert _USERSA.size == 224  # noqa: S101
# struct xfrm_encap_tmpl: type, the original address, which the kernel does not use; ports in network order.
_ENCAP: Final = struct.Struct("=H2s2s2x16x")
assert _ENCAP.size == 24  # noqa: S101
# struct xfrm_userpolicy_info: selector; lft; curlft; priority, index; dir, action, flags, share.
_POLICY: Final = struct.Struct("=16s16s4H H3B3x iI 8Q 4Q 2I 4B4x")
assert _POLICY.size == 168  # noqa: S101
# struct xfrm_user_tmpl: id; family; saddr; reqid; mode, share, optional; aalgos, ealgos, calgos.
_TMPL: Final = struct.Struct("=16s4sB3x H2x 16s I 3Bx 3I")
assert _TMPL.size == 64  # noqa: S101


@dataclass(frozen=True, slots=True)
class AssociationSpec:
    """One direction of the lab's traffic in one family; the same in both namespaces.

    Attributes:
        src: address of the sender.
        dst: address of the receiver.
        family: AF_INET or AF_INET6.
        spi: security parameters index.
        reqid: what policies name it by.
        mark: what it puts on packets; with mask 0 nothing.
        mask: which bits of the mark.
        aead: the kernel's name of the algorithm, where it encrypts.
        esn: whether sequence numbers are extended (64 bits, RFC 4303 2.2.1).
        ports: of the UDP encapsulation (RFC 3948), the sender's and the receiver's; None for raw ESP.
        sent: the sequence number that the last packet would have had, sent or received.
        window: packets of replay protection.
    """

    src: str
    dst: str
    family: int
    spi: int
    reqid: int
    mark: int
    mask: int
    aead: str = AES_GCM
    esn: bool = True
    ports: tuple[int, int] | None = None
    sent: int = 0
    window: int = _REPLAY_WINDOW


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
        """Add a transport-mode ESP SA; OSError if the kernel refuses it."""
        dst, src = packed_address(spec.dst, spec.family), packed_address(spec.src, spec.family)
        message = Message(
            _USERSA.pack(
                *(bytes(16), bytes(16), 0, 0, 0, 0, spec.family, 0, 0, 0, 0, 0),
                *(dst, spec.spi.to_bytes(4, "big"), socket.IPPROTO_ESP, src),
                *(_INFINITE,) * 4,
                *(0,) * 12,  # time limits, counters, statistics, sequence number
                *(spec.reqid, spec.family, _TRANSPORT, 0, _STATE_ESN if spec.esn else 0),
            )
        )
        if integrity_only:
            header = _algorithm("hmac(sha256)", 8 * len(key), 128)
            message.attribute(_ATTR_AUTH_TRUNC, header, key.reveal())
            message.attribute(_ATTR_CRYPT, _algorithm("ecb(cipher_null)", 0))
        else:
            message.attribute(_ATTR_AEAD, _algorithm(spec.aead, 8 * len(key), 128), key.reveal())
        words = spec.window // 32
        low, high = spec.sent & 0xFFFFFFFF, spec.sent >> 32
        replay = struct.pack("=6I", words, low, low, high, high, spec.window)
        message.attribute(_ATTR_REPLAY_ESN, replay, bytes(4 * words))
        message.attribute(_ATTR_SET_MARK, struct.pack("=I", spec.mark))
        message.attribute(_ATTR_SET_MARK_MASK, struct.pack("=I", spec.mask))
        if spec.ports is not None:
            ports = [port.to_bytes(2, "big") for port in spec.ports]
            message.attribute(_ATTR_ENCAP, _ENCAP.pack(_ENCAP_ESP_IN_UDP, *ports))
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

    def require(self, src: str, dst: str, family: int, direction: int, reqid: int) -> None:
        """Add a system's policy: everything between two addresses is ESP in transport mode, or dropped.

        Args:
            src: address of the sender.
            dst: address of the receiver.
            family: AF_INET or AF_INET6.
            direction: 0 for what comes in, 1 for what goes out.
            reqid: of the associations that serve it.

        Raises:
            OSError: the kernel refused it.
        """
        ends, length = (packed_address(dst, family), packed_address(src, family)), 32
        if family == socket.AF_INET6:
            length = 128
        message = Message(
            _POLICY.pack(
                *(*ends, 0, 0, 0, 0, family, length, length, 0, 0, 0),
                *(_INFINITE,) * 4,
                *(0,) * 8,
                *(0, 0, direction, 0, 0, 0),
            )
        )
        everything = 0xFFFFFFFF
        template = _TMPL.pack(
            *(bytes(16), bytes(4), socket.IPPROTO_ESP, family, bytes(16), reqid),
            *(_TRANSPORT, 0, 0, everything, everything, everything),
        )
        message.attribute(_ATTR_TMPL, template)
        self._netlink.request(message, _MSG_NEWPOLICY, CREATE, f"requiring ESP for {src} -> {dst}")
