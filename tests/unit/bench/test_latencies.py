import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsasec.bench.latencies import merged

import wsasec

values = st.lists(st.integers(0, 10**7), max_size=60)


def histogram(samples: list[int]) -> wsasec.Histogram:
    found = wsasec.Histogram()
    for sample in samples:
        found.record(sample)
    return found


@given(values, values)
def test_the_same_as_adding_histograms(first: list[int], second: list[int]) -> None:
    whole = histogram(first + second)
    found = merged([histogram(first).to_dict(), None, histogram(second).to_dict()])
    if not len(whole):
        assert found is None
        return
    assert found is not None
    expected = whole.to_dict()
    assert found.pop("mean") == pytest.approx(expected.pop("mean"))
    assert found == expected


def test_nothing() -> None:
    assert merged([]) is None
    assert merged([None]) is None
