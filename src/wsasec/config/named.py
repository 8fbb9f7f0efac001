"""Policies with a name of their own, as keys of profiles."""

from __future__ import annotations

from typing import Any, Final

from ..policy.known import WINDOWS_VISTA_DEFAULT
from .policies import main_mode, quick_mode

__all__ = ["KEYS", "NAMES", "expanded"]

_MAIN: Final = main_mode(WINDOWS_VISTA_DEFAULT.main_mode)
_QUICK: Final = quick_mode(WINDOWS_VISTA_DEFAULT.quick_mode)
_VISTA: Final = {
    "ike_proposals": list(_MAIN.proposals),
    "ike_rekey_seconds": _MAIN.rekey_seconds,
    "rekey_seconds": _QUICK.rekey_seconds,
    "rekey_bytes": _QUICK.rekey_bytes,
    "idle_seconds": _QUICK.idle_seconds,
}
# A socket's SAs are of one protocol, so that the last of its proposals, of AH, is a policy of its own.
_NAMED: Final[dict[str, dict[str, Any]]] = {
    "windows-vista-default": {**_VISTA, "proposals": list(_QUICK.esp)},
    "windows-vista-default-ah": {**_VISTA, "ah_proposals": list(_QUICK.ah)},
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
