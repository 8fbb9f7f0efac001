"""Two results beside each other: what became slower by more than the noise.

Ratios to a baseline of the same run are compared where there are any: a busier machine changes both. Absolute
figures are compared where there is no baseline, and only on the same kernel. On other hardware, or with
another effort, ratios are others as well: nothing is judged then.

`python -m wsasec.bench.compare OLD.json NEW.json` compares two files.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .measures import Measure, measures
from .reading import FormatError, Machine, Results, load, read
from .wording import LEAK, number

__all__ = ["MINIMUM_EFFECT", "Comparison", "Row", "Verdict", "compare", "main", "render"]

MINIMUM_EFFECT: Final = 0.05
"""A smaller change is none, however little the samples spread: runs differ by more than their repeats do."""

# In 2 of 10,000 pairs, one to each side, the medians of so many samples (at least) of one normal distribution
# differ by more than this times the root of the sum of their squared interquartile ranges: simulated with
# 4 million pairs for each number of samples, and rounded up. (The quartiles of 5 samples are two of these
# samples, those of 4 lie between two, and vary less: so 5 need the larger factor.) A full comparison judges
# about 180 rows: 2 of 100 comparisons of equal builds find something worse by chance.
_FACTORS: Final = (
    (16, 1.15),
    (13, 1.45),
    (10, 1.75),
    (8, 2.2),
    (7, 2.5),
    (6, 3.4),
    (5, 6.6),
    (4, 4.6),
    (3, 8.0),
    (2, 72.0),
)
_ENOUGH: Final = 21
"""Samples from which on once is enough; never less: what slows a whole run down is not in its spread."""

_HARDWARE: Final = ("cpu", "architecture", "cores", "guest", "aes_instructions")
"""What ratios depend on as well."""


class Verdict(StrEnum):
    """What a change is."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    BASELINE = "baseline"
    UNJUDGED = "not judged"
    GONE = "only in old"
    NEW = "only in new"


