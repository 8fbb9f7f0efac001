"""charon's plugin for the engine: where an administrator has put it.

It is GPL-2.0-or-later and no part of this package: `make charon-plugin` builds it for the strongSwan that is
installed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from .reason import CharonError, Reason

__all__ = ["ENVIRONMENT", "NAME", "find_plugin"]

NAME: Final = "libstrongswan-kernel-wsasec.so"

ENVIRONMENT: Final = "WSASEC_CHARON_PLUGIN"
"""Variable with the path of the plugin, in place of those where it is looked for."""

_PLACES: Final = (
    Path("/usr/local/lib/wsasec"),
    Path("/usr/lib/wsasec"),
    Path("/usr/lib/ipsec/plugins"),
    Path("/usr/libexec/ipsec/plugins"),
    Path("/usr/lib/strongswan/plugins"),
)


def find_plugin(configured: Path | None = None) -> Path:
    """Return the path of the plugin, which exists and which nobody but root may have changed.

    Args:
        configured: what the configuration says; None where it says nothing.

    Raises:
        CharonError: there is none, or others could write what root loads into charon.
    """
    said = os.environ.get(ENVIRONMENT)
    places = [configured] if configured else [Path(said)] if said else [each / NAME for each in _PLACES]
    for path in places:
        if path.exists():
            _require_own(path)
            return path.resolve()
    raise CharonError(
        Reason.NO_CHARON,
        f"charon's plugin for the engine is not at {' or '.join(map(str, places))}: "
        "`make charon-plugin` builds it, and its README says how to install it",
    )


def _require_own(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise CharonError(Reason.NO_CHARON, f"{path} is no file")
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CharonError(Reason.NO_CHARON, f"{path} can be written by others than root")
