"""Tests on the host's kernel: each in a network namespace of its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

import wsasec
from wsasec import profiles
from wsasec.lab import Namespace, missing_privileges, private


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/linux/" in item.path.as_posix() or "/linux/" in item.path.as_posix():
            item.add_marker(pytest.mark.linux)


@pytest.fixture(autouse=True)
def realm(nothing_left: None) -> Iterator[Namespace]:
    missing = missing_privileges()
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: run as root, or under `unshare -Urn`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wsasec.SecurityWarning)  # no ESP here; that is another test
        profiles.active()
        before = profiles.active()
        with private() as namespace:
            yield namespace
            wsasec.release_namespaces()
        profiles.use(before)
