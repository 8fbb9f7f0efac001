"""Profiles that protect less than is good practice today, and by what."""

from __future__ import annotations

from typing import Any, Final

from ..profiles import DEFAULT
from .document import Document

__all__ = ["weaknesses"]

_WEAK: Final = frozenset(
    ("null", "3des", "md5", "sha1", "prfmd5", "prfsha1", "modp768", "modp1024", "modp1536")
)
_LISTS: Final = ("ike_proposals", "proposals", "ah_proposals")


def _words(table: dict[str, Any], trust: dict[str, Any]) -> list[str]:
    words = [word for key in _LISTS for text in table.get(key, ()) for word in text.split("-")]
    found = [word for word in dict.fromkeys(words) if word in _WEAK]
    if table.get("trust", trust).get("anonymous"):
        found.append("peers without an identity")
    return found


def weaknesses(document: Document) -> dict[str, list[str]]:
    """Return the weak profiles of a file, and what is weak in them: keywords of their proposals, and words.

    RFC 8221 and RFC 8247 have the state of the algorithms.
    """
    trust = document.data.get("trust", {})
    tables = {DEFAULT.name: {}, **document.data.get("profile", {})}
    return {name: found for name, table in tables.items() if (found := _words(table, trust))}
