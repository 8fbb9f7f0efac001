"""Histogram: percentiles by their definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsasec import Histogram


@pytest.mark.parametrize("count", [1_000, 10_000, 100_000])
@pytest.mark.parametrize("permyriad", [5_000, 9_000, 9_500, 9_900, 9_990, 9_999])
def test_so_many_do_not_exceed_it(count: int, permyriad: int) -> None:
    """Also where the part of the count is whole, and its product in binary a little more than that."""
    low = -(-permyriad * count // 10_000)
    histogram = Histogram()
    for i in range(count):
        histogram.record(1 if i < low else 200)
    assert histogram.percentile(permyriad / 100) == 1
    assert histogram.percentile(100) == (200 if low < count else 1)


@given(st.lists(st.integers(0, 255), min_size=1), st.integers(0, 1000))
def test_small_values_are_exact(values: list[int], tenths: int) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    rank = max(1, -(-tenths * len(values) // 1000))
    assert histogram.percentile(tenths / 10) == sorted(values)[rank - 1]
