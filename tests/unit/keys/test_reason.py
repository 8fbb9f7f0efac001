"""Reasons and their details."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsasec.keys.reason import DETAIL_BYTES, CharonError, Reason, one_line

HEADER = Path(__file__).parents[3] / "include" / "wsasec.h"


def test_numbers_are_those_of_the_header() -> None:
    names = re.findall(r"WSASEC_REASON_(\w+)[,\s=]", HEADER.read_text().split("enum wsasec_reason {")[1])
    numbers = {name: number for number, name in enumerate(names[: names.index("COUNT")])}
    known = {reason.name: int(reason) for reason in Reason}
    assert known.items() <= numbers.items()
    assert {name for name, number in numbers.items() if number >= numbers["NO_DAEMON"]} <= known.keys()


@given(st.text())
def test_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line.encode()) <= DETAIL_BYTES
    assert line.isprintable()
    assert line == line.strip()


def test_error() -> None:
    error = CharonError(Reason.NO_CHARON, "two\nlines\x1b[0m")
    assert (error.detail, str(error)) == ("two lines [0m", "no charon: two lines [0m")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.reason, copy.detail) == (error.reason, error.detail)
    assert str(CharonError(Reason.PEER_SILENT)) == "peer silent"


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_name(reason: Reason) -> None:
    assert str(CharonError(reason, "x")).endswith(": x")
