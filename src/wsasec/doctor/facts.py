"""What is found on Linux, without judgement: see `wsasec.doctor.rows` for what it means."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .. import _wsasec, profiles
from ..config.document import read
from ..config.weak import weaknesses
from ..constants import Winsock
from ..descriptor_limit import descriptor_limits
from ..errors import SecurityError
from ..profile import Carrier, Profile
from .report import Build, find_build

__all__ = [
    "Answer",
    "Facts",
    "Guard",
    "Guest",
    "Ike",
    "Kernel",
    "KeyDaemon",
    "Limit",
    "Plugin",
    "Privileges",
    "ProfileFiles",
    "Sysctl",
    "collect",
]

_CAP_NET_ADMIN: Final = 12
_ROOT: Final = Path("/")
_DEADLINE: Final = 10.0
_UNSHARE: Final = ("unshare", "-Urn", "true")
_FAMILIES: Final = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_SYSCTLS: Final = (
    "net.ipv4.fwmark_reflect",
    "net.ipv6.fwmark_reflect",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.conf.lo.disable_xfrm",
    "net.ipv4.conf.lo.disable_policy",
)
# By these the system's owner keeps user namespaces from ordinary users; the values that do so.
_NAMESPACE_SYSCTLS: Final = {
    "kernel.unprivileged_userns_clone": "0",
    "kernel.apparmor_restrict_unprivileged_userns": "1",
    "user.max_user_namespaces": "0",
}
_CHARONS: Final = ("usr/sbin/charon-systemd", "usr/lib/ipsec/charon", "usr/libexec/ipsec/charon")
_VICI: Final = ("run/charon.vici", "var/run/charon.vici")
_KEY_PACKAGES: Final = ("vici", "cryptography")
_TOOLS: Final = {"linux.uml": "user-mode-linux", "modprobe": "kmod", "ip": "iproute2"}
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the kernel said.

    Attributes:
        value: True or False; None if it could not be asked.
        why: why it could not be asked.
        refused: it could not be asked for want of a privilege.
    """

    value: bool | None
    why: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Kernel:
    """The running kernel: its release, and its answers by name of the capability."""

    release: str
    answers: Mapping[str, Answer]


@dataclass(frozen=True, slots=True)
class Privileges:
    """What this process may do.

    Attributes:
        administrator: whether it is root outside any user namespace.
        net_admin: whether CAP_NET_ADMIN is effective, in the process's own user namespace.
        namespaces: whether `unshare -Urn` works here; None if it was not tried, as it is not needed.
        obstacle: the sysctl that forbids user namespaces, or None.
    """

    administrator: bool
    net_admin: bool
    namespaces: bool | None = None
    obstacle: str | None = None


@dataclass(frozen=True, slots=True)
class ProfileFiles:
    """The profile files and what is in them, or the error that they have.

    Attributes:
        files: their names.
        profiles: of all of them.
        default: name of the default one.
        error: what is wrong with them.
        weak: names of weak profiles, and what is weak in them.

    """

    files: tuple[str, ...]
    profiles: tuple[Profile, ...]
    default: str
    error: str | None = None
    weak: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Guard:
    """State of a profile's guard, or secure device, for a family ("ipv4", "ipv6").

    Attributes:
        profile: the profile.
        family: "ipv4" or "ipv6".
        state: see `wsasec._wsasec.guard_state`; None if it could not be asked.
        why: why it could not be asked.
        carrier: "policy" or "device"; "auto" if it could not be asked which.

    """

    profile: Profile
    family: str
    state: int | None
    why: str = ""
    carrier: Carrier = "policy"


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A sysctl; value is None if this system does not have it."""

    name: str
    value: str | None
    writable: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """RLIMIT_NOFILE; None is no limit."""

    soft: int | None
    hard: int | None


@dataclass(frozen=True, slots=True)
class Ike:
    """strongSwan's daemon: its program, process and VICI socket, None for each that is not there."""

    program: str | None
    process: int | None
    vici: str | None


