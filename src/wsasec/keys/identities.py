"""Identities as charon reads them from text."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

__all__ = ["is_exact"]

_HOST: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_MAIL: Final = re.compile(r"[A-Za-z0-9_.+=/-]+@[A-Za-z0-9_.-]+")
_DN: Final = re.compile(r"[A-Za-z0-9.]+=[^*%#]*")


def is_exact(identity: str) -> bool:
    """Whether charon takes this text for one identity, that which it shows so, and for no other.

    The text comes from a peer. "%any", a "*" or a prefix such as "asn1dn:" would make a pattern of it, or
    something else: such identities cannot be asked for.
    """
    try:
        return int(ipaddress.ip_address(identity)) != 0 and "%" not in identity
    except ValueError:
        pass
    return identity.isprintable() and any(form.fullmatch(identity) for form in (_HOST, _MAIL, _DN))
