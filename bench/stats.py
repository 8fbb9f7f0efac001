"""Medians, spreads and paired ratios of samples."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

__all__ = ["UNSTABLE", "Summary", "figures", "median_ratio", "paired_ratios", "summarize"]

UNSTABLE: Final = 0.10
"""A spread over this part of the median is pointed out."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a row of samples comes to.

    Attributes:
        median: of all.
        low: first quartile.
        high: third quartile.
        minimum: the smallest.
        maximum: the largest.
        count: how many.
    """

    median: float
    low: float
    high: float
    minimum: float
    maximum: float
    count: int

    @property
    def spread(self) -> float:
        """The interquartile range as a part of the median; 0 for a median of 0."""
        return (self.high - self.low) / self.median if self.median else 0.0

    @property
    def unstable(self) -> bool:
        """Whether the spread is too large to rely on the median."""
        return self.spread > UNSTABLE


def summarize(samples: Sequence[float]) -> Summary:
    """Summarize samples, at least one; ValueError for none."""
    if not samples:
        raise ValueError("no samples")
    if len(samples) == 1:
        low = high = samples[0]
    else:
        low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Summary(statistics.median(samples), low, high, min(samples), max(samples), len(samples))


def figures(samples: Sequence[float]) -> dict[str, Any]:
    """Summarize samples, at least one, for JSON: Summary's fields, its spread, whether it is unstable."""
    summary = summarize(samples)
    return {**asdict(summary), "spread": summary.spread, "unstable": summary.unstable}


def paired_ratios(samples: Sequence[float], base: Sequence[float]) -> list[float]:
    """Divide each sample by the one of the base that was taken in the same repeat.

    What slows a whole repeat down, a busy machine for instance, slows both and cancels out. A pair whose
    base is zero is left out: there is nothing to say of it.

    Raises:
        ValueError: they are not equally many.
    """
    return [sample / under for sample, under in zip(samples, base, strict=True) if under]


def median_ratio(
    own: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]], figure: str
) -> float | None:
    """Return the median of the ratios of a figure in the repeats that have both; None if none has."""
    under = {sample["repeat"]: sample[figure] for sample in base}
    pairs = [(sample[figure], under[sample["repeat"]]) for sample in own if sample["repeat"] in under]
    ratios = paired_ratios([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    return statistics.median(ratios) if ratios else None