@dataclass(frozen=True, slots=True)
class Plugin:
    """charon's plugin for the engine.

    Attributes:
        path: where it is; None if it is not there, or not to be used.
        built_for: the version of strongSwan for which it was built; None if it does not say.
        installed: the version that is installed; None if there is none, or it does not say.
        why: why it is not to be used.
    """

    path: str | None
    built_for: str | None = None
    installed: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class KeyDaemon:
    """What `wsasec up` needs of Python, and whether it is up in this network namespace.

    Attributes:
        packages: Python packages that are missing.
        process: the daemon; None if there is none.
    """

    packages: tuple[str, ...]
    process: int | None


@dataclass(frozen=True, slots=True)
class Guest:
    """The parts of a guest kernel: its program and modules, and the Debian packages that are missing."""

    kernel: str | None
    modules: str | None
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything.

    `without_engine`: what this machine lacks for secure devices.
    """

    kernel: Kernel
    privileges: Privileges
    profiles: ProfileFiles
    guards: tuple[Guard, ...]
    sysctls: Mapping[str, Sysctl]
    limit: Limit
    ike: Ike
    keys: KeyDaemon
    guest: Guest
    build: Build
    without_engine: tuple[str, ...] = ()
    plugin: Plugin = Plugin(None)


def collect(root: Path = _ROOT) -> Facts:
    """Look at this system.

    Args:
        root: where /proc, /run and /usr are looked for.
    """
    kernel = find_kernel(root)
    files = find_profiles()
    answers = kernel.answers.values()
    return Facts(
        kernel=kernel,
        privileges=find_privileges(root, granted=not any(answer.refused for answer in answers)),
        profiles=files,
        guards=find_guards(files.profiles, root),
        sysctls=find_sysctls(root),
        limit=find_limit(),
        ike=find_ike(root),
        keys=find_keys(),
        guest=find_guest(root),
        build=find_build(),
        without_engine=find_engine(),
        plugin=find_plugin(),
    )


def find_kernel(root: Path, ask: Callable[[str], bool] = _wsasec.capability) -> Kernel:
    """Ask the kernel what it can do."""
    answers: dict[str, Answer] = {}
    for name in _wsasec.CAPABILITIES:
        try:
            answers[name] = Answer(ask(name))
        except SecurityError as error:
            answers[name] = Answer(None, error.strerror or "", error.winsock == Winsock.WSAEACCES)
    release = _read(root / "proc/sys/kernel/osrelease")
    return Kernel(release or platform.release(), answers)


def find_privileges(root: Path, *, granted: bool) -> Privileges:
    """Find what this process may do; where it is not granted enough, whether user namespaces are."""
    status = _read(root / "proc/thread-self/status") or _read(root / "proc/self/status") or ""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    net_admin = found is not None and bool(int(found[1], 16) >> _CAP_NET_ADMIN & 1)
    # Only the first user namespace maps all the numbers.
    whole = (_read(root / "proc/self/uid_map") or "").split() == ["0", "0", str(0xFFFFFFFF)]
    administrator = sys.platform != "win32" and os.geteuid() == 0 and whole
    if granted and net_admin:
        return Privileges(administrator, net_admin)
    obstacle = next(
        (name for name, bad in _NAMESPACE_SYSCTLS.items() if _read(_sysctl_path(root, name)) == bad),
        None,
    )
    return Privileges(administrator, net_admin, _can_unshare(), obstacle)


def _can_unshare() -> bool:
    """Try it: a user and a network namespace for a process that ends at once."""
    try:
        done = subprocess.run(_UNSHARE, capture_output=True, timeout=_DEADLINE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def find_profiles() -> ProfileFiles:
    """Read the profiles, in use by this process from now on."""
    paths = profiles.config_files()
    files = tuple(str(path) for path in paths)
    try:
        found = profiles.active()
        weak = [item for path in paths for item in weaknesses(read(path)).items()]
    except (profiles.ConfigError, OSError) as error:
        return ProfileFiles(files, (), "", str(error))
    return ProfileFiles(
        files,
        tuple(found.values()),
        found.default.name,
        weak=tuple((name, tuple(words)) for name, words in weak),
    )


def find_guards(
    found: Iterable[Profile], root: Path, ask: Callable[[str, int], int] = _wsasec.guard_state
) -> tuple[Guard, ...]:
    """Ask for the guard of each profile and family that this system has."""
    guards: list[Guard] = []
    for profile in found:
        for family, number in _FAMILIES.items():
            if not (root / "proc/sys/net" / family).is_dir():
                continue
            try:
                # Without the warning of a kernel that has no ESP: there is a row for that.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    state = ask(profile.name, number)
            except SecurityError as error:
                guards.append(Guard(profile, family, None, error.strerror or "", _carrier(profile)))
            else:
                guards.append(Guard(profile, family, state, carrier=_carrier(profile)))
    return tuple(guards)


def _carrier(profile: Profile) -> Carrier:
    try:
        return profiles.carrier_of(profile)
    except SecurityError:
        return profile.carrier


def find_engine() -> tuple[str, ...]:
    """Say what there is not of what secure devices need."""
    # It is for Linux only, and takes a while to import.
    from ..engine import missing

    return tuple(missing())


def find_plugin() -> Plugin:
    """Look for charon's plugin for the engine, and ask for which strongSwan it is."""
    # Of Linux alone, as the engine.
    from ..keys import plugin, strongswan
    from ..keys.reason import CharonError

    try:
        installed = strongswan.version_of(strongswan.find_charon())
    except CharonError:
        installed = None
    try:
        path = plugin.find_plugin()
        return Plugin(str(path), plugin.built_for(path), installed)
    except CharonError as error:
        return Plugin(None, None, installed, error.detail)
    except OSError as error:
        return Plugin(None, None, installed, f"the plugin cannot be read: {error.strerror}")


