"""What two runs are compared by: ratios to a baseline of the same run, or figures that have none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from .kinds import SECURED_KINDS, with_alike
from .reading import DatagramRow, Device, Figure, LatencyRow, Results, SetupRow, ThroughputRow
from .stats import summarize
from .wording import (
    base_title,
    cell_title,
    connections_title,
    group_title,
    kind_title,
    message_title,
    set_up_what,
    streams_title,
)

__all__ = ["Key", "Measure", "measures"]


@dataclass(frozen=True, slots=True)
class Measure:
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


Key = tuple[object, ...]
"""What tells that two runs have the same measure."""

_COUNTED: Final = 99
"""Stands for the number of samples of what is counted, not sampled."""


def _figure(
    name: str, figure: Figure, *, more_is_better: bool, baseline: bool = False, spread: float | None = None
) -> Measure:
    return Measure(
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
) -> Measure:
    """Make a measure of a ratio; its noise is that of both sides, which is more than that of pairs."""
    figures = [figure for figure in (own, base) if figure]
    known = bool(figures) and all(figure.count != 1 for figure in figures)
    return Measure(
        name,
        ratio,
        math.hypot(*(figure.spread for figure in figures)) if known else None,
        min((figure.count for figure in figures), default=0),
        more_is_better,
        ratio=True,
    )


def _setup_ratio(name: str, row: SetupRow, base: str, floor: SetupRow | None) -> Measure:
    pairs = row.ratios.get(base, ())
    if len(pairs) > 1:
        # Taken within a repeat each: what slowed both is not in them.
        paired = summarize(pairs)
        return Measure(name, paired.median, paired.spread, paired.count, more_is_better=False, ratio=True)
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


def _setup(results: Results) -> Iterator[tuple[Key, Measure]]:
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
        name = f"{cell_title(*kind)}: {title}"
        base = _base(row, own)
        key = ("setup", *kind, row.method)
        if row.baseline or base is None:
            yield key, _figure(f"{name}, µs", row.us, more_is_better=False, baseline=row.baseline)
        else:
            under = _under(row, base, own)
            yield (*key, base), _setup_ratio(f"{name} / {base_title(base)}", row, base, under)


def _memory(results: Results) -> Iterator[tuple[Key, Measure]]:
    for row in results.memory:
        name, key = f"{row.what}, bytes", ("memory", row.what)
        if row.figure and not row.derived:
            yield key, _figure(name, row.figure, more_is_better=False, baseline=row.baseline)
        else:
            # Counted, not sampled: it does not spread. Of a difference nothing tells how far it does.
            spread = None if row.derived else 0.0
            yield key, Measure(name, row.bytes, spread, _COUNTED, more_is_better=False, baseline=row.baseline)


def _ratios(
    name: str, own: Figure, bases: Mapping[str, tuple[float | None, Figure | None]]
) -> Iterator[tuple[str, Measure]]:
    """Make a measure of each ratio that there is, given with its base's figure by the base's kind."""
    for kind, (ratio, base) in bases.items():
        if ratio:
            yield kind, _ratio(f"{name} / {kind_title(kind)}", ratio, own, base)


def _rates(
    key: Key,
    name: str,
    unit: str,
    own: Figure,
    bases: Mapping[str, tuple[float | None, Figure | None]],
    *,
    baseline: bool,
) -> Iterator[tuple[Key, Measure]]:
    """Make measures of a rate: its ratios, or itself if it has none or is a baseline."""
    ratios = [] if baseline else list(_ratios(name, own, bases))
    yield from (((*key, kind), measure) for kind, measure in ratios)
    if not ratios:
        yield key, _figure(f"{name}, {unit}", own, more_is_better=True, baseline=baseline)


def _connect(results: Results) -> Iterator[tuple[Key, Measure]]:
    figures = {(row.kind, row.side, row.connections): row.per_second for row in results.connect}
    for row in results.connect:
        key = ("connect", row.kind, row.side, row.connections)
        name = f"{row.connections:,} connections, {row.side}: {kind_title(row.kind)}"
        bases = {
            "plain": (row.ratio_to_plain, figures.get(("plain", *key[2:]))),
            "tls128": (row.ratio_to_tls, figures.get(("tls128", *key[2:]))),
        }
        yield from _rates(key, name, "/s", row.per_second, bases, baseline=row.kind != "secured")


def _throughput(rows: Sequence[ThroughputRow], *part: str) -> Iterator[tuple[Key, Measure]]:
    figures = {(row.kind, row.streams, row.message_bytes): row.rate for row in rows}
    for row in rows:
        key = (*part, "throughput", row.kind, row.streams, row.message_bytes)
        name = f"{streams_title(row.streams, row.message_bytes)}: {kind_title(row.kind)}"
        ratios = {
            "plain": row.ratio_to_plain,
            "system_policy": row.ratio_to_policy,
            "tls128": row.ratio_to_tls,
        }
        bases = {
            kind: (ratio, figures.get((kind, row.streams, row.message_bytes)))
            for kind, ratio in ((with_alike(base, row.kind), ratio) for base, ratio in ratios.items())
        }
        yield from _rates(key, name, "Gbit/s", row.rate, bases, baseline=row.kind not in SECURED_KINDS)


def _latency(rows: Sequence[LatencyRow], *part: str) -> Iterator[tuple[Key, Measure]]:
    own = {(row.kind, row.connections, row.message_bytes): row for row in rows}
    for row in own.values():
        key = (*part, "latency", row.kind, row.connections, row.message_bytes)
        name = f"requests, {connections_title(row.connections, row.message_bytes)}: {kind_title(row.kind)}"
        plain = own.get(("plain", row.connections, row.message_bytes))
        baseline = row.kind not in SECURED_KINDS
        if row.per_second:
            bases = {"plain": (row.ratio_to_plain, plain.per_second if plain else None)}
            yield from _rates(key, name, "/s", row.per_second, bases, baseline=baseline)
        p99 = row.latency.percentiles.get("p99")
        base = plain.latency.percentiles.get("p99") if plain else None
        if p99 is not None and base and not baseline:
            # One percentile of all requests: nothing tells how far it would be another one next time.
            measure = _ratio(f"{name} / plain, p99", p99 / base, None, None, more_is_better=False)
            yield (*key, "p99"), measure


def _datagrams(rows: Sequence[DatagramRow], *part: str) -> Iterator[tuple[Key, Measure]]:
    figures = {(row.kind, row.message_bytes): row.per_second for row in rows}
    for row in rows:
        key = (*part, "datagrams", row.kind, row.message_bytes)
        size = message_title(row.message_bytes)
        name = ", ".join(part for part in ("datagrams", size) if part) + f": {kind_title(row.kind)}"
        bases = {"plain": (row.ratio_to_plain, figures.get(("plain", row.message_bytes)))}
        yield from _rates(key, name, "/s", row.per_second, bases, baseline=row.kind not in SECURED_KINDS)


def _device(results: Results) -> Iterator[tuple[Key, Measure]]:
    # Streams and the like have the same names in the lab.
    for key, measure in _of_device(results.device):
        yield key, replace(measure, name=f"devices, {measure.name}")


def _of_device(device: Device) -> Iterator[tuple[Key, Measure]]:
    yield from _throughput(device.throughput, "device")
    yield from _latency(device.latency, "device")
    yield from _datagrams(device.datagrams, "device")
    figures = {(row.what, row.family, row.kind): row.us for row in device.setup}
    for row in device.setup:
        key = ("device", "setup", row.what, row.family, row.kind)
        name = f"{set_up_what(row.what, row.family)}: {kind_title(row.kind)}"
        if row.ratio_to_policy is None:
            yield key, _figure(f"{name}, µs", row.us, more_is_better=False, baseline=row.kind != "device")
        else:
            base = figures.get((row.what, row.family, "policy"))
            yield key, _ratio(f"{name} / policies", row.ratio_to_policy, row.us, base, more_is_better=False)
    for each in device.memory:
        name = f"memory of the engine for one of {each.count:,} {each.what}s, bytes"
        # Grown once, and by whole pages: nothing tells how far it would be another number next time.
        yield ("device", "memory", each.what), Measure(name, each.bytes, None, 1, more_is_better=False)


def _traffic(results: Results) -> Iterator[tuple[Key, Measure]]:
    yield from _throughput(results.throughput)
    yield from _latency(results.latency)
    yield from _datagrams(results.datagrams)


def _loopback(results: Results) -> Iterator[tuple[Key, Measure]]:
    figures = {(row.kind, row.streams, row.message_bytes): row.rate for row in results.loopback}
    for row in results.loopback:
        key = ("loopback", row.kind, row.streams, row.message_bytes)
        name = f"loopback, {streams_title(row.streams, row.message_bytes)}: {kind_title(row.kind)}"
        bases = {"iperf3": (row.ratio_to_iperf3, figures.get(("iperf3", *key[2:])))}
        yield from _rates(key, name, "Gbit/s", row.rate, bases, baseline=row.kind == "iperf3")


def measures(results: Results) -> dict[Key, Measure]:
    """Return all that can be compared."""
    parts = (_setup, _memory, _connect, _traffic, _loopback, _device)
    return {key: measure for part in parts for key, measure in part(results)}
