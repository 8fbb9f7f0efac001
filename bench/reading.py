"""A results file as typed rows, for the reports made from one.

A run may have measured one part only, and later versions may add to the format: what is missing is left out,
what is unknown ignored, and a row that cannot be read is counted, so that a report can say so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

__all__ = [
    "FORMAT",
    "CarrierRow",
    "ConnectRow",
    "DatagramRow",
    "Device",
    "EngineMemoryRow",
    "Figure",
    "FormatError",
    "KeyRow",
    "Latency",
    "LatencyRow",
    "LoopbackRow",
    "Machine",
    "MemoryRow",
    "Results",
    "SetupRow",
    "Target",
    "ThroughputRow",
    "load",
    "read",
]

FORMAT: Final = "wsasec-bench/2"
_Row = TypeVar("_Row")


class FormatError(ValueError):
    """What was given is not a results file, or one of another format."""


class _MissingError(Exception):
    """A row lacks a figure that it is nothing without."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Samples in short: median, quartiles, extremes, their number, and whether they spread over 10 %."""

    median: float
    low: float
    high: float
    minimum: float
    maximum: float
    count: int
    unstable: bool

    @property
    def spread(self) -> float:
        """The interquartile range as a part of the median; 0 for a median of 0."""
        return (self.high - self.low) / abs(self.median) if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution, in microseconds.

    Attributes:
        count: how many were measured.
        mean: of all.
        percentiles: by name, "p50" and so on to "p99_9", then "max".
        buckets: (upper bound, how many), ascending.
    """

    count: int
    mean: float | None
    percentiles: Mapping[str, float]
    buckets: tuple[tuple[float, int], ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """What something was measured on."""

    cpu: str
    architecture: str
    cores: int | None
    memory_kib: float | None
    governor: str
    congestion_control: str
    load: float | None
    stolen: float | None
    system: str
    kernel: str
    guest: bool
    aes_instructions: bool


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio or size, and what it should be: over all cases, and in the worst of them."""

    name: str
    value: float | None
    target: float | None
    sense: str
    met: bool | None
    unstable: bool
    worst: float | None
    worst_case: str
    cases: int
    cases_met: int


@dataclass(frozen=True, slots=True)
class SetupRow:
    """What a method needs to secure one of so many sockets, in microseconds.

    A baseline is what wsasec is compared with, and not wsasec.
    """

    sockets: int
    family: str
    type: str
    method: str
    title: str
    group: str
    us: Figure
    per_second: float | None
    ratio: Mapping[str, float]
    ratios: Mapping[str, tuple[float, ...]]
    baseline: bool


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """Bytes that something takes.

    Attributes:
        what: what does.
        bytes: how many; of samples, the median.
        note: what else is to be said.
        figure: the samples; None for what is counted and not sampled.
        baseline: whether this is what wsasec is compared with.
        derived: whether this is what two other rows differ by.
    """

    what: str
    bytes: float
    note: str
    figure: Figure | None
    baseline: bool
    derived: bool


@dataclass(frozen=True, slots=True)
class ConnectRow:
    """Connections made or accepted in a second."""

    kind: str
    side: str
    connections: int
    per_second: Figure
    ratio_to_plain: float | None
    ratio_to_tls: float | None
    latency: Latency | None


@dataclass(frozen=True, slots=True)
class ThroughputRow:
    """Gbit/s of payload over so many streams."""

    kind: str
    streams: int
    message_bytes: int | None
    rate: Figure
    ratio_to_plain: float | None
    ratio_to_tls: float | None
    ratio_to_policy: float | None
    proof: Mapping[str, float] | None
    cpu: Figure | None = None
    machine_cpu: Figure | None = None


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """Requests answered in a second, and how long each took."""

    kind: str
    connections: int
    message_bytes: int | None
    per_second: Figure | None
    ratio_to_plain: float | None
    latency: Latency


@dataclass(frozen=True, slots=True)
class DatagramRow:
    """Datagrams received in a second, and the part that was lost."""

    kind: str
    message_bytes: int | None
    per_second: Figure
    ratio_to_plain: float | None
    loss: float | None