def find_sysctls(root: Path) -> dict[str, Sysctl]:
    """Read the sysctls that secured sockets depend on."""
    found: dict[str, Sysctl] = {}
    for name in _SYSCTLS:
        path = _sysctl_path(root, name)
        found[name] = Sysctl(name, _read(path), os.access(path, os.W_OK))
    return found


def find_limit() -> Limit:
    """Return the limits on descriptors."""
    soft, hard = descriptor_limits()
    return Limit(*(None if value < 0 else value for value in (soft, hard)))  # RLIM_INFINITY is -1


def find_ike(root: Path) -> Ike:
    """Look for strongSwan's charon."""
    program = next((path for path in _CHARONS if (root / path).is_file()), None)
    vici = next((path for path in _VICI if (root / path).exists()), None)
    process = next(
        (
            int(path.parent.name)
            for path in sorted((root / "proc").glob("[0-9]*/comm"))
            if _read(path) in ("charon", "charon-systemd")
        ),
        None,
    )
    return Ike(f"/{program}" if program else None, process, f"/{vici}" if vici else None)


def find_keys() -> KeyDaemon:
    """Look for the key daemon and the packages that it needs."""
    # Imported here: it is Linux' alone, and this module is not.
    from ..daemon.client import Client, DaemonError

    missing = tuple(name for name in _KEY_PACKAGES if importlib.util.find_spec(name) is None)
    try:
        with Client(seconds=_DEADLINE) as client:
            return KeyDaemon(missing, client.pid)
    except (DaemonError, OSError):
        return KeyDaemon(missing, None)


def find_guest(root: Path) -> Guest:
    """Look for User Mode Linux."""
    folders = f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}".split(":")
    path = ":".join(str(root / folder.lstrip("/")) for folder in folders if folder)
    tools = {tool: shutil.which(tool, path=path) for tool in _TOOLS}
    modules = next(iter(sorted((root / "usr/lib/uml/modules").glob("*/modules.dep"))), None)
    missing = [package for tool, package in _TOOLS.items() if tools[tool] is None]
    if modules is None and "user-mode-linux" not in missing:
        missing.append("user-mode-linux")
    return Guest(tools["linux.uml"], str(modules.parent) if modules else None, tuple(missing))


def _sysctl_path(root: Path, name: str) -> Path:
    return root.joinpath("proc/sys", *name.split("."))


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
