"""Bytes to questions, and answers to bytes."""

from __future__ import annotations

import array
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from .._wsasec import reason_code
from ..keys.associations import Address
from ..keys.verdict import Association, Verdict
from .codes import STEP_DAEMON, STEP_NEGOTIATE
from .protocol import (
    ACCOUNT,
    ASSOCIATION,
    HEADER,
    LARGEST,
    MAGIC,
    QUESTION,
    SECURED,
    VERDICT,
    AbortFlag,
    Flag,
    Kind,
    NameFlag,
)

__all__ = [
    "Header",
    "MalformedError",
    "Question",
    "answers",
    "encode_account",
    "encode_association",
    "encode_secured",
    "encode_verdict",
    "read_header",
    "read_question",
    "refuse_all",
]

_LONGEST_BODY: Final = LARGEST - HEADER.size
_IN: Final = struct.Struct("=H")
_CONNECTION_SECURED: Final = 1
_CONNECTION_ENCRYPTED: Final = 2
_STATUS: Final = struct.Struct("=iiHHHH")
_DETAIL: Final = 247
_KINDS: Final = frozenset(kind for kind in Kind if kind is not Kind.ANSWER)


class MalformedError(ValueError):
    """What came is not of the protocol: whoever sent it cannot be served."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a datagram begins with."""

    kind: Kind
    id: int
    length: int


@dataclass(frozen=True, slots=True)
class Question:
    """The body of most questions.

    Attributes:
        seconds: how long the answer may take.
        flags: of names.
        abort: what the connection is to be aborted for.
        peer: an address; None for that which the socket is connected to.
        name: what follows, in UTF-8.
    """

    seconds: float
    flags: NameFlag
    abort: AbortFlag
    peer: Address | None
    name: str = field(repr=False)


def read_header(data: memoryview) -> Header:
    """Read the header of a whole datagram.

    Raises:
        MalformedError: it is none, of another version, or of another length than it says.
    """
    if len(data) < HEADER.size:
        raise MalformedError("shorter than a header")
    magic, kind, _, number, length = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise MalformedError("another protocol, or another version of it")
    if length != len(data) - HEADER.size:
        raise MalformedError("not as long as it says")
    if kind not in _KINDS:
        raise MalformedError("no such question")
    return Header(Kind(kind), number, length)


def _read_peer(storage: bytes) -> Address | None:
    (family,) = _IN.unpack_from(storage)
    if family == socket.AF_UNSPEC:
        return None
    if family == socket.AF_INET:
        return IPv4Address(storage[4:8])
    if family == socket.AF_INET6:
        address = IPv6Address(storage[8:24])
        if address.ipv4_mapped:
            return address.ipv4_mapped
        scope = int.from_bytes(storage[24:28], sys.byteorder)
        return IPv6Address(f"{address}%{scope}") if address.is_link_local and scope else address
    raise MalformedError("an address of another family")


def read_question(body: bytes) -> Question:
    """Read the body of all questions but SECURE and CONTROL.

    Raises:
        MalformedError: too short, an unknown flag or family, or a name that is not UTF-8.
    """
    if len(body) < QUESTION.size:
        raise MalformedError("shorter than a question")
    milliseconds, flags, storage = QUESTION.unpack_from(body)
    names = flags & int(NameFlag.RAW | NameFlag.OPTIONAL)
    aborts = flags & int(AbortFlag.MM_SA_ID | AbortFlag.QM_SA_ID)
    if flags != names | aborts:
        raise MalformedError("a flag of another version")
    try:
        name = body[QUESTION.size :].decode()
    except UnicodeDecodeError as error:
        raise MalformedError("a name that is not UTF-8") from error
    return Question(milliseconds / 1000, NameFlag(names), AbortFlag(aborts), _read_peer(storage), name)


def answers(kind: Kind, number: int, body: bytes) -> Iterator[bytes]:
    """Make the datagrams of an answer: as many as it takes."""
    for at in range(0, max(1, len(body)), _LONGEST_BODY):
        part = body[at : at + _LONGEST_BODY]
        flags = Flag.MORE if at + len(part) < len(body) else 0
        yield HEADER.pack(MAGIC, kind | Kind.ANSWER, flags, number, len(part)) + part


def encode_verdict(verdict: Verdict, step: int = STEP_NEGOTIATE) -> bytes:
    """Make the body of an answer that is a verdict only."""
    reason = int(verdict.reason)
    detail = verdict.detail.encode("utf-8", "replace")[:_DETAIL].decode("utf-8", "ignore").encode()
    return VERDICT.pack(reason_code(reason), reason, step if reason else 0, detail)


def encode_association(found: Association) -> bytes:
    """Make the body of an answer to QUERY."""
    strings = [
        text.encode() for text in (found.encryption, found.integrity, found.identity, found.own_identity)
    ]
    strings += [found.profile.encode(), found.certificate]
    ends: list[int] = []
    for text in strings:
        ends.append((ends[-1] if ends else 0) + len(text))
    flags = _CONNECTION_SECURED * found.secured | _CONNECTION_ENCRYPTED * found.encrypted
    body = ASSOCIATION.pack(
        encode_verdict(found.verdict, STEP_DAEMON),
        *(flags, found.protocol, found.mm_sa_id, found.qm_sa_id),
        *(found.bytes_in, found.bytes_out, found.packets_in, found.packets_out),
        *(max(0, found.age), max(0, found.rekey_in), found.spi_in, found.spi_out),
        *(found.encryption_bits, found.integrity_bits, int(found.esn), found.reqid),
        *ends,
    )
    body += b"".join(strings)
    if len(body) > _LONGEST_BODY:  # a certificate of more than 60 KiB
        raise MalformedError("more than an answer holds")
    return body


def encode_account(
    verdict: Verdict,
    uid: int = 0,
    gid: int = 0,
    groups: tuple[int, ...] = (),
    name: str = "",
    identity: str = "",
) -> bytes:
    """Make the body of an answer to ACCOUNT; of a failure nothing but the verdict and the identity counts."""
    if not verdict.good:
        uid = gid = 0xFFFFFFFF  # nobody by mistake
        groups = ()
    texts = (name.encode(), identity.encode())
    head = ACCOUNT.pack(
        encode_verdict(verdict, STEP_DAEMON), uid, gid, len(groups), len(texts[0]), len(texts[1]), 0
    )
    return head + array.array("I", groups).tobytes() + b"".join(texts)


def encode_secured(codes: bytes, first: bytes) -> bytes:
    """Make the body of an answer to SECURE of what _wsasec.secure_raw() returned."""
    return SECURED.pack(first, len(codes) // 4, 0) + codes


def refuse_all(count: int, reason: int) -> bytes:
    """Make the body of an answer to SECURE by which no socket was touched."""
    code = reason_code(reason)
    first = _STATUS.pack(code, 0, STEP_DAEMON, reason, 0, 0)
    return encode_secured(array.array("i", [code] * count).tobytes(), first)
