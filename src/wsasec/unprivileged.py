"""The account that charon and the engine run as: who has their keys in memory, and nothing else to lose."""

from __future__ import annotations

import errno
import functools
import pwd
from typing import Final

__all__ = ["ACCOUNTS", "unprivileged"]

ACCOUNTS: Final = ("wsasec", "nobody")
"""The first one that there is. Other processes of that account could end charon and the engine, and take
packets that come for them: `wsasec` is to have none, `nobody` may have some."""


@functools.cache
def unprivileged() -> pwd.struct_passwd:
    """Return the account, for this process always the same one: charon and the engine speak to their like.

    Raises:
        OSError: there is none, or it is root's.
    """
    for name in ACCOUNTS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if found.pw_uid == 0 or found.pw_gid == 0:
            text = f"the account {name} is root's: charon and the engine do not run as root"
            raise PermissionError(errno.EPERM, text)
        return found
    text = f"there is no account {' or '.join(ACCOUNTS)} for charon and the engine to run as"
    raise FileNotFoundError(errno.ENOENT, text)
