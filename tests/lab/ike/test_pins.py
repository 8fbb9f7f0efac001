"""Who alone is taken at an address."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from ike_hosts import certified, key_profile, soon

from wsasec.config.model import Authentication, Identity, Trust
from wsasec.keys.reason import CharonError, Reason

pytestmark = pytest.mark.lab

MakePair = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def two(pair: MakePair, papers: Any) -> Any:
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("b.example", papers.b)
    with pair(key_profile(a, trust), key_profile(b, trust)) as made:
        yield made


@pytest.mark.parametrize("which", ["v4", "v6"])
def test_the_right_one_is_taken_both_ways(two: Any, which: str) -> None:
    mine, theirs = getattr(two, which)
    first = two.a.initiate("default", theirs, soon())
    two.a.pin("default", theirs, "b.example", soon())
    # What it had already stays.
    (ike,) = two.a.associations(soon())
    assert ike.unique_id == first.ike.unique_id
    two.a.terminate(ike.unique_id, soon())
    assert two.a.initiate("default", theirs, soon()).reason is Reason.NONE
    for ike in two.a.associations(soon()):
        two.a.terminate(ike.unique_id, soon())
    assert two.b.initiate("default", mine, soon()).reason is Reason.NONE


@pytest.mark.parametrize("which", ["v4", "v6"])
@pytest.mark.parametrize("identity", ["alias.example", "m.example", "CN=b.example"])
def test_another_is_ended_and_kept_out(two: Any, which: str, identity: str) -> None:
    mine, theirs = getattr(two, which)
    two.a.initiate("default", theirs, soon())
    two.b.initiate("default", mine, soon())
    assert two.a.associations(soon())
    two.a.pin("default", theirs, identity, soon())
    assert not two.a.associations(soon())
    assert not [sa for sa in two.lab.a.sas() if sa.algorithm]
    outcome = two.a.initiate("default", theirs, soon())
    assert (outcome.reason, identity in outcome.detail) == (Reason.AUTHENTICATION, True)
    assert two.b.initiate("default", mine, soon()).reason is Reason.AUTHENTICATION
    assert not two.a.associations(soon())
    two.a.unpin("default", theirs, soon())
    assert two.a.pinned("default", theirs) is None
    assert two.b.initiate("default", mine, soon()).reason is Reason.NONE


def test_another_address_is_not_concerned(two: Any) -> None:
    two.a.pin("default", two.v4[1], "m.example", soon())
    assert two.a.initiate("default", two.v6[1], soon()).reason is Reason.NONE


def test_two_identities_at_one_address(two: Any) -> None:
    two.a.pin("default", two.v4[1], "m.example", soon())
    two.a.pin("default", two.v4[1], "m.example", soon())
    with pytest.raises(CharonError, match="other programs") as raised:
        two.a.pin("default", two.v4[1], "b.example", soon())
    assert raised.value.reason is Reason.OTHER_IDENTITY
    assert two.a.pinned("default", two.v4[1]) == "m.example"


@pytest.mark.parametrize("identity", ["%any", "*.example", "*", "0.0.0.0", "::", "fqdn:b", "@#00", ""])
def test_patterns_are_no_identities(two: Any, identity: str) -> None:
    with pytest.raises(CharonError) as raised:
        two.a.pin("default", two.v4[1], identity, soon())
    assert raised.value.reason is Reason.OTHER_IDENTITY
    assert two.a.pinned("default", two.v4[1]) is None


def test_pins_outlast_charon(two: Any) -> None:
    two.a.pin("default", two.v4[1], "m.example", soon())
    with two.lab.a.entered():
        two.a.start(soon(30))
    assert two.a.pinned("default", two.v4[1]) == "m.example"
    assert two.b.initiate("default", two.v4[0], soon()).reason is Reason.AUTHENTICATION


def test_identity_that_no_way_is_open_to(pair: MakePair, papers: Any) -> None:
    a = certified("a.example", papers.a)
    trust = Trust(ca=(papers.ca.certificate,))
    anonymous = Identity("anonymous", Authentication.ANONYMOUS)
    with pair(key_profile(a, trust, names=("*.example",)), key_profile(anonymous, trust)) as made:
        with pytest.raises(CharonError, match="cannot be told"):
            made.a.pin("default", made.v4[1], "b.test", soon())
        made.a.pin("default", made.v4[1], "b.example", soon())
