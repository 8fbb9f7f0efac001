"""Distinguished names: as charon writes them, as RFC 4514 does, and as certificates have them."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from cryptography import x509

__all__ = ["Attributes", "of_certificate", "parse", "same"]

# (what the type may be: OIDs; the value in the form in which values are compared), in the order of writing.
Attributes: TypeAlias = tuple[tuple[frozenset[str], str], ...]

_OIDS: Final[dict[str, tuple[str, ...]]] = {
    "cn": ("2.5.4.3",),
    "c": ("2.5.4.6",),
    "l": ("2.5.4.7",),
    "st": ("2.5.4.8",),
    "street": ("2.5.4.9",),
    "o": ("2.5.4.10",),
    "ou": ("2.5.4.11",),
    "t": ("2.5.4.12",),
    "title": ("2.5.4.12",),
    "d": ("2.5.4.13",),
    "description": ("2.5.4.13",),
    "postalcode": ("2.5.4.17",),
    "postaladdress": ("2.5.4.16",),
    "n": ("2.5.4.41",),
    "name": ("2.5.4.41",),
    "g": ("2.5.4.42",),
    "gn": ("2.5.4.42",),
    "givenname": ("2.5.4.42",),
    "i": ("2.5.4.43",),
    "initials": ("2.5.4.43",),
    "generationqualifier": ("2.5.4.44",),
    "dnqualifier": ("2.5.4.46",),
    "pseudonym": ("2.5.4.65",),
    "organizationidentifier": ("2.5.4.97",),
    "surname": ("2.5.4.4",),
    "serialnumber": ("2.5.4.5",),
    # strongSwan's for surname and number, others' for state and surname.
    "s": ("2.5.4.4", "2.5.4.8"),
    "sn": ("2.5.4.5", "2.5.4.4"),
    "dc": ("0.9.2342.19200300.100.1.25",),
    "uid": ("0.9.2342.19200300.100.1.1",),
    "e": ("1.2.840.113549.1.9.1",),
    "email": ("1.2.840.113549.1.9.1",),
    "emailaddress": ("1.2.840.113549.1.9.1",),
    "un": ("1.2.840.113549.1.9.2",),
    "unstructuredname": ("1.2.840.113549.1.9.2",),
}
_OID: Final = re.compile(r"(?:OID\.)?(\d+(?:\.\d+)+)", re.IGNORECASE | re.ASCII)
_PAIR: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*|(?:OID\.)?\d+(?:\.\d+)+)\s*=", re.IGNORECASE | re.ASCII)
_HEX: Final = re.compile(r"[0-9A-Fa-f]{2}")
_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_SPECIAL: Final = frozenset(' "#+,;<=>\\')


def _type(text: str) -> frozenset[str]:
    if match := _OID.fullmatch(text):
        return frozenset((match[1],))
    try:
        return frozenset(_OIDS[text.lower()])
    except KeyError:
        raise ValueError(f"{text!r} is no attribute that is known") from None


def _comparable(value: str) -> str:
    """Return a value as X.520 compares most: whatever the case (here of ASCII), and however many spaces."""
    return " ".join(part for part in value.split(" ") if part).translate(_LOWER)


def _value(text: str, start: int) -> tuple[str, int]:
    """Read an escaped value; return it, and where it ends."""
    raw = bytearray()
    quoted = text.startswith('"', start)
    at = start + quoted
    while at < len(text):
        char = text[at]
        if char == "\\":
            if pair := _HEX.match(text, at + 1):
                raw.append(int(pair[0], 16))
                at += 3
                continue
            if at + 1 >= len(text) or text[at + 1] not in _SPECIAL:
                raise ValueError("a backslash that escapes nothing")
            char = text[at + 1]
            at += 1
        elif quoted and char == '"':
            return raw.decode(), at + 1
        elif not quoted and char in ",+;":
            break
        raw += char.encode()
        at += 1
    if quoted:
        raise ValueError("a quotation mark without its other")
    return raw.decode(), at


def parse(text: str, *, charon: bool = False) -> Attributes:
    """Read a distinguished name.

    Args:
        text: "C=CH, O=strongSwan, CN=moon", "CN=moon,O=strongSwan,C=CH" or the like.
        charon: it is charon's, which escapes nothing: a value that has a comma cannot be told from two.

    Raises:
        ValueError: it is none.
    """
    found = []
    at = 0
    while True:
        match = _PAIR.match(text, at)
        if not match:
            raise ValueError("TYPE=VALUE, parted by commas, was expected")
        if charon:
            end = text.find(", ", match.end())
            end = len(text) if end < 0 else end
            value = text[match.end() : end]
        else:
            start = match.end()
            while text.startswith(" ", start):
                start += 1
            value, end = _value(text, start)
        found.append((_type(match[1]), _comparable(value)))
        rest = text[end:].lstrip(" ")
        if not rest:
            return tuple(found)
        if rest[0] not in ",+;":
            raise ValueError("something follows a value")
        at = len(text) - len(rest) + 1


def of_certificate(certificate: x509.Certificate) -> Attributes:
    """Return the subject of a certificate. Raises ValueError if it cannot be read."""
    return tuple(
        (
            frozenset((attribute.oid.dotted_string,)),
            _comparable(
                attribute.value if isinstance(attribute.value, str) else attribute.value.decode("latin-1")
            ),
        )
        for attribute in certificate.subject
    )


def same(one: Attributes, other: Attributes) -> bool:
    """Whether two names are the same, written from the one end or from the other."""
    return bool(one) and (_equal(one, other) or _equal(one, other[::-1]))


def _equal(one: Attributes, other: Attributes) -> bool:
    return len(one) == len(other) and all(
        types & types_of_other and value == value_of_other
        for (types, value), (types_of_other, value_of_other) in zip(one, other, strict=True)
    )
