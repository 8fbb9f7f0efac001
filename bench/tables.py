"""The results as tables, for whatever is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .reading import DatagramRow, Figure, LatencyRow, Results, SetupRow, Target, ThroughputRow
from .wording import (
    AES_SHORT,
    DEVICE_READING,
    MADE,
    MIDDLE,
    SIGNS,
    UNSTABLE,
    aes_warning,
    base_title,
    connections_title,
    group_title,
    kind_title,
    message_title,
    number,
    set_up_what,
    setup_title,
    streams_title,
)

__all__ = [
    "Cell",
    "Table",
    "connect_tables",
    "device_tables",
    "key_tables",
    "loopback_tables",
    "memory_tables",
    "setup_tables",
    "target_table",
    "traffic_tables",
]

NOTHING: Final = "\N{EN DASH}"
_TO: Final = "\N{EN DASH}"
_TLS_SIGN: Final = " †"


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a place, and whether it is "good", "bad" or "warn"."""

    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column names the row.

    Attributes:
        title: above it.
        columns: their names.
        rows: each with as many cells as there are columns, or one only: a heading.
        notes: below it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = field(default=())


def _figure(figure: Figure | None) -> Cell:
    if figure is None:
        return Cell(NOTHING)
    spread = f" ({number(figure.low)}{_TO}{number(figure.high)})" if figure.count != 1 else ""
    return Cell(
        f"{number(figure.median)}{spread}{' *' if figure.unstable else ''}", "warn" if figure.unstable else ""
    )


def _range(figure: Figure) -> Cell:
    return Cell(f"{number(figure.minimum)}{_TO}{number(figure.maximum)}")


def _number(value: float | None) -> Cell:
    return Cell(NOTHING if value is None else number(value))


def _notes(figures: Sequence[Figure | None], *others: str) -> list[str]:
    unstable = UNSTABLE if any(figure and figure.unstable for figure in figures) else ""
    return [note for note in (MIDDLE if figures else "", unstable, *others) if note]


def _has_tls(name: str) -> bool:
    return "tls" in name.lower()


def _state(target: Target) -> Cell:
    if target.value is None:
        return Cell("not measured", "warn")
    words = SIGNS[target.met]
    if target.met is False and target.cases > 1:
        words = f"met in {target.cases_met} of {target.cases} cases"
    words = ("✓ " if target.met else "✗ " if target.met is False else "") + words
    tone = "good" if target.met else "bad" if target.met is False else "warn"
    return Cell(
        f"{words}, unstable" if target.unstable else words, "warn" if target.unstable and target.met else tone
    )


def _worst(target: Target) -> Cell:
    if target.worst is None or target.cases < 2:
        return Cell(NOTHING)
    return Cell(f"{number(target.worst)}: {target.worst_case}")


def _is_warned_of(target: Target) -> bool:
    """Whether it compares with TLS in the guest; devices are measured on this kernel."""
    return _has_tls(target.name) and not target.name.startswith("device")


def target_table(results: Results) -> Table | None:
    """Return the targets, and which are met; None where the results have none."""
    if not results.targets:
        return None
    warning = aes_warning(results)
    rows = []
    for target in results.targets:
        tls = bool(warning) and _is_warned_of(target)
        sense = {"<=": "≤", ">=": "≥"}.get(target.sense, target.sense)
        rows.append(
            [
                Cell(target.name + (_TLS_SIGN if tls else "")),
                _number(target.value),
                Cell(f"{sense} {target.target:g}" if target.target is not None else NOTHING),
                _state(target),
                _worst(target),
            ]
        )
    tls_named = any(map(_is_warned_of, results.targets))
    notes = [f"† {warning}"] if warning and tls_named else []
    if any(target.unstable for target in results.targets):
        notes.append("Unstable: in a case at least, the samples spread too far to rely on their median.")
    if any(target.cases > 1 for target in results.targets):
        notes.append(
            "A case is a size and a kind of sockets, or a number of connections or streams. The value is the "
            "median over all; the target is met where the median of every case meets it."
        )
    return Table("", ("measure, same run", "value", "target", "", "worst case"), rows, notes)


