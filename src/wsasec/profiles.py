"""Profiles: what a policy key, or the default policy, stands for on Linux.

A profile is named by a GUID in ``AuthipQMPolicyKey`` and carries the numbers that tie a socket to its
security associations: the reqid of its templates, and the mark of its guard.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import threading
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import _wsasec
from .profile import Profile

__all__ = ["DEFAULT", "ConfigError", "Profile", "Profiles", "active", "load", "use"]

CONFIG_DIR: Final = Path("/etc/wsasec")
CONFIG_ENV: Final = "WSASEC_CONFIG"

_PROTECTION: Final = {"encrypting": True, "integrity-only": False}


class ConfigError(ValueError):
    """A profile file is wrong.

    Attributes:
        path: the file, or None where the value did not come from one.
        line: the line the error is on, counted from 1, or None.

    """

    def __init__(self, message: str, path: Path | None = None, line: int | None = None) -> None:
        where = "" if path is None else f"{path}:{line}: " if line is not None else f"{path}: "
        super().__init__(where + message)
        self.path = path
        self.line = line


def _builtin() -> Profile:
    name, guid, reqid, mark, mask, encrypting, protocol = _wsasec.builtin_profile()
    return Profile(name, uuid.UUID(bytes_le=guid), reqid, mark, mask, encrypting, protocol)


DEFAULT: Final = _builtin()


@dataclass(frozen=True, slots=True)
class Profiles(Mapping[str, Profile]):
    """The profiles of a process, by name, and which of them is the default."""

    by_name: Mapping[str, Profile]
    default: Profile

    def __getitem__(self, name: str) -> Profile:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)


def _normal(table: str) -> str:
    return re.sub(r"""["'\s]""", "", table)


def _line_of(text: str, table: str | None, key: str | None) -> int | None:
    """Find the line of a key, or of its table's header: tomllib gives no positions."""
    wanted = None if table is None else _normal(table)
    current: str | None = None
    header: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[\s*([^\]]+?)\s*\]", line):
            current = _normal(match[1])
            if current == wanted:
                header = number
        elif (
            key is not None
            and current == wanted
            and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line)
        ):
            return number
    return header


def _parse_profile(name: str, raw: Any) -> Profile:
    """Make a Profile of its table; errors start with the key they are about."""
    if not isinstance(raw, dict):
        raise ValueError("a profile is a table: [profile.NAME]")
    for key in raw:
        if key not in ("guid", "reqid", "mark", "mask", "protection"):
            raise ValueError(f"{key}: unknown key; known are guid, reqid, mark, mask, protection")
    for key in ("guid", "reqid", "mark", "mask"):
        if key not in raw:
            raise ValueError(f"{key}: missing")
    try:
        guid = uuid.UUID(raw["guid"])
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"guid: {raw['guid']!r} is not a GUID") from error
    protection = raw.get("protection", "encrypting")
    if not isinstance(protection, str) or protection not in _PROTECTION:
        raise ValueError(f"protection: {protection!r} is neither 'encrypting' nor 'integrity-only'")
    return Profile(name, guid, raw["reqid"], raw["mark"], raw["mask"], _PROTECTION[protection])


def _clash(new: Profile, old: Profile) -> str | None:
    """Name the key by which two profiles could not be told apart."""
    if new.guid == old.guid:
        return f"guid: profile {old.name!r} has this GUID"
    if new.reqid == old.reqid:
        return f"reqid: profile {old.name!r} has this reqid"
    if not (new.mark ^ old.mark) & new.mask & old.mask:
        return f"mark: a packet could carry this mark and that of profile {old.name!r} at once"
    return None


def _read(path: Path) -> str:
    with path.open("rb") as file:
        # Windows has no such mode: Python makes one up there, by which anyone may write.
        if sys.platform != "win32" and os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
            raise ConfigError("anyone may write this file; run chmod o-w on it", path)
        try:
            return file.read().decode()
        except UnicodeDecodeError as error:
            raise ConfigError(f"not UTF-8: {error.reason}", path) from error


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise ConfigError(str(error), path, line) from error


