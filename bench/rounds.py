"""Rounds of a case for pytest-benchmark that has figures of its own: those of all rounds are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

__all__ = ["keep", "measure_rounds"]


def keep(benchmark: Any, samples: Mapping[str, list[float]]) -> None:
    """Store the median of each figure in a case's extra information, and all of them under "samples"."""
    benchmark.extra_info |= {name: median(taken) for name, taken in samples.items()}
    benchmark.extra_info["samples"] = dict(samples)


def measure_rounds(
    benchmark: Any, rounds: int, measure: Callable[[], Mapping[str, float]], *, warm_ups: int = 0
) -> dict[str, list[float]]:
    """Measure so many times.

    Args:
        benchmark: the fixture.
        rounds: how often.
        measure: returns the figures of a round by name.
        warm_ups: rounds before, whose figures are thrown away.

    Returns:
        The figures of all rounds by name; keep() has stored them.
    """
    taken: list[Mapping[str, float]] = []
    benchmark.pedantic(lambda: taken.append(measure()), rounds=rounds, warmup_rounds=warm_ups, iterations=1)
    taken = taken[-rounds:]
    samples = {name: [figures[name] for figures in taken] for name in taken[0]}
    keep(benchmark, samples)
    return samples
