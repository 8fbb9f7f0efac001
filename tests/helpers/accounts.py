"""Accounts of the system that are not there, for who asks `wsasec.unprivileged`."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from wsasec import unprivileged


def entry(name: str, uid: int, gid: int | None = None) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, uid if gid is None else gid, "", "/nonexistent", "/bin/false"))


@contextmanager
def accounts(*entries: pwd.struct_passwd) -> Iterator[None]:
    """Have these alone."""
    found = {each.pw_name: each for each in entries}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pwd, "getpwnam", found.__getitem__)
        unprivileged.unprivileged.cache_clear()
        try:
            yield
        finally:
            unprivileged.unprivileged.cache_clear()
