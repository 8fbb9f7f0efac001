"""The order in which the ways that are open to a peer are tried."""

from __future__ import annotations

from wsasec.keys.groups import ANONYMOUS, Way
from wsasec.keys.tries import ask_first, named_so, order

MANY = [Way("ca", f"x{number}.example") for number in range(200)]
RIGHT = Way("ca", "b.example")
PATTERN = Way("ca", "*.test")
OTHERS = [Way("pinned"), Way(ANONYMOUS, ANONYMOUS)]


def test_few_names_are_tried_at_once() -> None:
    assert not ask_first([RIGHT, PATTERN, *OTHERS])
    assert not ask_first([Way("ca"), *OTHERS])
    assert not ask_first(MANY[:2])
    assert ask_first(MANY[:3])


def test_the_name_that_was_shown_comes_first() -> None:
    tried = order([*MANY, PATTERN, RIGHT, *OTHERS], "b.example")
    assert tried == [RIGHT, *MANY[:16], *OTHERS]
    assert order([*MANY, PATTERN], "b.test")[0] == PATTERN
    assert order([Way("psk", "B.example"), *MANY], "b.example")[0] == Way("psk", "B.example")


def test_patterns_are_tried_if_nothing_was_shown() -> None:
    assert order([*MANY, PATTERN, *OTHERS], None) == [*MANY[:16], PATTERN, *OTHERS]


def test_distinguished_names_are_the_same_however_they_are_written() -> None:
    assert named_so("C=DE, CN=b", Way("ca", "c=DE,cn=b"))
    assert not named_so("C=DE, CN=c", Way("ca", "c=DE,cn=b"))
    assert not named_so("b.example", Way("ca", "c=DE,cn=b"))
    assert named_so("C=DE, CN=b", Way("ca", "C=DE, CN=*"))
