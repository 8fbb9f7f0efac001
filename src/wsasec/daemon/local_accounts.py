"""Accounts of this host."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

__all__ = ["LocalAccount", "local_account"]


@dataclass(frozen=True, slots=True)
class LocalAccount:
    """An account: its name, its user and its groups, by number."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def local_account(name: str) -> LocalAccount:
    """Look an account up.

    Raises:
        LookupError: there is none, or it is root's: no peer stands for root, whatever the configuration says.
    """
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise LookupError(f"there is no account '{name}' here") from None
    groups = tuple(os.getgrouplist(name, found.pw_gid))
    if found.pw_uid == 0 or 0 in groups:
        raise LookupError(f"account '{name}' is root's, or in root's group")
    return LocalAccount(name, found.pw_uid, found.pw_gid, groups)
