"""From the samples of set-up to figures."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any, Final

from .methods import BASES, METHODS, Method
from .stats import figures, paired_ratios
from .wording import cell_title

__all__ = ["clock_of", "ratios_by_cell", "summarize_setup"]

_BY_KEY: Final = {method.key: method for method in METHODS}


def clock_of(*methods: str) -> str:
    """Return by which clock methods are compared: "cpu_ns" if each is one thread that never waits, else "ns".

    The time in which a thread was running is what the work costs, whatever else the machine does meanwhile.
    """
    return "ns" if any(_BY_KEY[method].parallel for method in methods) else "cpu_ns"


def _ratios(cell: Mapping[str, Any], method: str, base: str) -> list[float]:
    clock = clock_of(method, base)
    samples = cell["samples"]
    return paired_ratios([s[clock] for s in samples[method]], [s[clock] for s in samples[base]])


def _row(cell: Mapping[str, Any], method: Method) -> dict[str, Any]:
    count = cell["sockets"]
    samples = cell["samples"]
    cost = figures([sample["ns"] / count / 1000 for sample in samples[method.key]])
    bases = {name: base for name, base in BASES[method.group].items() if base in samples}
    ratios = {name: found for name, base in bases.items() if (found := _ratios(cell, method.key, base))}
    return {
        "sockets": count,
        "family": cell["family"],
        "type": cell["type"],
        "method": method.key,
        "title": method.title,
        "group": method.group,
        "baseline": method.baseline,
        "us": cost,
        "cpu_us": figures([sample["cpu_ns"] / count / 1000 for sample in samples[method.key]]),
        "sockets_per_second": 1e6 / cost["median"] if cost["median"] else None,
        "ratio": {name: median(found) for name, found in ratios.items()},
        "ratios": ratios,
        "ratio_clock": {name: clock_of(method.key, bases[name]) for name in ratios},
    }


def summarize_setup(setup: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return, for each cell and method, microseconds a socket and the ratios to the bases of its group.

    A ratio is the median of the ratios of single repeats, of times: below 1 is faster than the base.
    """
    return [
        _row(cell, method) for cell in setup["cells"] for method in METHODS if method.key in cell["samples"]
    ]


def ratios_by_cell(
    setup: Mapping[str, Any], method: str, base: str, *, wanted: int = 0
) -> dict[str, list[float]]:
    """Return the ratios of a method to a base in all repeats, by the names of the cells that have both.

    Args:
        setup: with the samples.
        method: a method's key.
        base: another's.
        wanted: only cells that were to have so many sockets or more.
    """
    found = {
        cell_title(cell["sockets"], cell["family"], cell["type"]): _ratios(cell, method, base)
        for cell in setup.get("cells", ())
        if cell["wanted"] >= wanted and {method, base} <= cell["samples"].keys()
    }
    return {title: ratios for title, ratios in found.items() if ratios}
