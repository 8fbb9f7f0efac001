"""Which account charon and the engine run as."""

from __future__ import annotations

import pytest
from accounts import accounts, entry

from wsasec.unprivileged import unprivileged

NOBODY = entry("nobody", 65534)


def test_its_own_comes_first() -> None:
    with accounts(NOBODY, entry("wsasec", 990)):
        assert unprivileged().pw_uid == 990


def test_else_nobody() -> None:
    with accounts(NOBODY, entry("daemon", 1)):
        assert unprivileged().pw_name == "nobody"


def test_it_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where an account is made later: a charon of it could not speak to the engine that is there."""
    with accounts(NOBODY):
        assert unprivileged() is NOBODY
        monkeypatch.setattr("pwd.getpwnam", lambda name: entry(name, 990))
        assert unprivileged() is NOBODY
        monkeypatch.undo()


@pytest.mark.parametrize(("uid", "gid"), [(0, 990), (990, 0)])
def test_never_root(uid: int, gid: int) -> None:
    with (
        accounts(entry("wsasec", uid, gid), NOBODY),
        pytest.raises(PermissionError, match="wsasec is root's"),
    ):
        unprivileged()


def test_none() -> None:
    with accounts(), pytest.raises(FileNotFoundError, match="no account wsasec or nobody"):
        unprivileged()
