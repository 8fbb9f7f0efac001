"""Two results beside each other: what became slower by more than the noise.

Ratios to a baseline of the same run are compared where there are any: a busier or a faster machine changes
both. Absolute figures are compared where there is no baseline, and only if machine and effort are the same.

`python -m wsasec.bench.compare OLD.json NEW.json` compares two files.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .reading import Figure, FormatError, Machine, Results, SetupRow, load, read
from .stats import summarize
from .wording import base_title, group_title, kind_title, message_title, number, setup_title

__all__ = ["MINIMUM_EFFECT", "Comparison", "Row", "Verdict", "compare", "main", "render"]

MINIMUM_EFFECT: Final = 0.05
"""A smaller change is none, however little the samples spread: runs differ by more than their repeats do."""

# In 2 of 1,000 pairs, two medians of so many samples (at most) of one normal distribution differ by more than
# this times the root of the sum of their squared interquartile ranges; found by simulation. Never less than
# once: what slows a whole run down is not seen in the spread of its repeats.
_FACTORS: Final = ((2, 21.0), (3, 4.8), (6, 3.6), (9, 1.7), (14, 1.5))
_LEAST_FACTOR: Final = 1.0


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
        differences: what is not the same about the two, in words.
        absolute: whether absolute figures were compared.
        left_out: how many of them were not.
        notes: what else there is to say.
    """

    rows: tuple[Row, ...]
    differences: tuple[str, ...]
    absolute: bool
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


@dataclass(frozen=True, slots=True)
class _Measure:
    """A median and how far it can be trusted.

    Attributes:
        name: for people.
        value: the median.
        spread: interquartile range as a part of it; None if not known.
        count: samples behind it.
        more_is_better: rates; not so times.
        ratio: whether it is one to a baseline of the same run.
        baseline: whether it is what wsasec is compared with.
    """

    name: str
    value: float
    spread: float | None
    count: int
    more_is_better: bool
    ratio: bool = False
    baseline: bool = False


_Key = tuple[object, ...]


def _figure(
    name: str, figure: Figure, *, more_is_better: bool, baseline: bool = False, spread: float | None = None
) -> _Measure:
    return _Measure(
        name,
        figure.median,
        # One sample has no spread, which is not the same as one of 0.
        (figure.spread if figure.count != 1 else None) if spread is None else spread,
        figure.count,
        more_is_better,
        baseline=baseline,
    )


def _ratio(
    name: str, ratio: float, own: Figure | None, base: Figure | None, *, more_is_better: bool = True
) -> _Measure:
    """Make a measure of a ratio; its noise is that of both sides, which is more than that of pairs."""
    figures = [figure for figure in (own, base) if figure]
    known = bool(figures) and all(figure.count != 1 for figure in figures)
    return _Measure(
        name,
        ratio,
        math.hypot(*(figure.spread for figure in figures)) if known else None,
        min((figure.count for figure in figures), default=0),
        more_is_better,
        ratio=True,
    )


def _setup_ratio(name: str, row: SetupRow, base: str, floor: SetupRow | None) -> _Measure:
    pairs = row.ratios.get(base, ())
    if len(pairs) > 1:
        # Taken within a repeat each: what slowed both is not in them.
        paired = summarize(pairs)
        return _Measure(name, paired.median, paired.spread, paired.count, more_is_better=False, ratio=True)
    return _ratio(name, row.ratio[base], row.us, floor.us if floor else None, more_is_better=False)


def _base(row: SetupRow, own: Mapping[str, SetupRow]) -> str | None:
    """Choose what a method is compared with: a bare C loop if there is one, best one that does the same."""

    def less_fit(base: str) -> tuple[bool, bool]:
        return "floor" not in base.split("_"), base not in own or own[base].group != row.group

    return min(
        (base for base in row.ratio if row.ratio[base] > 0 and base != row.method), key=less_fit, default=None
    )


def _under(row: SetupRow, base: str, own: Mapping[str, SetupRow]) -> SetupRow | None:
    """Find what a base is in a row's group: "floor" stands for the C loop of each."""
    words = set(base.split("_"))
    alike = [
        other for other in own.values() if other.group == row.group and words & set(other.method.split("_"))
    ]
    return min(alike, key=lambda other: other.method != base, default=own.get(base))


