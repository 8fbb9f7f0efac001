"""What the samples of calls come to: figures, ratios, targets, tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any, Final

from .call_cost import METHODS
from .stats import Summary, figures, paired_ratios
from .tables import NOTHING, Cell, Table
from .wording import MIDDLE, SIGNS, UNSTABLE, number

__all__ = ["DOUBLE", "REAL", "call_tables", "summarize_calls"]

DOUBLE: Final = (
    "The fwpuclnt.dll that was called is the tests' double: it only counts, and copies bytes. "
    "These are costs of calling, not of what Windows does then."
)
REAL: Final = (
    "The fwpuclnt.dll that was called is not the tests' double: what it does is in the figures. The targets, "
    "which are for calling alone, are not judged. wsasec's authors have not run this there."
)
MOST_NANOSECONDS: Final = 40.0
LEAST_RATIO: Final = 40.0


def _row(cell: Mapping[str, Any], method: str) -> dict[str, Any]:
    samples, count = cell["samples"], cell["sockets"]
    ratios = paired_ratios(samples[method], samples["secure_many"])
    return {
        "sockets": count,
        "method": method,
        "title": METHODS[method],
        "ns": figures([sample / count for sample in samples[method]]),
        "ratio": median(ratios) if ratios else None,
    }


def _target(name: str, row: Mapping[str, Any], figure: str, target: float, sense: str) -> dict[str, Any]:
    value = row["ns"]["median"] if figure == "ns" else row["ratio"]
    met = None if value is None else value <= target if sense == "<=" else value >= target
    return {
        "name": name,
        "sockets": row["sockets"],
        "value": value,
        "target": target,
        "sense": sense,
        "met": met,
        "unstable": row["ns"]["unstable"],
    }


def _targets(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if row["method"] == "secure_many":
            yield _target("nanoseconds a socket in secure_many", row, "ns", MOST_NANOSECONDS, "<=")
        elif row["method"] in ("expert", "naive"):
            yield _target(f"{row['title']} / secure_many", row, "ratio", LEAST_RATIO, ">=")


def summarize_calls(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return nanoseconds a socket and ratios to secure_many, by size and method; and the targets.

    A ratio is the median of those of single repeats. Targets are judged with the double only.
    """
    rows = [_row(cell, method) for cell in data["cells"] for method in METHODS if method in cell["samples"]]
    return {**data, "summary": rows, "targets": list(_targets(rows)) if data["double"] else []}


def _cost(row: Mapping[str, Any]) -> list[Cell]:
    summary = Summary(
        **{name: row["ns"][name] for name in ("median", "low", "high", "minimum", "maximum", "count")}
    )
    tone = "warn" if summary.unstable else ""
    return [
        Cell(f"{number(summary.median)}{' *' if summary.unstable else ''}", tone),
        Cell(f"{number(summary.low)} to {number(summary.high)}"),
        Cell(f"{number(summary.minimum)} to {number(summary.maximum)}"),
        Cell(NOTHING if row["ratio"] is None else number(row["ratio"])),
        Cell(str(summary.count)),
    ]


def call_tables(calls: Mapping[str, Any]) -> Iterator[Table]:
    """Return a table for each number of sockets, and the targets."""
    columns = ("method", "ns a socket", "middle half", "min to max", "of secure_many", "runs")
    for count in dict.fromkeys(row["sockets"] for row in calls["summary"]):
        own = [row for row in calls["summary"] if row["sockets"] == count]
        rows = [[Cell(row["title"]), *_cost(row)] for row in own]
        unstable = [UNSTABLE] if any(row["ns"]["unstable"] for row in own) else []
        yield Table(f"{count:,} sockets, TCP, IPv4", columns, rows, [MIDDLE, *unstable])
    if calls["targets"]:
        rows = [
            [
                Cell(f"{target['name']}, {target['sockets']:,}"),
                Cell(NOTHING if target["value"] is None else number(target["value"])),
                Cell(f"{target['sense']} {target['target']:g}"),
                _state(target),
            ]
            for target in calls["targets"]
        ]
        yield Table("", ("measure, same run", "value", "target", ""), rows)


def _state(target: Mapping[str, Any]) -> Cell:
    words = SIGNS[target["met"]]
    tone = "good" if target["met"] and not target["unstable"] else "warn" if target["met"] else "bad"
    return Cell(f"{words}, unstable" if target["unstable"] else words, tone)
