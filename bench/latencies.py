"""Distributions of latencies, as Histogram.to_dict() writes them, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["merged"]

_PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9}


def _percentile(buckets: Sequence[tuple[int, int]], count: int, percent: float) -> int:
    """Return the value that so many percent of all do not exceed."""
    seen = 0
    for upper, number in buckets:
        seen += number
        if seen >= count * percent / 100:
            return upper
    return buckets[-1][0]


def merged(latencies: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Add distributions up; None if there are none, or nothing in them."""
    found = [latency for latency in latencies if latency is not None and latency["count"]]
    if not found:
        return None
    sums: Counter[int] = Counter()
    for latency in found:
        for upper, number in latency["buckets"]:
            sums[upper] += number
    buckets = sorted(sums.items())
    count = sum(sums.values())
    largest = max(latency["max"] for latency in found)
    return {
        "count": count,
        "mean": sum(latency["mean"] * latency["count"] for latency in found) / count,
        **{
            name: min(largest, _percentile(buckets, count, percent)) for name, percent in _PERCENTILES.items()
        },
        "max": largest,
        "buckets": [list(bucket) for bucket in buckets],
    }