def _setup(results: Results) -> Iterator[tuple[_Key, _Measure]]:
    for row in results.setup:
        kind = (row.sockets, row.family, row.type)
        own = {
            other.method: other
            for other in results.setup
            if (other.sockets, other.family, other.type) == kind
        }
        titles = Counter(other.title for other in own.values())
        title = (
            row.title if titles[row.title] == 1 else f"{row.title} ({group_title(row.group) or row.method})"
        )
        name = f"{row.sockets:,} {setup_title(row.family, row.type)}: {title}"
        base = _base(row, own)
        key = ("setup", *kind, row.method)
        if row.baseline or base is None:
            yield key, _figure(f"{name}, µs", row.us, more_is_better=False, baseline=row.baseline)
        else:
            under = _under(row, base, own)
            yield (*key, base), _setup_ratio(f"{name} / {base_title(base)}", row, base, under)


def _memory(results: Results) -> Iterator[tuple[_Key, _Measure]]:
    for row in results.memory:
        # Counted, not sampled: it does not spread.
        yield ("memory", row.what), _Measure(f"{row.what}, bytes", row.bytes, 0.0, 99, more_is_better=False)


def _connect(results: Results) -> Iterator[tuple[_Key, _Measure]]:
    figures = {(row.kind, row.side, row.connections): row.per_second for row in results.connect}
    for row in results.connect:
        key = ("connect", row.kind, row.side, row.connections)
        name = f"{row.connections:,} connections, {row.side}: {kind_title(row.kind)}"
        if row.kind == "secured" and row.ratio_to_plain:
            plain = figures.get(("plain", row.side, row.connections))
            yield (*key, "plain"), _ratio(f"{name} / plain", row.ratio_to_plain, row.per_second, plain)
        else:
            baseline = row.kind != "secured"
            yield key, _figure(f"{name}, /s", row.per_second, more_is_better=True, baseline=baseline)


def _throughput(results: Results) -> Iterator[tuple[_Key, _Measure]]:
    figures = {(row.kind, row.streams, row.message_bytes): row.rate for row in results.throughput}
    for row in results.throughput:
        key = ("throughput", row.kind, row.streams, row.message_bytes)
        size = message_title(row.message_bytes)
        where = ", ".join(part for part in (f"{row.streams:,} streams", size) if part)
        name = f"{where}: {kind_title(row.kind)}"
        if row.kind != "secured":
            yield key, _figure(f"{name}, Gbit/s", row.rate, more_is_better=True, baseline=True)
            continue
        plain = figures.get(("plain", row.streams, row.message_bytes))
        policy = figures.get(("system_policy", row.streams, row.message_bytes))
        if row.ratio_to_plain:
            yield (*key, "plain"), _ratio(f"{name} / plain", row.ratio_to_plain, row.rate, plain)
        else:
            yield key, _figure(f"{name}, Gbit/s", row.rate, more_is_better=True)
        if policy and policy.median > 0:
            ratio = row.rate.median / policy.median
            yield (*key, "policy"), _ratio(f"{name} / one policy for all", ratio, row.rate, policy)


def _latency(results: Results) -> Iterator[tuple[_Key, _Measure]]:
    own = {(row.kind, row.connections, row.message_bytes): row for row in results.latency}
    for row in own.values():
        key = ("latency", row.kind, row.connections, row.message_bytes)
        size = message_title(row.message_bytes)
        where = ", ".join(part for part in (f"requests, {row.connections:,} connections", size) if part)
        name = f"{where}: {kind_title(row.kind)}"
        plain = own.get(("plain", row.connections, row.message_bytes))
        if row.kind != "secured" or plain is None:
            if row.per_second:
                baseline = row.kind != "secured"
                yield key, _figure(f"{name}, /s", row.per_second, more_is_better=True, baseline=baseline)
            continue
        if row.per_second and plain.per_second and plain.per_second.median > 0:
            ratio = row.per_second.median / plain.per_second.median
            yield (*key, "plain"), _ratio(f"{name} / plain, rate", ratio, row.per_second, plain.per_second)
        p99, base = row.latency.percentiles.get("p99"), plain.latency.percentiles.get("p99")
        if p99 is not None and base:
            # One percentile of all requests: nothing tells how far it would be another one next time.
            measure = _ratio(f"{name} / plain, p99", p99 / base, None, None, more_is_better=False)
            yield (*key, "p99"), measure


