"""What the figures were measured on, and with."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import ssl
import sys
from pathlib import Path
from typing import Any, Final

import wsasec
from wsasec import _wsasec

if sys.platform != "win32":
    from .baselines import _floor

from .windows_machine import describe_windows

__all__ = ["GUEST_CPU", "describe_machine", "describe_versions"]

GUEST_CPU: Final = "User Mode Linux"
"""How a User Mode Linux guest names its vendor of processors."""

_GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_CONGESTION: Final = Path("/proc/sys/net/ipv4/tcp_congestion_control")


def _field(file: str, name: str) -> str | None:
    """Return the first value of a "name : value" line."""
    match = re.search(rf"^{re.escape(name)}\s*:\s*(.+)$", Path(file).read_text(), re.MULTILINE)
    return match[1].strip() if match else None


def _word(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None


def describe_machine() -> dict[str, Any]:
    """Describe the computer and its kernel, and how busy it is where the system tells."""
    if sys.platform == "win32":
        return describe_windows()
    vendor = _field("/proc/cpuinfo", "vendor_id")
    memory = _field("/proc/meminfo", "MemTotal")
    features = _field("/proc/cpuinfo", "flags") or _field("/proc/cpuinfo", "Features") or ""
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or vendor or platform.machine(),
        "guest": vendor == GUEST_CPU,
        "aes_instructions": "aes" in features.split(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_kib": int(memory.split()[0]) if memory else None,
        "system": _system(),
        "kernel": platform.release(),
        "kernel_version": platform.version(),
        "governor": _word(_GOVERNOR),
        # Network namespaces that are made begin with the same.
        "congestion_control": _word(_CONGESTION),
        "load_average": list(os.getloadavg()),
    }


def _system() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _cython() -> str | None:
    """Return the version of Cython that made the extension: it is in the name of a module of its types."""
    module = type(wsasec.secure).__module__
    match = re.match(r"_cython_(\d+)_(\d+)_(\d+)", module)
    return ".".join(match.groups()) if match else None


def _build() -> str:
    """Return a short hash of the extension that is loaded: it tells builds of one version apart."""
    return hashlib.sha256(Path(_wsasec.__file__).read_bytes()).hexdigest()[:12]


def _compiler() -> str | None:
    if sys.platform == "win32":
        return None
    return str(_floor.COMPILER)


def describe_versions() -> dict[str, str | None]:
    """Name the versions of what took part."""
    return {
        "wsasec": wsasec.__version__,
        "build": _build(),
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "python_compiler": platform.python_compiler(),
        "extension_compiler": _compiler(),
        "cython": _cython(),
        "openssl": ssl.OPENSSL_VERSION,
        "libc": " ".join(platform.libc_ver()),
    }