@dataclass(frozen=True, slots=True)
class LoopbackRow:
    """Gbit/s on one host, by what drives the traffic elsewhere, or by iperf3."""

    kind: str
    streams: int
    message_bytes: int | None
    rate: Figure
    ratio_to_iperf3: float | None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What something takes where keys are negotiated, or how fast it is."""

    what: str
    unit: str
    secured: Figure
    plain: Figure | None
    ratio_to_plain: float | None


@dataclass(frozen=True, slots=True)
class CarrierRow:
    """What securing one of so many sockets takes, in microseconds, by a carrier."""

    what: str
    family: str
    kind: str
    sockets: int
    us: Figure
    ratio_to_policy: float | None


@dataclass(frozen=True, slots=True)
class EngineMemoryRow:
    """Bytes by which the engine grows for one of so many associations or flows; and what it had before."""

    what: str
    count: int
    bytes: float
    resident: float | None


@dataclass(frozen=True, slots=True)
class Device:
    """What was measured of secure devices."""

    machine: Machine | None = None
    mtu: int | None = None
    sa_algorithm: str = ""
    crypto: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    throughput: tuple[ThroughputRow, ...] = ()
    latency: tuple[LatencyRow, ...] = ()
    datagrams: tuple[DatagramRow, ...] = ()
    setup: tuple[CarrierRow, ...] = ()
    memory: tuple[EngineMemoryRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Results:
    """A run."""

    effort: str = ""
    started: str = ""
    finished: str = ""
    machine: Machine | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    leaks: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    setup: tuple[SetupRow, ...] = ()
    memory: tuple[MemoryRow, ...] = ()
    connect_machine: Machine | None = None
    connect: tuple[ConnectRow, ...] = ()
    traffic_machine: Machine | None = None
    traffic_kernel: str = ""
    mtu: int | None = None
    sa_algorithm: str = ""
    aes_driver: str = ""
    throughput: tuple[ThroughputRow, ...] = ()
    latency: tuple[LatencyRow, ...] = ()
    datagrams: tuple[DatagramRow, ...] = ()
    loopback: tuple[LoopbackRow, ...] = ()
    keys: tuple[KeyRow, ...] = ()
    device: Device = field(default_factory=Device)
    unreadable: int = 0


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else ()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    """Return a finite number, or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _count(value: object) -> int | None:
    number = _number(value)
    return None if number is None or number < 0 else int(number)


def _needed(value: object) -> float:
    number = _number(value)
    if number is None:
        raise _MissingError
    return number


def _needed_count(value: object) -> int:
    number = _count(value)
    if number is None:
        raise _MissingError
    return number


def _needed_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _MissingError
    return value


def _numbers(value: object) -> dict[str, float]:
    return {str(k): n for k, v in _map(value).items() if (n := _number(v)) is not None}


def _lines(value: object) -> tuple[str, ...]:
    return tuple(line for line in _items(value) if isinstance(line, str))


def _texts(value: object) -> dict[str, str]:
    return {str(k): v for k, v in _map(value).items() if isinstance(v, str)}


def _figure(value: object) -> Figure:
    row = _map(value)
    median = _needed(row.get("median"))

    def other(name: str, otherwise: float) -> float:
        number = _number(row.get(name))
        return otherwise if number is None else number

    low, high = other("low", median), other("high", median)
    return Figure(
        median,
        low,
        high,
        other("minimum", low),
        other("maximum", high),
        _count(row.get("count")) or 0,
        row.get("unstable") is True,
    )


def _optional_figure(value: object) -> Figure | None:
    return _figure(value) if value is not None else None


def _latency(value: object) -> Latency | None:
    row = _map(value)
    percentiles = {
        name: number
        for name in ("p50", "p90", "p99", "p99_9", "max")
        if (number := _number(row.get(name))) is not None
    }
    buckets = []
    for pair in _items(row.get("buckets")):
        upper, count = pair if isinstance(pair, list | tuple) and len(pair) == 2 else (None, None)
        bound, many = _number(upper), _count(count)
        if bound is not None and many:
            buckets.append((bound, many))
    if not percentiles and not buckets:
        return None
    return Latency(
        _count(row.get("count")) or sum(many for _, many in buckets),
        _number(row.get("mean")),
        percentiles,
        tuple(sorted(buckets)),
    )


def _needed_latency(value: object) -> Latency:
    latency = _latency(value)
    if latency is None:
        raise _MissingError
    return latency


