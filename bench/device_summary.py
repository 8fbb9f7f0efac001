"""From the samples of secure devices to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from .stats import figures, paired_ratios
from .wire_summary import summarize_traffic

__all__ = ["set_up_ratios", "summarize_device"]

Sample = Mapping[str, Any]


def set_up_ratios(samples: Sequence[Sample]) -> dict[str, list[float]]:
    """Return what a device takes of what policies take, in the repeats that have both, by what was done.

    Of the time in which the thread was running: it never waits.
    """
    taken = {(s["what"], s["kind"], s["repeat"]): s["cpu_ns"] for s in samples}
    pairs: dict[str, list[tuple[float, float]]] = {}
    for (what, kind, repeat), own in taken.items():
        if kind == "device" and (what, "policy", repeat) in taken:
            pairs.setdefault(what, []).append((own, taken[what, "policy", repeat]))
    return {what: paired_ratios(*zip(*found, strict=True)) for what, found in pairs.items()}


def _set_up(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    ratios = set_up_ratios(samples)
    rows = []
    for what, kind in dict.fromkeys((sample["what"], sample["kind"]) for sample in samples):
        own = [s for s in samples if (s["what"], s["kind"]) == (what, kind)]
        found = ratios.get(what, []) if kind == "device" else []
        rows.append(
            {
                "what": what,
                "kind": kind,
                "sockets": own[0]["sockets"],
                "us": figures([s["ns"] / s["sockets"] / 1000 for s in own]),
                "ratio_to_policy": median(found) if found else None,
            }
        )
    return rows


def _memory(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    return [
        {
            "what": sample["what"],
            "count": sample["count"],
            "bytes": sample["growth"] / sample["count"],
            "resident": sample["resident"],
        }
        for sample in samples
    ]


def summarize_device(data: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the figures of streams, requests, datagrams, set-up and memory."""
    return {
        **summarize_traffic(data),
        "setup": _set_up(data["setup_samples"]),
        "memory": _memory(data["memory_samples"]),
    }
