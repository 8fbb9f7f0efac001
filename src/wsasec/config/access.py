"""Who may use which profiles through the key daemon."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable

from .model import Access

__all__ = ["may_use"]


# Windows has no such accounts, and there the modules are missing, too.
def _user_number(name: str) -> int:
    if sys.platform == "win32":
        raise KeyError(name)
    import pwd

    return pwd.getpwnam(name).pw_uid


def _group_number(name: str) -> int:
    if sys.platform == "win32":
        raise KeyError(name)
    import grp

    return grp.getgrnam(name).gr_gid


def _number(word: str, look_up: Callable[[str], int]) -> int | None:
    if word.isascii() and word.isdigit():
        return int(word)
    try:
        return look_up(word)
    except KeyError:  # there is no such account on this host
        return None


def may_use(
    rules: Iterable[Access],
    uid: int,
    gids: Collection[int],
    profile: str,
    *,
    user_number: Callable[[str], int] = _user_number,
    group_number: Callable[[str], int] = _group_number,
) -> bool:
    """Tell whether somebody may use a profile.

    Args:
        rules: of the configuration; without any, only root may.
        uid: the user's number; root always may.
        gids: numbers of all groups that the process is in.
        profile: its name.
        user_number: finds the number of a user's name; KeyError if there is none.
        group_number: the same for groups.
    """
    if uid == 0:
        return True
    for rule in rules:
        if rule.profiles and profile not in rule.profiles:
            continue
        if (
            rule.everyone
            or any(_number(user, user_number) == uid for user in rule.users)
            or any(_number(group, group_number) in gids for group in rule.groups)
        ):
            return True
    return False
