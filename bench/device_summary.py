"""From the samples of secure devices to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from .stats import figures, paired_ratios
from .wire_summary import summarize_traffic

__all__ = ["set_up_ratios", "summarize_device"]

Sample = Mapping[str, Any]
Case = tuple[str, str]
"""What was done, and the family of the sockets."""


def _case(sample: Sample) -> Case:
    return sample["what"], sample["family"]


def set_up_ratios(samples: Sequence[Sample], of: str = "device") -> dict[Case, list[float]]:
    """Return what a device takes of what policies take, in the repeats that have all that it is made of.

    Of the time in which the thread was running: it never waits. Of a batch, which makes the sockets, too,
    less what one of plain sockets takes.

    Args:
        samples: all of set-up.
        of: the carrier: "device", or "several", which is without the program for one call.
    """
    taken = {(_case(s), s["kind"], s["repeat"]): s["cpu_ns"] for s in samples}
    ratios: dict[Case, list[float]] = {}
    for (case, kind, repeat), own in taken.items():
        if kind != of:
            continue
        policy = taken.get((case, "policy", repeat))
        plain = taken.get((case, "plain", repeat)) if case[0] == "batch" else 0
        pair = ([], []) if policy is None or plain is None else ([own - plain], [policy - plain])
        ratios.setdefault(case, []).extend(paired_ratios(*pair))
    return ratios


def _set_up(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    ratios = {of: set_up_ratios(samples, of) for of in ("device", "several")}
    rows = []
    for case, kind in dict.fromkeys((_case(sample), sample["kind"]) for sample in samples):
        own = [s for s in samples if (_case(s), s["kind"]) == (case, kind)]
        found = ratios[kind].get(case, []) if kind in ratios else []
        what, family = case
        rows.append(
            {
                "what": what,
                "family": family,
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