def _machine(value: object) -> Machine | None:
    row = _map(value)
    if not row:
        return None
    load = next(iter(_items(row.get("load_average"))), None)
    return Machine(
        cpu=_text(row.get("cpu")),
        architecture=_text(row.get("architecture")),
        cores=_count(row.get("cores")),
        memory_kib=_number(row.get("memory_kib")),
        governor=_text(row.get("governor")),
        congestion_control=_text(row.get("congestion_control")),
        load=_number(load),
        stolen=_number(row.get("stolen")),
        system=_text(row.get("system")),
        kernel=_text(row.get("kernel")),
        guest=row.get("guest") is True,
        aes_instructions=row.get("aes_instructions") is True,
    )


def _target(row: Mapping[str, Any]) -> Target:
    met = row.get("met")
    return Target(
        _needed_text(row.get("name")),
        _number(row.get("value")),
        _number(row.get("target")),
        _text(row.get("sense")),
        met if isinstance(met, bool) else None,
        row.get("unstable") is True,
        _number(row.get("worst")),
        _text(row.get("worst_case")),
        _count(row.get("cases")) or 0,
        _count(row.get("cases_met")) or 0,
    )


def _setup(row: Mapping[str, Any]) -> SetupRow:
    method = _needed_text(row.get("method"))
    return SetupRow(
        sockets=_needed_count(row.get("sockets")),
        family=_text(row.get("family")) or "inet",
        type=_text(row.get("type")) or "stream",
        method=method,
        title=_text(row.get("title")) or method,
        group=_text(row.get("group")),
        us=_figure(row.get("us")),
        per_second=_number(row.get("sockets_per_second")),
        ratio=_numbers(row.get("ratio")),
        ratios={
            str(base): tuple(n for v in values if (n := _number(v)) is not None)
            for base, values in _map(row.get("ratios")).items()
            if isinstance(values, list)
        },
        baseline=row.get("baseline") is True,
    )


def _memory(row: Mapping[str, Any]) -> MemoryRow:
    figure = row.get("figure")
    return MemoryRow(
        _needed_text(row.get("what")),
        _needed(row.get("bytes")),
        _text(row.get("note")),
        _optional_figure(figure),
        row.get("baseline") is True,
        row.get("derived") is True,
    )


def _connect(row: Mapping[str, Any]) -> ConnectRow:
    return ConnectRow(
        _needed_text(row.get("kind")),
        _text(row.get("side")),
        _needed_count(row.get("connections")),
        _figure(row.get("per_second")),
        _number(row.get("ratio_to_plain")),
        _number(row.get("ratio_to_tls")),
        _latency(row.get("latency_us")),
    )


def _throughput(row: Mapping[str, Any]) -> ThroughputRow:
    return ThroughputRow(
        _needed_text(row.get("kind")),
        _needed_count(row.get("streams")),
        _count(row.get("message_bytes")),
        _figure(row.get("gbit_per_second")),
        _number(row.get("ratio_to_plain")),
        _number(row.get("ratio_to_tls")),
        _number(row.get("ratio_to_policy")),
        _numbers(row.get("proof")) or None,
        _optional_figure(row.get("cpu_per_gb")),
        _optional_figure(row.get("machine_cpu_per_gb")),
    )


def _requests(row: Mapping[str, Any]) -> LatencyRow:
    rate = row.get("per_second")
    return LatencyRow(
        _needed_text(row.get("kind")),
        _needed_count(row.get("connections")),
        _count(row.get("message_bytes")),
        _optional_figure(rate),
        _number(row.get("ratio_to_plain")),
        _needed_latency(row.get("latency_us")),
    )


def _datagrams(row: Mapping[str, Any]) -> DatagramRow:
    return DatagramRow(
        _needed_text(row.get("kind")),
        _count(row.get("message_bytes")),
        _figure(row.get("per_second")),
        _number(row.get("ratio_to_plain")),
        _number(row.get("loss")),
    )


def _loopback(row: Mapping[str, Any]) -> LoopbackRow:
    return LoopbackRow(
        _needed_text(row.get("kind")),
        _needed_count(row.get("streams")),
        _count(row.get("message_bytes")),
        _figure(row.get("gbit_per_second")),
        _number(row.get("ratio_to_iperf3")),
    )