def _bases(rows: Sequence[SetupRow]) -> list[tuple[str, str]]:
    """Return keys and titles of what the rows have ratios to."""
    return [(base, base_title(base)) for base in dict.fromkeys(base for row in rows for base in row.ratio)]


def _setup_cells(row: SetupRow, bases: Sequence[tuple[str, str]]) -> list[Cell]:
    return [
        Cell(row.title),
        _figure(row.us),
        _range(row.us),
        Cell(NOTHING if row.per_second is None else f"{row.per_second:,.0f}"),
        *(_number(row.ratio.get(base)) for base, _ in bases),
        Cell(str(row.us.count) if row.us.count else NOTHING),
    ]


def setup_tables(results: Results) -> Iterator[Table]:
    """Return the cost of set-up, a table for each kind and number of sockets."""
    for family, type_ in dict.fromkeys((row.family, row.type) for row in results.setup):
        kind = [row for row in results.setup if (row.family, row.type) == (family, type_)]
        for sockets in dict.fromkeys(row.sockets for row in kind):
            own = [row for row in kind if row.sockets == sockets]
            bases = _bases(own)
            rows: list[list[Cell]] = []
            groups = list(dict.fromkeys(row.group for row in own))
            for group in groups:
                if group:
                    rows.append([Cell(group_title(group))])
                rows += [_setup_cells(row, bases) for row in own if row.group == group]
            columns = [
                "method",
                "µs a socket",
                f"min{_TO}max",
                "sockets/s",
                *(f"of {title}" for _, title in bases),
                "runs",
            ]
            ratios = "Ratios are of times: below 1 is faster." if bases else ""
            notes = _notes([row.us for row in own], ratios)
            yield Table(f"{sockets:,} sockets, {setup_title(family, type_)}", columns, rows, notes)


def memory_tables(results: Results) -> Iterator[Table]:
    """Return what sockets take of memory."""
    if results.memory:
        rows = [
            [Cell(row.what), _figure(row.figure) if row.figure else _number(row.bytes), Cell(row.note)]
            for row in results.memory
        ]
        sampled = [row.figure for row in results.memory if row.figure]
        yield Table("Memory", ("what", "bytes", ""), rows, _notes(sampled))


def connect_tables(results: Results) -> Iterator[Table]:
    """Return rates of connections, and how long single ones took."""
    warning = aes_warning(results)
    sign = _TLS_SIGN if warning else ""
    sides = {"connect": "Connecting", "accept": "Accepting"}
    for side in dict.fromkeys(row.side for row in results.connect):
        own = [row for row in results.connect if row.side == side]
        percentiles = _percentiles(own)
        rows = []
        for row in own:
            latency = row.latency.percentiles if row.latency else {}
            rows.append(
                [
                    Cell(kind_title(row.kind)),
                    Cell(f"{row.connections:,}"),
                    _figure(row.per_second),
                    _number(row.ratio_to_plain),
                    _number(row.ratio_to_tls),
                    *(_number(latency.get(name)) for name in percentiles),
                ]
            )
        columns = ["", "connections", "connections/s", "of plain", f"of TLS{sign}", *percentiles.values()]
        tls = any(row.ratio_to_tls is not None for row in own)
        notes = _notes([row.per_second for row in own], AES_SHORT if warning and tls else "")
        yield Table(sides.get(side, side or "Connections"), columns, rows, notes)


_PERCENTILES: Final = {
    "p50": "p50, µs",
    "p90": "p90, µs",
    "p99": "p99, µs",
    "p99_9": "p99.9, µs",
    "max": "max, µs",
}


def _percentiles(rows: Sequence[object]) -> dict[str, str]:
    """Return the percentiles that any of the rows has, and their titles."""
    latencies = [latency for row in rows if (latency := getattr(row, "latency", None)) is not None]
    return {
        k: title
        for k, title in _PERCENTILES.items()
        if any(k in latency.percentiles for latency in latencies)
    }