def _datagrams(results: Results) -> Iterator[tuple[_Key, _Measure]]:
    figures = {(row.kind, row.message_bytes): row.per_second for row in results.datagrams}
    for row in results.datagrams:
        key = ("datagrams", row.kind, row.message_bytes)
        size = message_title(row.message_bytes)
        name = ", ".join(part for part in ("datagrams", size) if part) + f": {kind_title(row.kind)}"
        plain = figures.get(("plain", row.message_bytes))
        if row.kind == "secured" and plain and plain.median > 0:
            ratio = row.per_second.median / plain.median
            yield (*key, "plain"), _ratio(f"{name} / plain", ratio, row.per_second, plain)
        else:
            baseline = row.kind != "secured"
            yield key, _figure(f"{name}, /s", row.per_second, more_is_better=True, baseline=baseline)


def _measures(results: Results) -> dict[_Key, _Measure]:
    parts = (_setup, _memory, _connect, _throughput, _latency, _datagrams)
    return {key: measure for part in parts for key, measure in part(results)}


def _factor(count: int) -> float:
    return next((factor for most, factor in _FACTORS if count <= most), _LEAST_FACTOR)


def _noise(old: _Measure, new: _Measure) -> float | None:
    if old.spread is None or new.spread is None:
        return None
    factor = _factor(min(old.count, new.count))
    return max(MINIMUM_EFFECT, factor * math.hypot(old.spread, new.spread))


def _judge(old: _Measure, new: _Measure) -> Row:
    change = new.value / old.value - 1 if old.value > 0 else None
    noise = _noise(old, new)
    if new.baseline:
        verdict = Verdict.BASELINE
    elif change is None or noise is None:
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


def _machine_differences(what: str, old: Machine | None, new: Machine | None) -> Iterator[str]:
    if old is None and new is None:
        return
    if old is None or new is None:
        yield f"{what}: described in one of the two only"
        return
    for field in ("cpu", "architecture", "cores", "kernel", "guest", "aes_instructions"):
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            yield f"{what}, {field.replace('_', ' ')}: {before}, now {after}"


def _differences(old: Results, new: Results) -> Iterator[str]:
    if old.effort != new.effort:
        yield f"effort: {old.effort or 'unknown'}, now {new.effort or 'unknown'}"
    if old.machine is None and new.machine is None:
        yield "machine: not described"
    yield from _machine_differences("machine", old.machine, new.machine)
    if old.connect and new.connect:
        yield from _machine_differences("machine of connections", old.connect_machine, new.connect_machine)
    if old.throughput and new.throughput:
        yield from _machine_differences("machine of traffic", old.traffic_machine, new.traffic_machine)


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
    differences = tuple(_differences(before, after))
    absolute = not differences
    old_measures, new_measures = _measures(before), _measures(after)
    rows: list[Row] = []
    clear = _clear(after)
    if clear:
        # No noise here: one such packet is one too many.
        rows.append(Row("packets in clear", _clear(before), clear, None, None, Verdict.WORSE))
    left_out = 0
    for key in dict.fromkeys([*new_measures, *old_measures]):
        was, now = old_measures.get(key), new_measures.get(key)
        one = now or was
        if one is None or (not absolute and not one.ratio):
            left_out += 1
        elif was is None:
            rows.append(Row(one.name, None, one.value, None, None, Verdict.NEW))
        elif now is None:
            rows.append(Row(one.name, one.value, None, None, None, Verdict.GONE))
        else:
            rows.append(_judge(was, now))
    return Comparison(tuple(rows), differences, absolute, left_out, tuple(_notes(before, after)))


_STYLES: Final = {Verdict.WORSE: "bold red", Verdict.BETTER: "green", Verdict.UNJUDGED: "yellow"}


def _cell(value: float | None) -> str:
    return "" if value is None else number(value)


def _percent(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value * 100:{sign}.1f} %"


def _summary(comparison: Comparison) -> str:
    if not comparison.judged:
        return "Nothing to compare: the two have no measure in common that can be judged."
    counts = Counter(row.verdict for row in comparison.rows)
    return (
        f"{comparison.judged} measures: {counts[Verdict.WORSE]} worse, {counts[Verdict.BETTER]} better, "
        f"{counts[Verdict.SAME]} the same within the noise."
    )


def render(comparison: Comparison, console: Console) -> None:
    """Print a comparison as a table, and what it comes to."""

    def say(words: str, style: str = "") -> None:
        console.print(words, style=style, highlight=False, markup=False)

    if comparison.differences:
        say("The two runs differ, so only ratios within each are compared:", "yellow")
        for difference in comparison.differences:
            say(f"  {difference}")
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
        say(f"Worse: {row.name}: {_cell(row.old)}, now {_cell(row.new)}", "red")


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
