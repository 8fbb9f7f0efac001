"""Who may use which profiles."""

from __future__ import annotations

import sys

import pytest

from wsasec.config.access import may_use
from wsasec.config.model import Access

USERS = {"alice": 1000, "bob": 1001, "1002": 5}
GROUPS = {"wheel": 10, "staff": 50}


def may(rules: list[Access], uid: int, gids: set[int], profile: str = "default") -> bool:
    return may_use(rules, uid, gids, profile, user_number=USERS.__getitem__, group_number=GROUPS.__getitem__)


def test_root_always_and_others_by_rules_only() -> None:
    assert may([], 0, set())
    assert not may([], 1000, {0})
    assert not may([Access()], 1000, {1000})
    assert may([Access(everyone=True)], 1000, set())


@pytest.mark.parametrize(
    ("rule", "uid", "gids", "allowed"),
    [
        (Access(users=("alice",)), 1000, set(), True),
        (Access(users=("alice",)), 1001, {1000}, False),
        (Access(users=("bob", "1000")), 1000, set(), True),
        (Access(users=("1002",)), 5, set(), False),  # digits are a number, whatever name there is
        (Access(users=("gone",)), 1000, set(), False),
        (Access(users=("",)), 1000, set(), False),
        (Access(groups=("wheel",)), 1000, {1000, 10}, True),
        (Access(groups=("50",)), 1000, {50}, True),
        (Access(groups=("wheel", "gone")), 10, {1000}, False),
        (Access(groups=("alice",)), 1000, {1000}, False),
    ],
)
def test_users_and_groups(rule: Access, uid: int, gids: set[int], allowed: bool) -> None:
    assert may([rule], uid, gids) is allowed


def test_profiles() -> None:
    rules = [Access(everyone=True, profiles=("default",)), Access(users=("alice",), profiles=("site", "x"))]
    assert may(rules, 1001, set(), "default")
    assert not may(rules, 1001, set(), "site")
    assert may(rules, 1000, set(), "site")
    assert not may(rules, 1000, set(), "sit")
    assert may([Access(users=("bob",))], 1001, set(), "whatever")


if sys.platform != "win32":  # which has no such accounts

    def test_names_of_this_host() -> None:
        assert may_use([Access(users=("nobody",))], 65534, (), "default")
        assert may_use([Access(groups=("nogroup", "no-such-group"))], 1, (65534,), "default")
        assert not may_use([Access(users=("no-such-user",))], 1, (), "default")