def _present(columns: Mapping[str, Sequence[Cell]]) -> dict[str, Sequence[Cell]]:
    """Leave out columns in which nothing stands."""
    return {name: cells for name, cells in columns.items() if any(cell.text != NOTHING for cell in cells)}


def _throughput(found: Sequence[ThroughputRow], warning: str = "") -> Iterator[Table]:
    if not found:
        return
    sign = _TLS_SIGN if warning else ""
    columns = {
        "Gbit/s": [_figure(row.rate) for row in found],
        f"min{_TO}max": [_range(row.rate) for row in found],
        "of plain": [_number(row.ratio_to_plain) for row in found],
        **_present(
            {
                "of one policy": [_number(row.ratio_to_policy) for row in found],
                f"of TLS{sign}": [_number(row.ratio_to_tls) for row in found],
                "CPU s/GB, processes": [_figure(row.cpu) for row in found],
                "machine": [_figure(row.machine_cpu) for row in found],
            }
        ),
        "runs": [Cell(str(row.rate.count) if row.rate.count else NOTHING) for row in found],
    }
    rows: list[list[Cell]] = []
    for message, streams in dict.fromkeys((row.message_bytes, row.streams) for row in found):
        rows.append([Cell(streams_title(streams, message))])
        rows += [
            [Cell(kind_title(row.kind)), *(cells[place] for cells in columns.values())]
            for place, row in enumerate(found)
            if (row.message_bytes, row.streams) == (message, streams)
        ]
    tls = any(row.ratio_to_tls is not None for row in found)
    figures = [figure for row in found for figure in (row.rate, row.cpu, row.machine_cpu)]
    notes = _notes(figures, AES_SHORT if warning and tls else "")
    yield Table("Throughput", ("", *columns), rows, notes)


def _proven_title(row: ThroughputRow) -> str:
    title = streams_title(row.streams, row.message_bytes)
    return title if row.kind == "secured" else f"{title}: {kind_title(row.kind)}"


def _proof(found: Sequence[ThroughputRow]) -> Iterator[Table]:
    proven = [row for row in found if row.proof]
    if not proven:
        return

    def seen(name: str, proof: dict[str, float], write: Callable[[float], str]) -> Cell:
        return Cell(write(proof[name]) if name in proof else NOTHING)

    rows = []
    for row in proven:
        proof = dict(row.proof or {})
        clear = proof.get("clear")
        rows.append(
            [
                Cell(_proven_title(row)),
                seen("esp", proof, lambda n: f"{n:,.0f}"),
                Cell(
                    NOTHING if clear is None else f"{clear:,.0f}",
                    "" if clear is None else "bad" if clear else "good",
                ),
                seen("dropped", proof, lambda n: f"{n:,.0f}"),
                seen("payload_bytes", proof, lambda n: number(n / 1e6)),
                seen("sa_bytes", proof, lambda n: number(n / 1e6)),
            ]
        )
    columns = (
        "secured",
        "ESP frames",
        "clear packets",
        "not looked at",
        "payload, MB",
        "through the SAs, MB",
    )
    yield Table("What passed the wire while the sockets were secured", columns, rows)


def _requests(answered: Sequence[LatencyRow]) -> Iterator[Table]:
    if not answered:
        return
    percentiles = _percentiles(answered)
    rows: list[list[Cell]] = []
    for connections, size in dict.fromkeys((row.connections, row.message_bytes) for row in answered):
        rows.append([Cell(connections_title(connections, size))])
        for row in answered:
            if (row.connections, row.message_bytes) == (connections, size):
                found = row.latency.percentiles
                rows.append(
                    [
                        Cell(kind_title(row.kind)),
                        _figure(row.per_second),
                        _number(row.ratio_to_plain),
                        *(_number(found.get(name)) for name in percentiles),
                    ]
                )
    columns = ("", "requests/s", "of plain", *percentiles.values())
    notes = _notes([row.per_second for row in answered])
    yield Table("Requests and their answers", columns, rows, notes)


