"""Lines of values, in whatever way a file is written."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wsasec.config.positions import Place, line_of, positions

TEXT = '''\
# [not.a.table]
top = 1
"quoted \\u0041" . 'b' = """
[no.table]
x = 1 \\""" """""
[a.b] # comment ]
c = [ 1, # "
  "]", [2,
  3], { d = 4, e = [5] },
]
\td.e = 1979-05-27 07:32:00

  [ a ]
"f=g" = '\\'
[[many]]
x = 1
[many.sub]
y = \'\'\'
x = 9
\'\'\'\'\'
[[many]]
x = 2
[[many.deep]]
[[many.deep]]
z = { x.y = 1, "q" = [] }
'''


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines(end: str) -> None:
    lines = positions(TEXT.replace("\n", end))
    expected: dict[Place, int] = {
        ("top",): 2,
        ("quoted A", "b"): 3,
        ("a", "b"): 6,
        ("a", "b", "c"): 7,
        ("a", "b", "c", 0): 7,
        ("a", "b", "c", 1): 8,
        ("a", "b", "c", 2): 8,
        ("a", "b", "c", 2, 1): 9,
        ("a", "b", "c", 3, "e", 0): 9,
        ("a", "b", "d", "e"): 11,
        ("a",): 13,
        ("a", "f=g"): 14,
        ("many",): 15,
        ("many", 0, "x"): 16,
        ("many", 0, "sub"): 17,
        ("many", 0, "sub", "y"): 18,
        ("many", 1): 21,
        ("many", 1, "x"): 22,
        ("many", 1, "deep", 0): 23,
        ("many", 1, "deep", 1): 24,
        ("many", 1, "deep", 1, "z", "x", "y"): 25,
        ("many", 1, "deep", 1, "z", "q"): 25,
    }
    assert {place: lines.get(place) for place in expected} == expected
    assert line_of(lines, ("a", "b", "missing")) == 6
    assert line_of(lines, ("nowhere",)) == 1


def places(value: Any, at: Place = ()) -> set[Place]:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    found = {at} if at else set()
    for key, item in items if isinstance(value, dict | list) else ():
        found |= places(item, (*at, key)) if isinstance(item, dict | list) else {(*at, key)}
    return found


PIECES = st.sampled_from(
    [
        "[a]",
        "[[b]]",
        "[b.c]",
        "x = 1",
        "y = [1, 2]",
        "'z' = { q = '}' }",
        '"x.y" = """\n"""',
        "# x",
        "a.b = '''\n'''",
    ]
)


@given(
    st.lists(PIECES, max_size=12).map("\n".join)
    | st.text(st.sampled_from("ab.=[]{}\"'\n ,#1\\"), max_size=30)
)
def test_every_value_has_a_line(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assume(False)
    lines = positions(text)
    assert places(data) == set(lines)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
