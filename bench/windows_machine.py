"""The computer, and its Windows or Wine."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from typing import Any, Final

__all__ = ["describe_windows"]

_PROCESSOR: Final = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"


def describe_windows() -> dict[str, Any]:
    """Describe them, where they tell."""
    return {
        "cpu": _processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "system": _system(),
    }


def _processor() -> str | None:
    if sys.platform != "win32":
        return None
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _PROCESSOR) as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except OSError:
        return None


def _system() -> str | None:
    if sys.platform != "win32":
        return None
    version = sys.getwindowsversion()
    own = f"Windows {version.major}.{version.minor}.{version.build}"
    ntdll = ctypes.CDLL("ntdll.dll")
    if not hasattr(ntdll, "wine_get_version"):
        return own
    ntdll.wine_get_version.restype = ctypes.c_char_p
    name, release = ctypes.c_char_p(), ctypes.c_char_p()
    ntdll.wine_get_host_version(ctypes.byref(name), ctypes.byref(release))
    host = b" ".join(part.value or b"" for part in (name, release)).decode()
    return f"Wine {ntdll.wine_get_version().decode()} on {host}, as {own}"