def _datagrams(found: Sequence[DatagramRow]) -> Iterator[Table]:
    if not found:
        return
    rows = [
        [
            Cell(kind_title(row.kind)),
            Cell(message_title(row.message_bytes) or NOTHING),
            _figure(row.per_second),
            _number(row.ratio_to_plain),
            Cell(NOTHING if row.loss is None else f"{row.loss * 100:.2g} %"),
        ]
        for row in found
    ]
    notes = _notes([row.per_second for row in found])
    yield Table("Datagrams", ("", "size", "received/s", "of plain", "lost"), rows, notes)


def loopback_tables(results: Results) -> Iterator[Table]:
    """Return what the engine itself can do; on another kernel than the other traffic, perhaps."""
    if results.loopback:
        rows = [
            [
                Cell(kind_title(row.kind)),
                Cell(f"{row.streams:,}"),
                Cell(message_title(row.message_bytes) or NOTHING),
                _figure(row.rate),
                _number(row.ratio_to_iperf3),
            ]
            for row in results.loopback
        ]
        columns = ("", "streams", "messages", "Gbit/s", "of iperf3")
        notes = _notes(
            [row.rate for row in results.loopback],
            "Measured on this kernel itself, also where all other traffic is in a guest: whether what "
            "drives the traffic is itself the bottleneck.",
        )
        yield Table("Plain traffic on this kernel's loopback device", columns, rows, notes)


def key_tables(results: Results) -> Iterator[Table]:
    """Return what it costs that keys are negotiated."""
    if results.keys:
        rows = [
            [
                Cell(row.what),
                Cell(row.unit),
                _figure(row.secured),
                _figure(row.plain),
                _number(row.ratio_to_plain),
                Cell(str(row.secured.count)),
            ]
            for row in results.keys
        ]
        columns = ("", "unit", "secured", "plain", "of plain", "runs")
        notes = _notes(
            [figure for row in results.keys for figure in (row.secured, row.plain)],
            "A first connection waits for the negotiation; in a guest, whose system calls are slow.",
        )
        yield Table("Connections whose keys are negotiated", columns, rows, notes)


def traffic_tables(results: Results) -> Iterator[Table]:
    """Return throughput, its proof, latency and datagrams."""
    yield from _throughput(results.throughput, aes_warning(results))
    yield from _proof(results.throughput)
    yield from _requests(results.latency)
    yield from _datagrams(results.datagrams)


def device_tables(results: Results) -> Iterator[Table]:
    """Return what was measured of secure devices: as for other traffic, set-up, and memory."""
    device = results.device
    for table in (
        *_throughput(device.throughput),
        *_proof(device.throughput),
        *_requests(device.latency),
        *_datagrams(device.datagrams),
    ):
        yield replace(table, title=f"Device: {table.title}")
    if device.setup:
        rows = [
            [
                Cell(set_up_what(row.what, row.family)),
                Cell(kind_title(row.kind)),
                Cell(f"{row.sockets:,}"),
                _figure(row.us),
                _number(row.ratio_to_policy),
            ]
            for row in device.setup
        ]
        columns = ("", "carrier", "sockets", "µs a socket", "of policies")
        made = MADE if any(row.what == "batch" for row in device.setup) else ""
        yield Table("Device: set-up", columns, rows, _notes([row.us for row in device.setup], made))
    if device.memory:
        rows = [
            [
                Cell(f"one of {row.count:,} {row.what}s"),
                Cell(f"{row.bytes:,.0f}"),
                Cell(NOTHING if row.resident is None else number(row.resident / 1e6)),
            ]
            for row in device.memory
        ]
        yield Table("Device: memory of the engine", ("", "bytes", "engine before, MB"), rows)
    if device.throughput:
        engines = [[Cell(kind_title(kind)), Cell(name)] for kind, name in device.crypto.items()]
        absent = [[Cell(kind_title(kind)), Cell(reason)] for kind, reason in device.absent.items()]
        yield Table("Device: what took part", ("", ""), engines + absent, [DEVICE_READING])
