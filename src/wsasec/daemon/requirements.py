"""What `wsasec up` needs, found out before anything is changed."""

from __future__ import annotations

import importlib.util
from typing import Final

from .. import _wsasec
from ..config.model import Config
from ..engine import missing
from ..errors import SecurityError
from ..keys.carrier import on_device
from ..keys.plugin import fitting_plugin
from ..keys.reason import CharonError
from ..keys.strongswan import find_charon
from .capabilities import NEEDED, effective

__all__ = ["StartError", "require_here", "require_rights"]

_PACKAGES: Final = "strongswan-charon strongswan-swanctl libstrongswan-standard-plugins"


class StartError(Exception):
    """The daemon cannot start here; the text says why, and what to do."""


def require_rights() -> None:
    """Find out whether this process may do all that. Raises StartError."""
    have = effective()
    lack = [name for name, number in NEEDED.items() if not have >> number & 1]
    if lack:
        raise StartError(f"run it as root, sudo wsasec up; it lacks {', '.join(lack)}")


def require_here(config: Config) -> None:
    """Find out what this system has.

    Raises:
        StartError: the kernel has no XFRM or no ESP, or what a device needs; a package is missing, and which.
        CharonError: charon's plugin for the engine is missing, or is another strongSwan's.
        ValueError: profiles with different carriers.
    """
    if on_device(config):
        _require_engine()
    else:
        _require_esp()
    for name in ("vici", "cryptography"):
        if importlib.util.find_spec(name) is None:
            raise StartError(f"the Python package {name} is missing: pip install 'wsasec[keys]'")
    if config.vici is None:
        _require_charon()


def _require_charon() -> None:
    try:
        find_charon()
    except CharonError as error:
        raise StartError(f"strongSwan's charon is missing: apt-get install {_PACKAGES}") from error


def _require_engine() -> None:
    lack = missing()
    if lack:
        raise StartError("no secure device can be had here: " + "; ".join(lack))
    _require_charon()
    fitting_plugin()


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
