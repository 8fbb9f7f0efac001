"""What `wsasec up` needs, found out before anything is changed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from .. import _wsasec
from ..config.model import Config
from ..engine import missing
from ..errors import SecurityError
from ..keys.carrier import on_device
from ..keys.plugin import find_plugin
from .capabilities import KEPT, effective

__all__ = ["StartError", "require_here", "require_rights"]

_CHARON: Final = ("/usr/lib/ipsec/charon", "/usr/libexec/ipsec/charon", "/usr/lib/strongswan/charon")
_PACKAGES: Final = "strongswan-charon strongswan-swanctl libstrongswan-standard-plugins"


class StartError(Exception):
    """The daemon cannot start here; the text says why, and what to do."""


def require_rights() -> None:
    """Find out whether this process may do all that. Raises StartError."""
    have = effective()
    lack = [name for name, number in KEPT.items() if not have >> number & 1]
    if lack:
        raise StartError(f"run it as root, sudo wsasec up; it lacks {', '.join(lack)}")


def require_here(config: Config) -> None:
    """Find out what this system has.

    Raises:
        StartError: the kernel has no XFRM or no ESP, or what a device needs; a package is missing, and which.
        CharonError: charon's plugin for the engine is missing.
        ValueError: profiles with different carriers.
    """
    if on_device(config):
        _require_engine()
    else:
        _require_esp()
    for name in ("vici", "cryptography"):
        if importlib.util.find_spec(name) is None:
            raise StartError(f"the Python package {name} is missing: pip install 'wsasec[keys]'")
    if config.vici is None and not any(Path(path).exists() for path in _CHARON):
        raise StartError(f"strongSwan's charon is missing: apt-get install {_PACKAGES}")


def _require_engine() -> None:
    lack = missing()
    if lack:
        raise StartError("no secure device can be had here: " + "; ".join(lack))
    find_plugin()


def _require_esp() -> None:
    try:
        esp = _wsasec.capability("esp4") or _wsasec.capability("esp6")
    except SecurityError as error:
        raise StartError(f"the kernel cannot be asked: {error}") from error
    if not esp:
        raise StartError(
            "this kernel has no ESP (CONFIG_INET_ESP): no security association could be made; "
            'profiles with `carrier = "device"` do without; `wsasec lab run -- COMMAND` boots one that has'
        )
