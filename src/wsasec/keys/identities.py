"""Identities as charon reads them from text."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from fnmatch import fnmatchcase
from typing import Final

__all__ = ["for_charon", "is_exact", "is_key", "matches", "of_key"]

# With a letter: "10.0.0.0/8" and "10.0.0.1-10.0.0.9" are all the addresses in them.
_HOST: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_][A-Za-z0-9_./-]*")
_MAIL: Final = re.compile(r"[A-Za-z0-9_.+=/-]+@[A-Za-z0-9_.-]+")
_DN: Final = re.compile(r"[A-Za-z0-9.]+=[^*%#]*")
_KEY: Final = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){19}")


def of_key(der: bytes) -> str:
    """Return the identity of a raw key, as charon shows it: SHA-1 of its SubjectPublicKeyInfo."""
    return hashlib.sha1(der, usedforsecurity=False).digest().hex(":")


def is_key(identity: str) -> bool:
    """Whether an identity is that of a raw key."""
    return _KEY.fullmatch(identity) is not None


def for_charon(identity: str) -> str:
    """Return an identity that charon has shown as charon takes it."""
    return f"@#{identity.replace(':', '')}" if is_key(identity) else identity


def is_exact(identity: str) -> bool:
    """Whether charon takes this text for one identity, that which it shows so, and for no other.

    The text comes from a peer. "%any", a "*" or a prefix such as "asn1dn:" would make a pattern of it, or
    something else: such identities cannot be asked for.
    """
    try:
        return int(ipaddress.ip_address(identity)) != 0 and "%" not in identity
    except ValueError:
        pass
    return identity.isprintable() and any(form.fullmatch(identity) for form in (_HOST, _MAIL, _DN, _KEY))


def matches(identity: str, name: str) -> bool:
    """Whether an identity may be one that a configuration's name stands for; charon has the last word."""
    return name == "%any" or fnmatchcase(identity.lower(), name.lower())
