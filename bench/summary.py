"""From samples to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from .methods import BASES, METHODS
from .stats import Summary, paired_ratios, summarize
from .traffic import MODES

__all__ = ["summarize_setup", "summarize_traffic"]


def _figures(summary: Summary) -> dict[str, Any]:
    return {**asdict(summary), "spread": summary.spread, "unstable": summary.unstable}


def summarize_setup(setup: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return, for each number of sockets and method, microseconds a socket and the ratios to the bases.

    A ratio is the median of the ratios of single repeats, of times: below 1 is faster than the base.
    """
    rows: list[dict[str, Any]] = []
    for size in setup["sizes"]:
        count = size["sockets"]
        clock = {key: [sample["ns"] for sample in samples] for key, samples in size["samples"].items()}
        cpu = {key: [sample["cpu_ns"] for sample in samples] for key, samples in size["samples"].items()}
        for method in METHODS:
            cost = summarize([ns / count / 1000 for ns in clock[method.key]])
            ratios = {base: paired_ratios(clock[method.key], clock[base]) for base in BASES}
            cpu_ratios = {base: paired_ratios(cpu[method.key], cpu[base]) for base in BASES}
            rows.append(
                {
                    "sockets": count,
                    "method": method.key,
                    "title": method.title,
                    "checks": method.checks,
                    "us": _figures(cost),
                    "sockets_per_second": 1e6 / cost.median,
                    "ratio": {base: median(found) for base, found in ratios.items()},
                    "ratios": ratios,
                    "cpu_ratios": cpu_ratios,
                }
            )
    return rows


def _rate(sample: Mapping[str, Any]) -> float:
    return float(sample["bytes"] * 8 / sample["seconds"] / 1e9)


def _proof(samples: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    proofs = [sample["proof"] for sample in samples]
    names = ("esp", "clear", "neighbour", "dropped", "sa_bytes", "sa_bytes_back", "payload_bytes")
    return {name: sum(proof[name] for proof in proofs) for name in names}


def summarize_traffic(traffic: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return, for each number of streams and kind of traffic, Gbit/s, the ratio to plain, and the proof."""
    rows: list[dict[str, Any]] = []
    for streams in dict.fromkeys(sample["streams"] for sample in traffic["samples"]):
        own = [sample for sample in traffic["samples"] if sample["streams"] == streams]
        taken = {mode: [sample for sample in own if sample["mode"] == mode] for mode in MODES}
        plain = [_rate(sample) for sample in taken["plain"]]
        for mode in MODES:
            rates = [_rate(sample) for sample in taken[mode]]
            row = {
                "streams": streams,
                "mode": mode,
                "gbit_per_second": _figures(summarize(rates)),
                "ratio_to_plain": median(paired_ratios(rates, plain)),
                "connect_seconds": _figures(summarize([s["connect_seconds"] for s in taken[mode]])),
                "cipher": taken[mode][0]["cipher"] if mode == "tls" else None,
                "proof": _proof(taken[mode]) if mode == "secured" else None,
            }
            rows.append(row)
    return rows
