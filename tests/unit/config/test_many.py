"""Configurations with thousands of peers and names are checked in a time that grows as they do."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from growth import check_linear
from hypothesis import given
from hypothesis import strategies as st

from wsasec.config.groups import clash
from wsasec.config.model import Authentication, Identity, KeyProfile, Trust
from wsasec.profile import Profile


def profile(**rest: Any) -> KeyProfile:
    identity = Identity("a.example", Authentication.CERTIFICATE, Path("a.crt"), Path("a.key"))
    return KeyProfile(Profile("default", uuid.UUID(int=1), 1, 1, 1), identity, Trust(), **rest)


def addresses(first: str, count: int) -> tuple[Any, ...]:
    start = int(ipaddress.ip_address(first))
    return tuple(ipaddress.ip_network(start + number) for number in range(count))


def names(letter: str, count: int) -> tuple[str, ...]:
    return (*(f"{letter}{number}.example" for number in range(count)), f"*.{letter}.example")


@pytest.mark.parametrize("of_names", [False, True])
def test_two_profiles_of_many(of_names: bool) -> None:
    def work(count: int) -> Callable[[], object]:
        if of_names:
            one, other = (profile(names=names(letter, count)) for letter in "xy")
        else:
            one, other = (profile(peers=addresses(first, count)) for first in ("10.0.0.0", "10.128.0.0"))

        def run() -> None:
            assert clash(one, other) is None

        return run

    check_linear(work)


networks = st.lists(
    st.tuples(st.integers(0, 255), st.integers(24, 32), st.booleans()).map(
        lambda of: (
            ipaddress.ip_network((0x0A000000 + of[0], of[1]), strict=False)
            if of[2]
            else ipaddress.ip_network((0x0A000000 + of[0], 96 + of[1]), strict=False)
        )
    ),
    min_size=5,
    max_size=9,
)


@given(networks, networks)
def test_peers_in_common(one: Any, other: Any) -> None:
    common = any(a.version == b.version and a.overlaps(b) for a in one for b in other)
    assert (clash(profile(peers=tuple(one)), profile(peers=tuple(other))) is not None) is (
        common and one != other
    )


def test_names_in_common() -> None:
    many = names("x", 100)
    assert clash(profile(names=many), profile(names=("X7.example",))) is not None
    assert clash(profile(names=many), profile(names=("b.x.example", "c.example"))) is not None
    assert clash(profile(names=many), profile(names=("*.b.x.example",))) is not None
    assert clash(profile(names=many), profile(names=("*.example",))) is not None
    assert clash(profile(names=many), profile(names=("*.y.example", "x100.example"))) is None
    assert clash(profile(names=("C=DE, CN=a",)), profile(names=("C=DE, CN=*",))) is not None
    assert clash(profile(names=("C=DE, CN=a",)), profile(names=("C=DE, CN=b",))) is None
