"""Hosts with a charon, in the lab's namespaces."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from certificates import Files

from wsasec.config.model import Authentication, Config, Identity, KeyProfile, Trust
from wsasec.keys.ike import Ike
from wsasec.lab import Namespace
from wsasec.profiles import DEFAULT, Profile

START_SECONDS = 30.0


def soon(seconds: float = 10.0) -> float:
    """Return a deadline."""
    return time.monotonic() + seconds


def certified(name: str, files: Files) -> Identity:
    return Identity(name, Authentication.CERTIFICATE, files.certificate, files.key)


def key_profile(identity: Identity, trust: Trust, profile: Profile = DEFAULT, **rest: Any) -> KeyProfile:
    return KeyProfile(profile, identity, trust, **rest)


def another_profile(name: str, number: int) -> Profile:
    """Return a profile that is not the default one; numbers count from 1."""
    return Profile(name, uuid.UUID(int=number), 0x5000 + number, (0x57 + number) << 24, 0xFF000000)


def config(*profiles: KeyProfile, **rest: Any) -> Config:
    by_name = {profile.profile.name: profile for profile in profiles}
    return Config(Path("wsasec.toml"), by_name, profiles[0].profile.name, **rest)


@contextmanager
def host(namespace: Namespace, folder: Path, *profiles: KeyProfile, **rest: Any) -> Iterator[Ike]:
    """Run a charon in a namespace; its files get into FOLDER/NAME-OF-NAMESPACE."""
    own = folder / namespace.name
    own.mkdir(mode=0o711, exist_ok=True)
    ike = Ike(own, config(*profiles, **rest))
    with namespace.entered():
        ike.start(soon(START_SECONDS))
    try:
        yield ike
    finally:
        ike.stop()
