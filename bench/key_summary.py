"""From the samples of key negotiation to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from .stats import figures, paired_ratios

__all__ = ["summarize_keys"]

Sample = Mapping[str, Any]


def _ratio(own: Sequence[Sample], plain: Sequence[Sample]) -> float | None:
    """Return the median of the ratios in the repeats that have both."""
    under = {sample["repeat"]: sample["value"] for sample in plain}
    pairs = [(sample["value"], under[sample["repeat"]]) for sample in own if sample["repeat"] in under]
    ratios = paired_ratios([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    return median(ratios) if ratios else None


def summarize_keys(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return, for each thing that was measured, its figure for secured sockets, and for plain ones if any."""
    rows = []
    for what in dict.fromkeys(sample["what"] for sample in data["samples"]):
        alike = [sample for sample in data["samples"] if sample["what"] == what]
        own, plain = ([s for s in alike if s["kind"] == kind] for kind in ("secured", "plain"))
        if own:
            rows.append(
                {
                    "what": what,
                    "unit": own[0]["unit"],
                    "secured": figures([sample["value"] for sample in own]),
                    "plain": figures([sample["value"] for sample in plain]) if plain else None,
                    "ratio_to_plain": _ratio(own, plain),
                }
            )
    return rows