def _config_files() -> list[Path]:
    # On Windows that would be a folder of the current drive, which any user may make.
    files = sorted(CONFIG_DIR.glob("*.toml")) if sys.platform != "win32" else []
    extra = os.environ.get(CONFIG_ENV)
    if extra:
        files.append(Path(extra))
    return files


class _Collected:
    """What the files read so far say."""

    def __init__(self) -> None:
        self.found: dict[str, Profile] = {}
        self.default: tuple[str, Path, int | None] | None = None

    def add_file(self, path: Path) -> None:
        text = _read(path)
        data = _toml(path, text)
        for key in data:
            if key not in ("default", "profile"):
                line = _line_of(text, None, key) or _line_of(text, key, None)
                raise ConfigError(f"{key}: unknown key; known are default, profile", path, line)
        if "default" in data:
            line = _line_of(text, None, "default")
            if not isinstance(data["default"], str):
                raise ConfigError("default: not the name of a profile", path, line)
            self.default = (data["default"], path, line)
        tables = data.get("profile", {})
        if not isinstance(tables, dict):
            raise ConfigError(
                "profile: profiles are tables: [profile.NAME]", path, _line_of(text, None, "profile")
            )
        for name, raw in tables.items():
            try:
                self._add_profile(name, raw)
            except ValueError as error:
                key = str(error).partition(":")[0]
                line = _line_of(text, f"profile.{name}", key) or _line_of(text, None, "profile")
                raise ConfigError(f"profile {name!r}: {error}", path, line) from error

    def _add_profile(self, name: str, raw: Any) -> None:
        if name in self.found:
            raise ValueError(f"profile {name!r} is defined twice")
        profile = _parse_profile(name, raw)
        for old in self.found.values():
            if clash := _clash(profile, old):
                raise ValueError(clash)
        self.found[name] = profile

    def result(self) -> Profiles:
        if DEFAULT.name not in self.found:
            for profile in self.found.values():
                if clash := _clash(profile, DEFAULT):
                    raise ConfigError(f"profile {profile.name!r}: {clash}")
            self.found = {DEFAULT.name: DEFAULT, **self.found}
        if self.default is None:
            return Profiles(self.found, self.found[DEFAULT.name])
        name, path, line = self.default
        if name not in self.found:
            raise ConfigError(f"default: there is no profile {name!r}", path, line)
        return Profiles(self.found, self.found[name])


def load(files: Iterable[str | os.PathLike[str]] | None = None) -> Profiles:
    """Read the profiles.

    Args:
        files: profile files; None for /etc/wsasec/*.toml in order of name (not on Windows), then the file
            that the environment variable WSASEC_CONFIG names.

    Returns:
        The built-in profile "default" and those of the files. A file may redefine "default".

    Raises:
        ConfigError: a file has an unknown key, a wrong value, or two profiles that cannot be told apart.
        OSError: a file cannot be read.

    """
    collected = _Collected()
    for path in [Path(f) for f in files] if files is not None else _config_files():
        collected.add_file(path)
    return collected.result()


_lock = threading.Lock()
_active: Profiles | None = None


def active() -> Profiles:
    """Return the profiles in use by this process; the first call reads the files (see `load`)."""
    global _active
    with _lock:
        if _active is None:
            _install(load())
        assert _active is not None  # noqa: S101
        return _active


def use(profiles: Profiles) -> None:
    """Put other profiles in use: for sockets secured from now on."""
    with _lock:
        _install(profiles)


def _install(profiles: Profiles) -> None:
    global _active
    _wsasec.set_profiles(
        [
            (p.name, p.guid.bytes_le, p.reqid, p.mark, p.mask, p.encrypting, p.protocol)
            for p in profiles.values()
        ],
        profiles.default.name,
    )
    _active = profiles