@dataclass(frozen=True, slots=True)
class Row:
    """One measure in both runs.

    Attributes:
        name: what was measured.
        old: its median in the old run; None if it has none.
        new: in the new run.
        change: new / old - 1; None where that means nothing.
        noise: the change that may be chance; None where nothing tells.
        verdict: worse or better beyond the noise, or why neither.
    """

    name: str
    old: float | None
    new: float | None
    change: float | None
    noise: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs.

    Attributes:
        rows: the measures, in the order of the runs.
        differences: what is not the same about hardware and effort, in words: then nothing is judged.
        kernels: the same about the kernels: then only ratios are compared.
        left_out: how many absolute figures were not compared.
        notes: what else there is to say.
    """

    rows: tuple[Row, ...]
    differences: tuple[str, ...]
    kernels: tuple[str, ...]
    left_out: int
    notes: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Row, ...]:
        """What became worse beyond the noise."""
        return tuple(row for row in self.rows if row.verdict is Verdict.WORSE)

    @property
    def judged(self) -> int:
        """How many rows have been judged."""
        return sum(row.verdict in (Verdict.WORSE, Verdict.BETTER, Verdict.SAME) for row in self.rows)

    @property
    def exit_code(self) -> int:
        """0; 1 for a regression beyond the noise; 2 if there was nothing to judge."""
        if self.regressions:
            return 1
        return 0 if self.judged else 2


def _factor(count: int) -> float | None:
    """Return by how much of the spreads so many samples may differ; None for too few to tell."""
    if count >= _ENOUGH:
        return 1.0
    return next((factor for least, factor in _FACTORS if count >= least), None)


def _noise(old: Measure, new: Measure) -> float | None:
    factor = _factor(min(old.count, new.count))
    if old.spread is None or new.spread is None or factor is None:
        return None
    return max(MINIMUM_EFFECT, factor * math.hypot(old.spread, new.spread))


def _judge(old: Measure, new: Measure, *, comparable: bool) -> Row:
    change = new.value / old.value - 1 if old.value > 0 else None
    noise = _noise(old, new)
    if new.baseline:
        verdict = Verdict.BASELINE
    elif change is None or noise is None or not comparable:
        verdict = Verdict.UNJUDGED
    else:
        # A rate that falls to a half and a time that doubles are the same: both a factor of 2.
        factor = max(1 + change, 1e-9)
        worse = 1 / factor if new.more_is_better else factor
        if worse > 1 + noise:
            verdict = Verdict.WORSE
        elif worse < 1 / (1 + noise):
            verdict = Verdict.BETTER
        else:
            verdict = Verdict.SAME
    return Row(new.name, old.value, new.value, change, noise, verdict)


def _machines(old: Results, new: Results) -> Iterator[tuple[str, Machine | None, Machine | None]]:
    """Yield the machines of parts that both have measured."""
    yield "machine", old.machine, new.machine
    if old.connect and new.connect:
        yield "machine of connections", old.connect_machine, new.connect_machine
    if old.throughput and new.throughput:
        yield "machine of traffic", old.traffic_machine, new.traffic_machine


def _differences(old: Results, new: Results) -> Iterator[str]:
    """Say what changes ratios as well: two threads gain by a second core what a loop in one does not."""
    if old.effort != new.effort:
        yield f"effort: {old.effort or 'unknown'}, now {new.effort or 'unknown'}"
    if old.machine is None and new.machine is None:
        yield "machine: not described"
    for what, before, after in _machines(old, new):
        if (before is None) != (after is None):
            yield f"{what}: described in one of the two only"
        yield from _changed(what, before, after, *_HARDWARE)


def _kernels(old: Results, new: Results) -> Iterator[str]:
    for what, before, after in _machines(old, new):
        yield from _changed(what, before, after, "kernel")


def _changed(what: str, old: Machine | None, new: Machine | None, *names: str) -> Iterator[str]:
    for name in names if old and new else ():
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield f"{what}, {name.replace('_', ' ')}: {before}, now {after}"


def _clear(results: Results) -> float | None:
    proofs = [row.proof for row in results.throughput if row.proof and "clear" in row.proof]
    return sum(proof["clear"] for proof in proofs) if proofs else None


def _notes(old: Results, new: Results) -> Iterator[str]:
    for name in dict.fromkeys([*old.versions, *new.versions]):
        before, after = old.versions.get(name), new.versions.get(name)
        if before != after:
            yield f"{name.replace('_', ' ')}: {before or 'unknown'}, now {after or 'unknown'}"
    before_met = {target.name: target.met for target in old.targets}
    for target in new.targets:
        if target.met is False and before_met.get(target.name) is True:
            yield f"the target was met, and is not met any more: {target.name}"
    for part, text in new.errors.items():
        yield f"{part} could not be measured in the new run: {text}"
    for which, results in (("old", old), ("new", new)):
        if results.unreadable:
            yield f"{results.unreadable} rows of the {which} run could not be read"


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
    """Compare two results.

    Args:
        old: as in a results file.
        new: the same, later.

    Raises:
        FormatError: one of them is of another format.
    """
    before, after = read(old), read(new)
    other = tuple(_differences(before, after))
    kernels = tuple(_kernels(before, after))
    old_measures, new_measures = measures(before), measures(after)
    rows: list[Row] = []
    clear = _clear(after)
    if clear:
        # No noise here: one such packet is one too many.
        rows.append(Row("packets in clear", _clear(before), clear, None, None, Verdict.WORSE))
    rows += [Row(f"{LEAK}: {leak}", None, None, None, None, Verdict.WORSE) for leak in after.leaks]
    left_out = 0
    for key in dict.fromkeys([*new_measures, *old_measures]):
        was, now = old_measures.get(key), new_measures.get(key)
        one = now or was
        if one is None or ((other or kernels) and not one.ratio):
            left_out += 1
        elif was is None:
            rows.append(Row(one.name, None, one.value, None, None, Verdict.NEW))
        elif now is None:
            rows.append(Row(one.name, one.value, None, None, None, Verdict.GONE))
        else:
            rows.append(_judge(was, now, comparable=not other))
    return Comparison(tuple(rows), other, kernels, left_out, tuple(_notes(before, after)))


_STYLES: Final = {Verdict.WORSE: "bold red", Verdict.BETTER: "green", Verdict.UNJUDGED: "yellow"}


def _cell(value: float | None) -> str:
    return "" if value is None else number(value)


def _percent(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value * 100:{sign}.1f} %"


def _summary(comparison: Comparison) -> str:
    if not comparison.judged:
        return "Nothing is judged: the two have no measure in common that can be."
    counts = Counter(row.verdict for row in comparison.rows)
    return (
        f"{comparison.judged} measures: {counts[Verdict.WORSE]} worse, {counts[Verdict.BETTER]} better, "
        f"{counts[Verdict.SAME]} the same within the noise."
    )


def _say_differences(comparison: Comparison, say: Callable[[str, str], None]) -> None:
    if comparison.differences:
        say("The runs differ in what ratios depend on as well, so nothing is judged:", "yellow")
    elif comparison.kernels:
        say("The kernels differ, so only ratios within each run are compared:", "yellow")
    for difference in (*comparison.differences, *comparison.kernels):
        say(f"  {difference}", "")


def render(comparison: Comparison, console: Console) -> None:
    """Print a comparison as a table, and what it comes to."""

    def say(words: str, style: str = "") -> None:
        console.print(words, style=style, highlight=False, markup=False)

    _say_differences(comparison, say)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("measure", overflow="fold")
    for column in ("old", "new", "change", "noise"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in comparison.rows:
        cells = (_cell(row.old), _cell(row.new), _percent(row.change, "+"), _percent(row.noise))
        style = _STYLES.get(row.verdict, "")
        # As text: a name comes from a file, and brackets in it are no markup.
        table.add_row(Text(row.name), *cells, row.verdict.value, style=style)
    if comparison.rows:
        console.print(table, highlight=False)
    for note in comparison.notes:
        say(f"Note: {note}")
    if comparison.left_out:
        say(f"{comparison.left_out} absolute figures are left out.")
    say(_summary(comparison), "bold")
    for row in comparison.regressions:
        figures = f": {_cell(row.old)}, now {_cell(row.new)}" if row.new is not None else ""
        say(f"Worse: {row.name}{figures}", "red")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two files; see Comparison.exit_code. What cannot be read is said on stderr, and 2 returned."""
    parser = argparse.ArgumentParser(
        prog="python -m wsasec.bench.compare", description="Compare two results."
    )
    parser.add_argument("old", type=Path, help="results file of the old run")
    parser.add_argument("new", type=Path, help="results file of the new run")
    files = parser.parse_args(arguments)
    try:
        comparison = compare(load(files.old), load(files.new))
    except (OSError, FormatError) as error:
        sys.stderr.write(f"wsasec bench: {error}\n")
        return 2
    render(comparison, Console())
    return comparison.exit_code


if __name__ == "__main__":
    sys.exit(main())
