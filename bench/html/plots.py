"""The plots of a run: which figures go into which."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ..reading import Latency, Results, SetupRow, ThroughputRow
from ..wording import (
    aes_warning,
    connections_title,
    group_title,
    kind_title,
    message_title,
    number,
    setup_title,
    streams_title,
)
from .dotplot import Row, dotplot
from .drawing import Point, Series
from .lineplot import lineplot
from .markup import Element
from .scale import Linear, Logarithmic, Steps, Tail, fitting

__all__ = ["device_plots", "latency_plots", "ratio_plots", "setup_plots", "throughput_plots"]

# The same kind looks the same in all plots.
_STYLES: Final = {
    "secured": 0,
    "plain": 1,
    "tls128": 2,
    "tls": 2,
    "tls256": 3,
    "system_policy": 4,
    "iperf3": 5,
    # Never in one plot with those that look the same.
    "device": 0,
    "device_cubic": 4,
    "tls256_c": 2,
    "wireguard": 5,
    "libipsec": 6,
}
_OTHER: Final = 6
_AFTER: Final = frozenset({"query", "teardown"})
_FEWEST_NINES: Final = 2.0
_MOST_NINES: Final = 6.0
_STEP: Final = 0.004


def _spread(median: float, low: float, high: float, unit: str) -> str:
    return f"{number(median)} {unit}, middle half {number(low)} to {number(high)}"


def _setup_point(row: SetupRow) -> Point:
    us = row.us
    tip = f"{row.title}, {row.sockets:,} sockets: {_spread(us.median, us.low, us.high, 'µs')}"
    return Point(0.0, us.median, us.low, us.high, tip)


def _setup_rows(own: Sequence[SetupRow], sizes: Sequence[int]) -> Iterator[Row]:
    for group in dict.fromkeys(row.group for row in own):
        if group:
            yield Row(group_title(group), heading=True)
        for method in dict.fromkeys(row.method for row in own if row.group == group):
            found = sorted(
                (row for row in own if (row.group, row.method) == (group, method)),
                key=lambda row: row.sockets,
            )
            points = tuple((sizes.index(row.sockets), _setup_point(row)) for row in found)
            last = found[-1]
            yield Row(last.title, points, strong=not last.baseline, value=number(last.us.median))


def setup_plots(results: Results, *, width: float = 320.0) -> Iterator[Element]:
    """Draw the cost of set-up by method and number of sockets, a plot for each kind of socket."""
    setup = [row for row in results.setup if row.group not in _AFTER]
    after = [row for row in results.setup if row.group in _AFTER]
    yield from _setup_plots("setup", "Cost of set-up", setup, width)
    # What is so much quicker would have no room on the same axis.
    yield from _setup_plots("after", "Cost of asking and closing", after, width)


def _setup_plots(name: str, title: str, found: Sequence[SetupRow], width: float) -> Iterator[Element]:
    scale = fitting([value for row in found for value in (row.us.median, row.us.high, row.us.low)], wide=60)
    # The same number looks the same in all plots.
    every = sorted({row.sockets for row in found})
    for i, kind in enumerate(dict.fromkeys((row.family, row.type) for row in found)):
        own = [row for row in found if (row.family, row.type) == kind]
        sizes = sorted({row.sockets for row in own})
        series = [Series(f"{size:,} sockets", every.index(size), ()) for size in sizes]
        rows = list(_setup_rows(own, sizes))
        floor = [row for row in own if row.method == "floor"]
        reference = max(floor, key=lambda row: row.sockets, default=None)
        shown = "; ".join(f"{row.name}: {row.value}" for row in rows if not row.heading)
        yield dotplot(
            f"{name}-{i}",
            f"{title}: {setup_title(*kind)}",
            f"Microseconds a socket, less is better, with the most sockets: {shown}.",
            "µs a socket, less is better; bars: middle half of the samples",
            series,
            rows,
            scale,
            width=width,
            reference=(reference.us.median, reference.title) if reference else None,
        )


def _kinds(kinds: Iterable[str]) -> list[str]:
    """Return the kinds once each: known ones first, in one order everywhere."""
    order = list(_STYLES)
    return sorted(set(kinds), key=lambda kind: (order.index(kind) if kind in order else len(order), kind))


def _series(kind: str, points: Sequence[Point], line: Sequence[tuple[float, float]] = ()) -> Series:
    return Series(kind_title(kind), _STYLES.get(kind, _OTHER), tuple(points), tuple(line))


def _rate_point(row: ThroughputRow) -> Point:
    rate = row.rate
    spread = _spread(rate.median, rate.low, rate.high, "Gbit/s")
    tip = f"{kind_title(row.kind)}, {row.streams:,} streams: {spread}"
    return Point(float(row.streams), rate.median, rate.low, rate.high, tip)


def throughput_plots(results: Results, *, width: float = 320.0) -> Iterator[Element]:
    """Draw throughput by streams and kind, a plot for each size of messages."""
    yield from _throughput_plots("throughput", "Throughput", results.throughput, width)


def device_plots(results: Results, *, width: float = 320.0) -> Iterator[Element]:
    """Draw the throughput of secure devices, and what it is compared with: of TLS, that with AES-256.

    Of more no plot can tell the marks apart.
    """
    left_out = {"device_openssl", "tls128", "tls128_c", "plain_cubic", "tls128_cubic", "tls256_cubic"}
    rows = [row for row in results.device.throughput if row.kind not in left_out]
    yield from _throughput_plots("device", "Throughput of secure devices", rows, width)


def _throughput_plots(
    key: str, title: str, found: Sequence[ThroughputRow], width: float
) -> Iterator[Element]:
    for i, message in enumerate(dict.fromkeys(row.message_bytes for row in found)):
        own = [row for row in found if row.message_bytes == message]
        up = fitting([value for row in own for value in (row.rate.median, row.rate.low, row.rate.high)])
        series = []
        for kind in _kinds(row.kind for row in own):
            # Of two rows for the same, the later one.
            rows = {row.streams: row for row in own if row.kind == kind}
            series.append(_series(kind, [_rate_point(rows[streams]) for streams in sorted(rows)]))
        described = "; ".join(
            f"{one.name}: " + ", ".join(f"{number(p.value)} at {p.x:,.0f}" for p in one.points)
            for one in series
        )
        yield lineplot(
            f"{key}-{i}",
            f"{title} by streams" + (f", messages of {message_title(message)}" if message else ""),
            f"Gbit/s of payload by number of streams, more is better. {described}.",
            ("streams", "Gbit/s of payload, more is better"),
            series,
            (Steps(tuple(sorted({float(row.streams) for row in own}))), up),
            width=width,
        )


def _distribution(latency: Latency, across: Tail) -> list[tuple[float, float]]:
    """Return (part of all, microseconds): each part was not slower than that."""
    total = sum(count for _, count in latency.buckets)
    line: list[tuple[float, float]] = []
    below = 0
    for upper, count in latency.buckets:
        below += count
        # The slowest are drawn where there is one left.
        part = min(below / total, 1 - 1 / max(total, 2))
        if not line:
            line.append((0.0, upper))
        if across.place(part) - across.place(line[-1][0]) >= _STEP or below == total:
            line.append((part, upper))
    return line


def _marks(kind: str, latency: Latency, across: Tail) -> list[Point]:
    points = []
    for name, part in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999)):
        value = latency.percentiles.get(name)
        if value is not None and -math.log10(1 - part) <= across.nines + 1e-9:
            tip = f"{kind_title(kind)}, {part * 100:g} % within {number(value)} µs"
            points.append(Point(part, value, value, value, tip))
    return points


def _latency_plot(
    name: str, title: str, found: Sequence[tuple[str, Latency]], thing: str, width: float
) -> Element:
    most = max((latency.count for _, latency in found), default=0)
    across = Tail(min(max(math.log10(max(most, 1)), _FEWEST_NINES), _MOST_NINES))
    series = []
    # Of two distributions of the same kind, the later one.
    by_kind = dict(found)
    for kind in _kinds(by_kind):
        latency = by_kind[kind]
        points = _marks(kind, latency, across)
        line = _distribution(latency, across) if latency.buckets else [(p.x, p.value) for p in points]
        series.append(_series(kind, points, line))
    up = fitting([y for one in series for _, y in [*one.line, *((p.x, p.value) for p in one.points)]])
    described = "; ".join(p.tip for one in series for p in one.points)
    return lineplot(
        name,
        title,
        f"Microseconds within which a part of the {thing} was done, less is better. {described}.",
        (f"part of the {thing}, %", "within µs, less is better"),
        series,
        (across, up),
        width=width,
    )


def latency_plots(results: Results, *, width: float = 320.0) -> Iterator[Element]:
    """Draw the distributions of what connections and requests took."""
    for i, count in enumerate(dict.fromkeys(row.connections for row in results.connect if row.latency)):
        found = [
            (row.kind, row.latency)
            for row in results.connect
            if row.latency and row.connections == count and row.side != "accept"
        ]
        if found:
            yield _latency_plot(
                f"connect-latency-{i}",
                f"Latency of connecting, {count:,} connections",
                found,
                "connections",
                width,
            )
    own = dict.fromkeys((row.connections, row.message_bytes) for row in results.latency)
    for i, (count, size) in enumerate(own):
        requests = [
            (row.kind, row.latency)
            for row in results.latency
            if (row.connections, row.message_bytes) == (count, size)
        ]
        title = f"Latency of requests, {connections_title(count, size)}"
        yield _latency_plot(f"latency-{i}", title, requests, "requests", width)


_TO_PLAIN, _TO_TLS, _TO_ONE_POLICY = 0, 1, 2


def _ratio_rows(results: Results) -> Iterator[Row]:
    def row(name: str, plain: float | None, tls: float | None, one_policy: float | None = None) -> Row | None:
        points = [
            (series, Point(0.0, ratio, ratio, ratio, f"{name}, to {other}: {number(ratio)}"))
            for series, ratio, other in (
                (_TO_PLAIN, plain, "plain"),
                (_TO_TLS, tls, "TLS"),
                (_TO_ONE_POLICY, one_policy, "one policy for all"),
            )
            if ratio is not None and ratio > 0
        ]
        return Row(name, tuple(points), strong=True) if points else None

    def named(heading: str, rows: Iterable[Row | None]) -> Iterator[Row]:
        found = [row for row in rows if row]
        if found:
            yield Row(heading, heading=True)
            yield from found

    sides = {"connect": "connecting", "accept": "accepting"}
    yield from named(
        "connections a second",
        (
            row(f"{sides.get(r.side, r.side)}, {r.connections:,}", r.ratio_to_plain, r.ratio_to_tls)
            for r in results.connect
            if r.kind == "secured"
        ),
    )
    sizes = len({r.message_bytes for r in results.throughput})

    def throughput(r: ThroughputRow) -> Row | None:
        name = streams_title(r.streams, r.message_bytes if sizes > 1 else None)
        return row(name, r.ratio_to_plain, r.ratio_to_tls, r.ratio_to_policy)

    yield from named("throughput", (throughput(r) for r in results.throughput if r.kind == "secured"))


def ratio_plots(results: Results, *, width: float = 320.0) -> Iterator[Element]:
    """Draw what secured traffic comes to as a part of plain, of TLS, and of traffic under one policy."""
    rows = list(_ratio_rows(results))
    if not rows:
        return
    sign = " †" if aes_warning(results) else ""
    series = [
        Series("to plain", _STYLES["plain"], ()),
        Series(f"to TLS{sign}", _STYLES["tls"], ()),
        Series("to one policy for all", _STYLES["system_policy"], ()),
    ]
    present = {number for row in rows for number, _ in row.points}
    values = [point.value for row in rows for _, point in row.points]
    described = "; ".join(point.tip for row in rows for _, point in row.points)
    low, high = min(values), max(values)
    spans = high / low > 12 or high > 12
    shown = [one for i, one in enumerate(series) if i in present]
    numbers = {i: shown.index(one) for i, one in enumerate(series) if i in present}
    yield dotplot(
        "ratios",
        "Secured as a part of plain and of TLS",
        f"Ratios of rates, 1 is equally fast, more is better. {described}.",
        "ratio of rates: 1 is equally fast, more is better",
        shown,
        [
            Row(row.name, tuple((numbers[i], p) for i, p in row.points), row.strong, row.value, row.heading)
            for row in rows
        ],
        Logarithmic.over([*values, 1.0]) if spans else Linear.over([*values, 1.0]),
        width=width,
        reference=(1.0, "equally fast"),
        packed=True,
    )
