"""How much is measured, and how often: in two or three minutes, or in ten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .events import emit
from .kinds import CUBIC
from .setup_cost import Cell

__all__ = [
    "FULL",
    "QUICK",
    "RESULT_NAME",
    "ConnectPlan",
    "DevicePlan",
    "Effort",
    "KeyPlan",
    "LoopbackPlan",
    "Requests",
    "Throughput",
    "TrafficPlan",
    "connect_plan",
    "device_plan",
    "key_plan",
    "traffic_plan",
]

RESULT_NAME: Final = "wire.json"
"""The file in which the process on the wire leaves its results."""


def _within(wanted: Iterable[int], room: int) -> tuple[int, ...]:
    sizes = dict.fromkeys(wanted)
    for size in sizes:
        if size > room:
            emit("note", text=f"{size:,} connections are left out: there is room for {room:,}")
    return tuple(size for size in sizes if size <= room)


@dataclass(frozen=True, slots=True)
class ConnectPlan:
    """Connections that are made and accepted.

    Attributes:
        connections: numbers of them.
        tls_connections: one of them, as many by TLS, whose handshakes take far longer.
        repeats: how often each is measured.
    """

    connections: tuple[int, ...]
    tls_connections: int
    repeats: int

    def within(self, room: int) -> ConnectPlan:
        """Leave out what needs more connections than there is room for, and say so."""
        return replace(self, connections=_within(self.connections, room))


@dataclass(frozen=True, slots=True)
class Throughput:
    """Streams that send as much as goes through.

    Attributes:
        streams: how many.
        message_bytes: what is handed to the kernel at a time.
        kinds: of traffic.
        repeats: how often each is measured.
    """

    streams: int
    message_bytes: int
    kinds: tuple[str, ...]
    repeats: int


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """What is sent between two hosts.

    Attributes:
        warm: seconds of traffic before the clock starts.
        seconds: of traffic that are measured.
        throughput: streams.
        connections: numbers of connections that carry requests.
        request_bytes: size of requests and answers.
        datagram_bytes: size of datagrams.
        repeats: of requests and datagrams.
    """

    warm: float
    seconds: float
    throughput: tuple[Throughput, ...]
    connections: tuple[int, ...]
    request_bytes: int
    datagram_bytes: int
    repeats: int

    def within(self, room: int) -> TrafficPlan:
        """Leave out what needs more connections than there is room for, and say so."""
        streams = _within((case.streams for case in self.throughput), room)
        return replace(
            self,
            throughput=tuple(case for case in self.throughput if case.streams in streams),
            connections=_within(self.connections, room),
        )


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """Connections whose keys are negotiated.

    Attributes:
        connections: how many are made at a time.
        peers: to how many peers, and to one.
        streams: that send while their keys are renewed.
        seconds: for how long.
        repeats: how often each is measured.
    """

    connections: int
    peers: int
    streams: int
    seconds: float
    repeats: int


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests over so many connections.

    Attributes:
        connections: how many.
        kinds: of traffic.
        repeats: how often each is measured.
    """

    connections: int
    kinds: tuple[str, ...]
    repeats: int


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """What is sent through secure devices, and what else they take.

    Attributes:
        warm: seconds of traffic before the clock starts.
        seconds: of traffic that are measured.
        throughput: streams.
        requests: and their answers.
        request_bytes: size of both.
        datagram_bytes: size of datagrams.
        datagram_kinds: kinds of traffic that they are sent by.
        datagram_repeats: how often.
        sockets: that are secured, by device and by policy.
        set_up_repeats: how often.
        associations: that the engine is given for what one takes of its memory.
        flows: connections through the engine for what one takes of its memory.
    """

    warm: float
    seconds: float
    throughput: tuple[Throughput, ...]
    requests: tuple[Requests, ...]
    request_bytes: int
    datagram_bytes: int
    datagram_kinds: tuple[str, ...]
    datagram_repeats: int
    sockets: int
    set_up_repeats: int
    associations: int
    flows: int

    def within(self, room: int) -> DevicePlan:
        """Leave out what needs more connections than there is room for, and say so."""
        streams = _within((case.streams for case in self.throughput), room)
        connections = _within((case.connections for case in self.requests), room)
        return replace(
            self,
            throughput=tuple(case for case in self.throughput if case.streams in streams),
            requests=tuple(case for case in self.requests if case.connections in connections),
            flows=min(self.flows, room),
        )


