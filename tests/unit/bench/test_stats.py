import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsasec.bench.stats import paired_ratios, summarize

positive = st.floats(min_value=1e-6, max_value=1e6)


def test_summary_of_known_samples() -> None:
    summary = summarize([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (summary.minimum, summary.low, summary.median, summary.high, summary.maximum) == (1, 2, 3, 4, 5)
    assert summary.count == 5
    assert summary.spread == pytest.approx(2 / 3)
    assert summary.unstable


def test_one_sample_is_its_own_summary() -> None:
    summary = summarize([7.0])
    assert (summary.low, summary.median, summary.high, summary.spread) == (7, 7, 7, 0)
    assert not summary.unstable


def test_a_spread_of_a_tenth_is_still_stable() -> None:
    assert not summarize([95.0, 95.0, 100.0, 105.0, 105.0]).unstable
    assert summarize([94.0, 94.0, 100.0, 105.0, 105.0]).unstable


def test_no_samples() -> None:
    with pytest.raises(ValueError, match="no samples"):
        summarize([])


@given(st.lists(positive, min_size=1, max_size=50))
def test_order_of_the_figures(samples: list[float]) -> None:
    s = summarize(samples)
    assert s.minimum <= s.low * (1 + 1e-9)
    assert s.low <= s.median * (1 + 1e-9)
    assert s.median <= s.high * (1 + 1e-9)
    assert s.high <= s.maximum * (1 + 1e-9)


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=20))
def test_ratios_are_paired(pairs: list[tuple[float, float]]) -> None:
    above, below = zip(*pairs, strict=True)
    assert paired_ratios(above, below) == [a / b for a, b in pairs]


def test_ratios_of_unequal_rows() -> None:
    with pytest.raises(ValueError):
        paired_ratios([1.0, 2.0], [1.0])


def test_a_pair_whose_base_is_zero_is_left_out() -> None:
    assert paired_ratios([1.0, 6.0, 0.0], [0.0, 3.0, 5.0]) == [2.0, 0.0]
    assert paired_ratios([1.0], [0.0]) == []
