"""The strongSwan that is installed: where its charon is, and which version it is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from .reason import CharonError, Reason

__all__ = ["find_charon", "version_of"]

_CHARON: Final = (
    Path("/usr/lib/ipsec/charon"),
    Path("/usr/libexec/ipsec/charon"),
    Path("/usr/lib/strongswan/charon"),
)
_SECONDS: Final = 10.0
_VERSION: Final = re.compile(r"strongSwan U?(\d[\w.~+-]*)")


def find_charon() -> Path:
    """Return the path of charon. Raises CharonError: it is not installed."""
    for path in _CHARON:
        if path.exists():
            return path
    raise CharonError(Reason.NO_CHARON, "strongSwan is not installed: apt-get install strongswan-charon")


def version_of(charon: Path) -> str | None:
    """Return the version of a charon, as "5.9.8"; None if it does not say."""
    try:
        done = subprocess.run(
            [str(charon), "--version"],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(done.stdout.decode(errors="replace"))
    return found[1] if found else None
