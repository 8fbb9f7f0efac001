"""Policies with a name of their own, as keys of profiles."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["KEYS", "NAMES", "expanded"]

_GIGABYTE: Final = 1 << 30
# What wsasec.policy.WINDOWS_VISTA_DEFAULT comes to; a test compares the two. A socket's SAs are of one
# protocol, so that its last proposal, of AH, is a policy of its own.
_VISTA: Final = {
    "ike_proposals": ["aes128-sha1-ecp256", "3des-sha1-modp1024"],
    "ike_rekey_seconds": 7200,
    "rekey_seconds": 3600,
    "rekey_bytes": 55 * _GIGABYTE,
    "idle_seconds": 300,
}
_NAMED: Final[dict[str, dict[str, Any]]] = {
    "windows-vista-default": {**_VISTA, "proposals": ["null-sha1", "aes128-sha1", "3des-sha1"]},
    "windows-vista-default-ah": {**_VISTA, "ah_proposals": ["sha1"]},
}
# Nobody has to prove anything by it.
_ANYBODY: Final = {"identity": {"anonymous": True}, "trust": {"anonymous": True}}

NAMES: Final = tuple(_NAMED)
KEYS: Final = (*_VISTA, "proposals", "ah_proposals")
"""Keys that a profile with a named policy cannot have beside it."""


def expanded(table: dict[str, Any]) -> dict[str, Any]:
    """Return the table of a profile with what its policy stands for."""
    if "policy" not in table:
        return table
    return {**_ANYBODY, **_NAMED[table["policy"]], **table}