def _keys(row: Mapping[str, Any]) -> KeyRow:
    plain = row.get("plain")
    return KeyRow(
        _needed_text(row.get("what")),
        _text(row.get("unit")),
        _figure(row.get("secured")),
        _optional_figure(plain),
        _number(row.get("ratio_to_plain")),
    )


def _carrier(row: Mapping[str, Any]) -> CarrierRow:
    return CarrierRow(
        _needed_text(row.get("what")),
        _text(row.get("family")) or "inet",
        _needed_text(row.get("kind")),
        _needed_count(row.get("sockets")),
        _figure(row.get("us")),
        _number(row.get("ratio_to_policy")),
    )


def _engine_memory(row: Mapping[str, Any]) -> EngineMemoryRow:
    return EngineMemoryRow(
        _needed_text(row.get("what")),
        _needed_count(row.get("count")),
        _needed(row.get("bytes")),
        _number(row.get("resident")),
    )


class _Reader:
    """Reads lists of rows, and counts those that cannot be read."""

    def __init__(self) -> None:
        self.unreadable = 0

    def rows(self, value: object, read_row: Callable[[Mapping[str, Any]], _Row]) -> tuple[_Row, ...]:
        found = []
        for row in _items(value):
            try:
                found.append(read_row(_map(row)))
            except _MissingError:
                self.unreadable += 1
        return tuple(found)


def _device(device: Mapping[str, Any], reader: _Reader) -> Device:
    return Device(
        machine=_machine(device.get("machine")),
        mtu=_count(device.get("mtu")),
        sa_algorithm=_text(device.get("sa_algorithm")),
        crypto=_texts(device.get("crypto")),
        absent=_texts(device.get("absent")),
        throughput=reader.rows(device.get("throughput"), _throughput),
        latency=reader.rows(device.get("latency"), _requests),
        datagrams=reader.rows(device.get("datagrams"), _datagrams),
        setup=reader.rows(device.get("setup"), _carrier),
        memory=reader.rows(device.get("memory"), _engine_memory),
    )


def read(results: Mapping[str, Any]) -> Results:
    """Turn results into rows.

    Raises:
        FormatError: they are of another format.
    """
    if not isinstance(results, Mapping) or results.get("format") != FORMAT:
        found = results.get("format") if isinstance(results, Mapping) else None
        raise FormatError(f"the format is {found!r}, not {FORMAT!r}: measure again with this version")
    reader = _Reader()
    setup, connect, traffic = (_map(results.get(part)) for part in ("setup", "connect", "traffic"))
    loopback = _map(results.get("loopback"))
    return Results(
        effort=_text(results.get("effort")),
        started=_text(results.get("started")),
        finished=_text(results.get("finished")),
        machine=_machine(results.get("machine")),
        versions=_texts(results.get("versions")),
        notes=_lines(results.get("notes")),
        errors=_texts(results.get("errors")),
        leaks=_lines(results.get("leaks")),
        targets=reader.rows(results.get("targets"), _target),
        setup=reader.rows(setup.get("summary"), _setup),
        memory=reader.rows(setup.get("memory"), _memory),
        connect_machine=_machine(connect.get("machine")),
        connect=reader.rows(connect.get("summary"), _connect),
        traffic_machine=_machine(traffic.get("machine")),
        traffic_kernel=_text(traffic.get("kernel")),
        mtu=_count(traffic.get("mtu")),
        sa_algorithm=_text(traffic.get("sa_algorithm")),
        aes_driver=_text(traffic.get("aes_driver")),
        throughput=reader.rows(traffic.get("throughput"), _throughput),
        latency=reader.rows(traffic.get("latency"), _requests),
        datagrams=reader.rows(traffic.get("datagrams"), _datagrams),
        loopback=reader.rows(loopback.get("summary"), _loopback),
        keys=reader.rows(_map(results.get("keys")).get("summary"), _keys),
        device=_device(_map(results.get("device")), reader),
        unreadable=reader.unreadable,
    )


def load(file: Path) -> dict[str, Any]:
    """Return a results file as it is.

    Raises:
        OSError: it cannot be read.
        FormatError: it is not JSON, or of another format.
    """
    try:
        results = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{file} is not a results file: {error}") from error
    try:
        read(results)
    except FormatError as error:
        raise FormatError(f"{file}: {error}") from error
    return dict(results)
