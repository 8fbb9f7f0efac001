"""From the samples of key negotiation to figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .stats import figures, median_ratio

__all__ = ["summarize_keys"]


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
                    "ratio_to_plain": median_ratio(own, plain, "value"),
                }
            )
    return rows
