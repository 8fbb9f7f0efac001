"""What is found on Windows, without judgement: see `wsasec.doctor.windows_rows` for what it means."""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .. import _wsasec
from ..errors import SecurityError
from .report import Build, find_build
from .services import Service, ask_services

__all__ = ["LIBRARY", "SERVICES", "Facts", "System", "Trial", "collect", "try_socket"]

LIBRARY: Final = "fwpuclnt.dll"
"""The library, and the name of the step at which it is missing (src/core/errors.c)."""
SERVICES: Final = ("BFE", "IKEEXT", "PolicyAgent")
_FAMILIES: Final = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class System:
    """Windows' version; and Wine's, or None where it is Windows itself."""

    windows: str
    wine: str | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """How securing a fresh socket went that was closed again.

    Attributes:
        family: "ipv4" or "ipv6".
        made: whether this system has sockets of the family.
        why: why there is none, or why it could not be secured; None if it could be.
        hint: what to do about it.
        step: the step that failed, as `wsasec.SecurityError` names it.

    """

    family: str
    made: bool = True
    why: str | None = None
    hint: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything; whether the library is there is told by the trials."""

    system: System
    trials: tuple[Trial, ...]
    services: tuple[Service, ...]
    build: Build


def collect() -> Facts:
    """Look at this system."""
    return Facts(
        system=find_system(),
        trials=tuple(try_socket(family) for family in _FAMILIES),
        services=ask_services(SERVICES),
        build=find_build(),
    )


def find_system() -> System:
    """Return the versions."""
    if sys.platform != "win32":
        return System("none")
    found = sys.getwindowsversion()
    windows = f"{found.major}.{found.minor}.{found.build}"
    # The one function that Wine has and Windows has not.
    ask = getattr(ctypes.WinDLL("ntdll"), "wine_get_version", None)
    if ask is None:
        return System(windows)
    ask.restype = ctypes.c_char_p
    return System(windows, ask().decode())


def try_socket(family: str, secure: Callable[[socket.socket], None] = _wsasec.secure) -> Trial:
    """Secure a fresh socket, and close it: only so Windows tells whether it would."""
    try:
        made = socket.socket(_FAMILIES[family], socket.SOCK_STREAM)
    except OSError as error:
        return Trial(family, made=False, why=error.strerror or str(error))
    with made:
        try:
            secure(made)
        except SecurityError as error:
            why = f"{error.strerror} ({error.winsock.name} {error.winsock.value})"
            # What is said there of the socket itself does not matter any more: it is closed.
            return Trial(family, why=why, hint=error.hint.partition("; the socket")[0], step=error.step)
    return Trial(family)