@dataclass(frozen=True, slots=True)
class LoopbackPlan:
    """Plain streams on a loopback device, by the engine and by iperf3.

    Attributes:
        streams: numbers of them.
        message_bytes: what is handed to the kernel at a time.
        warm: seconds of traffic before the clock starts.
        seconds: of traffic that are measured.
        repeats: how often each is measured.
    """

    streams: tuple[int, ...]
    message_bytes: int
    warm: float
    seconds: float
    repeats: int


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        name: for the results.
        setup: the matrix.
        memory: number of sockets and of repeats.
        loopback: the engine against iperf3.
        connect: on the wire.
        traffic: on the wire.
        keys: on the wire.
        device: on the wire, by the engine.
        deadline: seconds for each of the processes that measure.
    """

    name: str
    setup: tuple[Cell, ...]
    memory: tuple[int, int]
    loopback: LoopbackPlan
    connect: ConnectPlan
    traffic: TrafficPlan
    keys: KeyPlan
    device: DevicePlan
    deadline: float


_ALL: Final = ("secured", "system_policy", "plain", "tls128", "tls256", "iperf3")
_ENGINE: Final = ("secured", "system_policy", "plain")
_PAIR: Final = ("secured", "plain")
_THROUGH_DEVICE: Final = ("device", "plain")
_CUBIC: Final = ("device" + CUBIC, "plain" + CUBIC)
_MANY: Final = (*_THROUGH_DEVICE, *_CUBIC)
_TLS: Final = ("tls128", "tls256", "tls128_c", "tls256_c")
_TUNNELS: Final = ("wireguard", "libipsec")
_AROUND_DEVICE: Final = ("device", "device_openssl", "plain", *_TLS, *_TUNNELS)
_ONE_STREAM: Final = (*_AROUND_DEVICE, *_CUBIC, "tls128" + CUBIC, "tls256" + CUBIC)
_NO_TLS: Final = ("device", "device_openssl", "plain", *_TUNNELS)
_KIB: Final = 1024


def _matrix(
    sizes: tuple[tuple[int, int], ...], others: tuple[tuple[int, int], ...], *, main: bool
) -> tuple[Cell, ...]:
    """Return every method for TCP over IPv4, and for the other kinds, or only the main ones for those."""
    return (
        *(Cell("inet", "stream", sockets, repeats, main=False) for sockets, repeats in sizes),
        *(
            Cell(family, kind, sockets, repeats, main=main)
            for family, kind in (("inet", "dgram"), ("inet6", "stream"), ("inet6", "dgram"))
            for sockets, repeats in others
        ),
    )


QUICK: Final = Effort(
    name="quick",
    setup=_matrix(((1_000, 9), (5_000, 5), (15_000, 3)), ((5_000, 3),), main=True),
    memory=(15_000, 2),
    loopback=LoopbackPlan((1,), 128 * _KIB, 0.2, 1.0, 2),
    connect=ConnectPlan((500, 1_000), 500, 3),
    traffic=TrafficPlan(
        warm=0.2,
        seconds=0.6,
        throughput=(
            Throughput(1, 128 * _KIB, _ALL, 3),
            Throughput(64, 128 * _KIB, _PAIR, 2),
            Throughput(1_000, 128 * _KIB, _ENGINE, 3),
        ),
        connections=(1, 64),
        request_bytes=64,
        datagram_bytes=1_000,
        repeats=2,
    ),
    keys=KeyPlan(connections=200, peers=5, streams=8, seconds=2.0, repeats=2),
    device=DevicePlan(
        warm=0.3,
        seconds=0.6,
        throughput=(
            Throughput(1, 128 * _KIB, _ONE_STREAM, 3),
            Throughput(16, 128 * _KIB, (*_THROUGH_DEVICE, "tls256"), 2),
            Throughput(256, 128 * _KIB, _MANY, 2),
            Throughput(1_000, 128 * _KIB, _MANY, 3),
        ),
        requests=(Requests(1, _NO_TLS, 3), Requests(64, _THROUGH_DEVICE, 2)),
        request_bytes=64,
        datagram_bytes=64,
        datagram_kinds=_NO_TLS,
        datagram_repeats=2,
        sockets=5_000,
        set_up_repeats=5,
        associations=2_000,
        flows=1_000,
    ),
    deadline=600.0,
)
FULL: Final = Effort(
    name="full",
    setup=_matrix(((1_000, 15), (5_000, 7), (15_000, 5)), ((1_000, 5), (5_000, 3), (15_000, 3)), main=False),
    memory=(15_000, 4),
    loopback=LoopbackPlan((1, 16), 128 * _KIB, 0.2, 1.0, 5),
    connect=ConnectPlan((500, 1_000, 4_000), 500, 5),
    traffic=TrafficPlan(
        warm=0.3,
        seconds=1.0,
        throughput=(
            Throughput(1, 128 * _KIB, _ALL, 5),
            Throughput(1, 1 * _KIB, _PAIR, 3),
            Throughput(1, 16 * _KIB, _PAIR, 3),
            Throughput(16, 128 * _KIB, _ALL, 3),
            Throughput(256, 128 * _KIB, (*_ENGINE, "tls128", "tls256"), 3),
            Throughput(1_000, 128 * _KIB, _ENGINE, 9),
            Throughput(4_096, 128 * _KIB, _ENGINE, 3),
        ),
        connections=(1, 64, 1_000),
        request_bytes=64,
        datagram_bytes=1_000,
        repeats=3,
    ),
    keys=KeyPlan(connections=1_000, peers=50, streams=16, seconds=6.0, repeats=3),
    device=DevicePlan(
        warm=0.3,
        seconds=1.0,
        throughput=(
            Throughput(1, 128 * _KIB, _ONE_STREAM, 9),
            Throughput(1, 1 * _KIB, _THROUGH_DEVICE, 3),
            Throughput(16, 128 * _KIB, (*_AROUND_DEVICE, *_CUBIC), 5),
            Throughput(256, 128 * _KIB, (*_MANY, *_TLS), 5),
            Throughput(1_000, 128 * _KIB, (*_MANY, *_TLS), 5),
            Throughput(4_096, 128 * _KIB, _MANY, 3),
        ),
        requests=(Requests(1, _NO_TLS, 7), Requests(64, _NO_TLS, 3), Requests(1_000, _THROUGH_DEVICE, 3)),
        request_bytes=64,
        datagram_bytes=64,
        datagram_kinds=_NO_TLS,
        datagram_repeats=5,
        sockets=15_000,
        set_up_repeats=9,
        associations=10_000,
        flows=4_000,
    ),
    deadline=900.0,
)


def connect_plan(fields: Mapping[str, Any]) -> ConnectPlan:
    """Make the plan of what JSON keeps of it."""
    return ConnectPlan(**{**fields, "connections": tuple(fields["connections"])})


def _streams(cases: Iterable[Mapping[str, Any]]) -> tuple[Throughput, ...]:
    return tuple(Throughput(**{**case, "kinds": tuple(case["kinds"])}) for case in cases)


def traffic_plan(fields: Mapping[str, Any]) -> TrafficPlan:
    """Make the plan of what JSON keeps of it."""
    cases = _streams(fields["throughput"])
    return TrafficPlan(**{**fields, "throughput": cases, "connections": tuple(fields["connections"])})


def device_plan(fields: Mapping[str, Any]) -> DevicePlan:
    """Make the plan of what JSON keeps of it."""
    return DevicePlan(
        **{
            **fields,
            "throughput": _streams(fields["throughput"]),
            "requests": tuple(
                Requests(**{**case, "kinds": tuple(case["kinds"])}) for case in fields["requests"]
            ),
            "datagram_kinds": tuple(fields["datagram_kinds"]),
        }
    )


def key_plan(fields: Mapping[str, Any]) -> KeyPlan:
    """Make the plan of what JSON keeps of it."""
    return KeyPlan(**fields)
