"""charon's plugin for the engine: where an administrator has put it, and for which strongSwan it was built.

It is GPL-2.0-or-later and no part of this package: `make charon-plugin` builds it for the strongSwan that is
installed. strongSwan's interfaces change between versions, and it does not look: with another one's plugin
charon crashes, or calls the wrong functions.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from .reason import CharonError, Reason
from .strongswan import find_charon, version_of

__all__ = ["ENVIRONMENT", "NAME", "built_for", "find_plugin", "fitting_plugin"]

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
# As src/charon/kernel_wsasec_plugin.c has it.
_BUILT_FOR: Final = re.compile(rb"kernel-wsasec for strongSwan ([\w.~+-]+)\0")


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
            found = path.resolve()
            _require_own(found)
            return found
    # What is to be done comes first, as a long text is cut.
    raise CharonError(
        Reason.NO_CHARON,
        "`make charon-plugin` builds charon's plugin for the engine, which is not "
        + (f"at {places[0]}" if len(places) == 1 else f"in {_PLACES[0]}, nor where else it is looked for"),
    )


def built_for(path: Path) -> str | None:
    """Return the version of strongSwan that a plugin is for; None if it does not say. Raises OSError."""
    found = _BUILT_FOR.search(path.read_bytes())
    return found[1].decode() if found else None


def fitting_plugin(configured: Path | None = None) -> Path:
    """As `find_plugin`, built for the strongSwan that is installed, as far as that tells its version.

    Raises:
        CharonError: there is none, or it was built for another strongSwan; or as `find_plugin`.
    """
    path = find_plugin(configured)
    try:
        built = built_for(path)
    except OSError as error:
        raise CharonError(Reason.NO_CHARON, f"{path} cannot be read: {error.strerror}") from error
    installed = version_of(find_charon())
    if built is None or installed not in (None, built):
        whose = "an unknown strongSwan" if built is None else f"strongSwan {built}"
        raise CharonError(
            Reason.NO_CHARON,
            f"charon's plugin is for {whose}, and {installed or 'another'} is installed: "
            f"run `make charon-plugin`, and install it anew as {path}",
        )
    return path


def _require_own(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise CharonError(Reason.NO_CHARON, f"{path} is no file")
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CharonError(Reason.NO_CHARON, f"{path} can be written by others than root")
    # Who may rename a folder can put another file there after this look. In a user namespace the system's
    # root is none of its users.
    trusted = {0, os.geteuid(), Path("/").stat().st_uid}
    for folder in path.parents:
        status = folder.stat()
        anybody = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if status.st_uid not in trusted or anybody:
            raise CharonError(
                Reason.NO_CHARON, f"others than root can replace {path.name}: {folder} is theirs"
            )
