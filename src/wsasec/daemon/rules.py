"""Who may use which profiles, and which local account stands for a peer: the configuration's rules."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass

from ..config.model import Access, Account

__all__ = ["LocalAccount", "account_for", "allowed", "local_account"]


def _user(text: str) -> int | None:
    if text.isdecimal():
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except KeyError:
        return None


def _group(text: str) -> int | None:
    if text.isdecimal():
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        return None


def allowed(rules: Iterable[Access], profile: str, uid: int, gids: Iterable[int]) -> bool:
    """Tell whether a user may use a profile. Root always may, others where a rule says so."""
    if uid == 0:
        return True
    for rule in rules:
        if rule.profiles and profile not in rule.profiles:
            continue
        if rule.everyone or any(_user(user) == uid for user in rule.users):
            return True
        if any(_group(group) in gids for group in rule.groups):
            return True
    return False


@dataclass(frozen=True, slots=True)
class LocalAccount:
    """An account of this host."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def account_for(rules: Iterable[Account], identity: str) -> str | None:
    """Return the account of the first rule that fits an identity: whole identities before domains."""
    rules = tuple(rules)
    for rule in rules:
        if rule.identity is not None and rule.identity == identity:
            return rule.account
    host = identity.removeprefix("host/").lower()
    for rule in rules:
        if rule.domain is not None and host.endswith("." + rule.domain.lower().lstrip(".")):
            return rule.account
    return None


def local_account(name: str) -> LocalAccount:
    """Look an account up.

    Raises:
        LookupError: there is none, or it is root's, whom no peer stands for.
    """
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise LookupError(f"there is no account '{name}' here") from None
    groups = tuple(os.getgrouplist(name, found.pw_gid))
    if found.pw_uid == 0 or found.pw_gid == 0 or 0 in groups:
        raise LookupError(f"account '{name}' is root's, or of root's group")
    return LocalAccount(name, found.pw_uid, found.pw_gid, groups)
