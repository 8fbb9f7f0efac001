"""From the file to `Config`."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from .. import profiles
from ..profile import AH, Profile
from . import groups
from .certificates import identity_of
from .document import Document, read
from .model import (
    ESP_PROPOSALS,
    IKE_PROPOSALS,
    Access,
    Account,
    Authentication,
    Config,
    Identity,
    KeyProfile,
    Revocation,
    Trust,
)
from .positions import Place

__all__ = ["load", "signal_of"]

_NUMBERS: Final = (
    *("ike_version", "ike_rekey_seconds", "rekey_seconds", "rekey_bytes", "idle_seconds", "dpd_seconds"),
)


def signal_of(profile: Profile) -> int:
    """Return the number by which two hosts know a profile: of its GUID, as that is the same on both.

    Returns:
        0 for the profile named "default", else 1 to 65535.
    """
    if profile.name == profiles.DEFAULT.name:
        return 0
    digest = hashlib.sha256(b"wsasec profile" + profile.guid.bytes).digest()
    return int.from_bytes(digest[:4]) % 0xFFFF + 1


def _path(document: Document, name: str) -> Path:
    return document.path.absolute().parent / name


def _paths(document: Document, names: list[str]) -> tuple[Path, ...]:
    return tuple(_path(document, name) for name in names)


def _identity(document: Document, place: Place, table: Mapping[str, Any]) -> Identity:
    """Make the identity of its table."""
    name = table.get("id")
    if "certificate" in table:
        certificate = _path(document, table["certificate"])
        if name is None:
            try:
                name = identity_of(certificate)
            except (OSError, ValueError) as error:
                message = error.strerror if isinstance(error, OSError) else str(error)
                raise document.error((*place, "certificate"), f"{certificate}: {message}") from error
        key = _path(document, table["key"])
        return Identity(name, Authentication.CERTIFICATE, certificate, key)
    if "anonymous" in table:
        return Identity(name or "anonymous", Authentication.ANONYMOUS)
    kind = "raw_key" if "raw_key" in table else "psk"
    if name is None:
        raise document.error((*place, kind), "it needs id, too: no certificate says who this host is")
    if kind == "psk":
        return Identity(name, Authentication.PSK, psk=_path(document, table["psk"]))
    return Identity(name, Authentication.RAW_KEY, key=_path(document, table["raw_key"]))


def _trust(document: Document, place: Place, table: Mapping[str, Any], identity: Identity) -> Trust:
    trust = Trust(
        ca=_paths(document, table.get("ca", [])),
        pinned=_paths(document, table.get("pinned", [])),
        crl=_paths(document, table.get("crl", [])),
        revocation=Revocation(table.get("revocation", "relaxed")),
        anonymous=table.get("anonymous", False),
    )
    if identity.authentication != Authentication.PSK and not (trust.ca or trust.pinned or trust.anonymous):
        message = "nobody is believed: ca, pinned, or anonymous = true is missing"
        raise document.error(place, message)
    return trust


class _Loader:
    """Makes the profiles of one file."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.data = document.data
        self._identities: dict[Place, Identity] = {}

    def _part(self, profile: str, key: str) -> tuple[Place, Mapping[str, Any] | None]:
        """Return a profile's own table, or that of the file, and where it is."""
        own = self._table(profile).get(key)
        return (("profile", profile, key), own) if own is not None else ((key,), self.data.get(key))

    def _table(self, profile: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.data.get("profile", {}).get(profile, {})
        return found

    def _identity(self, name: str) -> Identity:
        place, table = self._part(name, "identity")
        if table is None:
            message = "missing: who this host is; `wsasec init host NAME` makes a certificate and this file"
            raise self.document.error(place, message)
        if place not in self._identities:
            self._identities[place] = _identity(self.document, place, table)
        return self._identities[place]

    def _trust(self, name: str, identity: Identity) -> Trust:
        place, table = self._part(name, "trust")
        return _trust(self.document, place, table or {}, identity)

    def profile(self, profile: Profile) -> KeyProfile:
        table = self._table(profile.name)
        identity = self._identity(profile.name)
        return KeyProfile(
            profile,
            identity,
            self._trust(profile.name, identity),
            ike_proposals=tuple(table.get("ike_proposals", IKE_PROPOSALS)),
            esp_proposals=() if profile.protocol == AH else tuple(table.get("proposals", ESP_PROPOSALS)),
            ah_proposals=tuple(table.get("ah_proposals", ())),
            peers=tuple(ipaddress.ip_network(network) for network in table.get("peers", ())),
            names=tuple(table.get("names", ())),
            signal=signal_of(profile),
            **{key: table[key] for key in _NUMBERS if key in table},
        )

    def access(self) -> tuple[Access, ...]:
        known = {*self.data.get("profile", {}), profiles.DEFAULT.name}
        found = []
        for number, table in enumerate(self.data.get("access", ())):
            for index, name in enumerate(table.get("profiles", ())):
                if name not in known:
                    place = ("access", number, "profiles", index)
                    raise self.document.error(
                        place, f"there is no profile {name!r}; there are {', '.join(sorted(known))}"
                    )
            if "profiles" in table and not table["profiles"]:
                message = "the list is empty; leave it out for all profiles"
                raise self.document.error(("access", number, "profiles"), message)
            found.append(
                Access(
                    everyone=table.get("everyone", False),
                    users=tuple(str(user) for user in table.get("users", ())),
                    groups=tuple(str(group) for group in table.get("groups", ())),
                    profiles=tuple(table.get("profiles", ())),
                )
            )
        return tuple(found)

    def accounts(self) -> tuple[Account, ...]:
        found: dict[tuple[str | None, str | None], Account] = {}
        for number, table in enumerate(self.data.get("account", ())):
            domain = table.get("domain")
            account = Account(
                table["account"], table.get("identity"), None if domain is None else domain.lower()
            )
            key = "identity" if domain is None else "domain"
            if (account.identity, account.domain) in found:
                raise self.document.error(("account", number, key), "it has an account already")
            if account.account == "root":
                message = "no peer stands for root"
                raise self.document.error(("account", number, "account"), message)
            found[account.identity, account.domain] = account
        return tuple(found.values())


def _separate(document: Document, found: Mapping[str, KeyProfile]) -> None:
    """Refuse profiles that the other host, or this one's charon, could not tell apart."""
    for old, new in combinations(found.values(), 2):
        if new.signal == old.signal:
            message = f"by chance other hosts would take it for that of {old.profile.name!r}; take another"
            raise document.error(("profile", new.profile.name, "guid"), message)
        if clash := groups.clash(new, old):
            key, message = clash
            raise document.error(("profile", new.profile.name, key), message)


def load(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the administrator's file. No key is read, and of certificates those that say who this host is.

    Args:
        path: the file; None for the one that the environment variable WSASEC_CONFIG names, or else
            /etc/wsasec/wsasec.toml.

    Returns:
        All of it. Names of files are absolute; in the file they are relative to its folder.

    Raises:
        ConfigError: what is wrong, on which line, and what is allowed.
        OSError: the file cannot be read.
    """
    where = (
        Path(path) if path is not None else Path(os.environ.get(profiles.CONFIG_ENV) or profiles.CONFIG_FILE)
    )
    document = read(where)
    known = profiles.of([document])
    loader = _Loader(document)
    found = {name: loader.profile(profile) for name, profile in known.items()}
    _separate(document, found)
    daemon = document.data.get("daemon", {})
    return Config(
        path=where.absolute(),
        profiles=found,
        default=known.default.name,
        access=loader.access(),
        accounts=loader.accounts(),
        vici=daemon.get("vici"),
        first_seconds=float(daemon.get("first_seconds", 10.0)),
        spin_microseconds=daemon.get("spin_microseconds"),
        one_call=daemon.get("one_call", True),
        lines=document.lines,
    )
