"""Profiles: what a policy key, or the default policy, stands for on Linux.

A profile is named by a GUID in ``AuthipQMPolicyKey`` and carries the numbers that tie a socket to its
security associations: the reqid of its templates, and the mark of its guard.
"""

from __future__ import annotations

import os
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from . import _wsasec
from .config.errors import ConfigError
from .profile import AH, CARRIERS, ESP, Carrier, Profile

if TYPE_CHECKING:
    from .config.document import Document

__all__ = ["DEFAULT", "ConfigError", "Profile", "Profiles", "active", "config_files", "load", "of", "use"]

CONFIG_DIR: Final = Path("/etc/wsasec")
CONFIG_FILE: Final = CONFIG_DIR / "wsasec.toml"
CONFIG_ENV: Final = "WSASEC_CONFIG"

_NUMBERS: Final = ("reqid", "mark", "mask")


def _builtin() -> Profile:
    name, guid, reqid, mark, mask, encrypting, protocol, carrier = _wsasec.builtin_profile()
    return Profile(name, uuid.UUID(bytes_le=guid), reqid, mark, mask, encrypting, protocol, CARRIERS[carrier])


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


def _profile(name: str, table: Mapping[str, Any]) -> Profile:
    """Make a Profile of its table. What the default one does not say is as in the built-in one."""
    said = {key: table[key] for key in _NUMBERS if key in table}
    if "guid" in table:
        said["guid"] = uuid.UUID(table["guid"])
    return replace(
        DEFAULT,
        name=name,
        encrypting=table.get("protection", "encrypting") == "encrypting",
        protocol=AH if "ah_proposals" in table else ESP,
        carrier=table.get("carrier", "policy"),
        congestion_control=table.get("congestion_control", ""),
        **said,
    )


def distinct(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether no packet can have both of two marks, each given with its mask."""
    return bool((one[0] ^ other[0]) & one[1] & other[1])


def clash(new: Profile, old: Profile) -> str | None:
    """Name the key by which two profiles could not be told apart."""
    if new.guid == old.guid:
        return f"guid: profile {old.name!r} has this GUID"
    if new.reqid == old.reqid:
        return f"reqid: profile {old.name!r} has this reqid"
    if not distinct((new.mark, new.mask), (old.mark, old.mask)):
        return f"mark: a packet could carry this mark and that of profile {old.name!r} at once"
    return None


def carrier_of(profile: Profile) -> Carrier:
    """Return "policy" or "device": what carries a profile's sockets here, where its carrier is "auto", too.

    Raises:
        SecurityError: it is "auto", and without CAP_NET_ADMIN the kernel does not say whether it has ESP.
    """
    return CARRIERS[_wsasec.carrier_auto()] if profile.carrier == "auto" else profile.carrier


def config_files() -> list[Path]:
    """Return the files that `load` reads where it is given none."""
    # On Windows that would be a folder of the current drive, which any user may make.
    files = sorted(CONFIG_DIR.glob("*.toml")) if sys.platform != "win32" else []
    extra = os.environ.get(CONFIG_ENV)
    if extra and Path(extra).absolute() not in files:
        files.append(Path(extra))
    return files


class _Collected:
    """What the files read so far say."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[Profile, Document]] = {}
        self.default: tuple[str, Document] | None = None

    def add(self, document: Document) -> None:
        if "default" in document.data:
            self.default = (document.data["default"], document)
        for name, table in document.data.get("profile", {}).items():
            try:
                self._add_profile(_profile(name, table), document)
            except ValueError as error:
                key, _, rest = str(error).partition(": ")
                raise document.error(("profile", name, key), rest) from error

    def _add_profile(self, profile: Profile, document: Document) -> None:
        if profile.name in self.found:
            raise ValueError(f"name: it is defined twice, here and in {self.found[profile.name][1].path}")
        for old, _ in self.found.values():
            if why := clash(profile, old):
                raise ValueError(why)
        self.found[profile.name] = (profile, document)

    def result(self) -> Profiles:
        found = {name: profile for name, (profile, _) in self.found.items()}
        if DEFAULT.name not in found:
            for profile, document in self.found.values():
                if why := clash(profile, DEFAULT):
                    key, _, rest = why.partition(": ")
                    raise document.error(("profile", profile.name, key), rest)
            found = {DEFAULT.name: DEFAULT, **found}
        if self.default is None:
            return Profiles(found, found[DEFAULT.name])
        name, document = self.default
        if name not in found:
            raise document.error(("default",), f"there is no profile {name!r}")
        return Profiles(found, found[name])


def of(documents: Iterable[Document]) -> Profiles:
    """Collect the profiles of files that were read.

    Raises:
        ConfigError: two profiles cannot be told apart, or the default one is not there.
    """
    collected = _Collected()
    for document in documents:
        collected.add(document)
    return collected.result()


def load(files: Iterable[str | os.PathLike[str]] | None = None) -> Profiles:
    """Read the profiles.

    Args:
        files: profile files; None for /etc/wsasec/*.toml in order of name (not on Windows), then the file
            that the environment variable WSASEC_CONFIG names.

    Returns:
        The built-in profile "default" and those of the files. A file may redefine "default". Without `files`
        also those of policies that sessions of `wsasec.policy` have added (Linux).

    Raises:
        ConfigError: a file has an unknown key, a wrong value, or two profiles that cannot be told apart.
        OSError: a file cannot be read.

    """
    paths = [Path(file) for file in files] if files is not None else config_files()
    found = of([_read(path) for path in paths])
    return found if files is not None else _with_sessions(found)


def _read(path: Path) -> Document:
    # Imported here: all that is known of the file takes a while to import, and most programs have none.
    from .config.document import read

    return read(path)


def _with_sessions(found: Profiles) -> Profiles:
    """Add the policies of sessions that the key daemon has, but for such as are like one of the files."""
    if sys.platform == "win32":
        return found
    from .daemon.place import PROFILES, folder

    try:
        file = folder() / PROFILES
        # Root's, as the daemon is, or this user's own.
        if file.lstat().st_uid not in (0, os.geteuid()):
            return found
        tables = _read(file).data["profile"]
    except OSError:
        return found
    by_name = dict(found)
    for name, table in tables.items():
        profile = _profile(name, table)
        if name not in by_name and not any(clash(profile, old) for old in by_name.values()):
            by_name[name] = profile
    return Profiles(by_name, found.default)


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
            (
                *(p.name, p.guid.bytes_le, p.reqid, p.mark, p.mask, p.encrypting, p.protocol),
                CARRIERS.index(p.carrier),
            )
            for p in profiles.values()
        ],
        profiles.default.name,
    )
    _active = profiles
