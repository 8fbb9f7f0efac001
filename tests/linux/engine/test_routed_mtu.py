"""A router in the path takes less than the hosts know of: all goes through, and programs are told."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable

import pytest
from esp_packets import is_fragment
from frames import source_of
from routed_wire import ETHERNET, PATIENCE, RoutedWire, routed_wire
from wire import Stream, exchange_datagrams, run_streams, wait_for

from wsasec.engine import Direction, raw

SIZES = (100, 1200, 1300, 1400, 1452, 4000, 20_000, 60_000)
MTUS = pytest.mark.parametrize("narrow", [1400, 1280])
WAYS = pytest.mark.parametrize(
    ("family", "encapsulation"),
    [(socket.AF_INET, "udp"), (socket.AF_INET, "raw"), (socket.AF_INET6, "udp"), (socket.AF_INET6, "raw")],
    ids=["v4-udp", "v4-raw", "v6-udp", "v6-raw"],
)


IP_MTU, IPV6_MTU = 14, 24
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, DO = 10, 23, 2
ESP_AROUND = 8 + 8 + 16  # header, IV and ICV
UDP_HEADER = 8
PROBES = re.compile(r"^wsasec_engine_probes_total (\d+)$", re.MULTILINE)
SILENT = "table ip silent { chain out { type filter hook output priority filter; ip protocol icmp drop; }; }"


def inner(wire: RoutedWire, outer: int, encapsulation: str) -> int:
    """Return how large a packet may be whose ESP packet is to fit.

    RFC 4303 section 2: it is padded to a multiple of four bytes, with a trailer of two.
    """
    header = 20 if wire.family == socket.AF_INET else 40
    body = outer - header - ESP_AROUND - (UDP_HEADER if encapsulation == "udp" else 0)
    return header + body // 4 * 4 - 2


def path_mtus(wire: RoutedWire) -> list[int]:
    """Return what the hosts' engines know of the ways to each other."""
    version = 4 if wire.family == socket.AF_INET else 6
    return [
        state.path_mtu
        for end in wire.lab.ends.values()
        for state in end.engine.control.sas()
        if state.name.direction is Direction.OUTBOUND and state.name.source.version == version
    ]


def mtu_of(sock: socket.socket) -> int:
    """Return what the kernel thinks that the way of a connected socket takes."""
    if sock.family == socket.AF_INET:
        return sock.getsockopt(socket.IPPROTO_IP, IP_MTU)
    return sock.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)


def send_until(wire: RoutedWire, condition: Callable[[], bool], what: str) -> None:
    """Have datagrams that the path has to cut go both ways, one by one, until a condition holds."""
    first, second = wire.datagrams()

    def found() -> bool:
        exchange_datagrams(first, second, [1400])
        return condition()

    wait_for(found, what, PATIENCE)


def learn(wire: RoutedWire) -> None:
    """Have both engines learn that the path is narrow."""
    send_until(wire, lambda: all(path_mtus(wire)), "the engines know of the path")


def probes(wire: RoutedWire) -> list[int]:
    """Return how many packets the engines sent to find what the path takes."""
    found = [PROBES.search(end.engine.control.metrics()) for end in wire.lab.ends.values()]
    return [int(each[1]) for each in found if each]


def was_too_wide(wire: RoutedWire, narrow: int) -> None:
    """Both hosts sent what the wire between the routers does not take, which nobody told them."""
    for host in (wire.a, wire.b):
        sent = [len(each) for each in wire.edges[host.name].frames() if source_of(each) == wire.host(host)]
        assert max(sent) > ETHERNET + narrow
    assert max(len(frame) for frame in wire.middle.frames()) <= ETHERNET + narrow


@MTUS
@WAYS
def test_streams(realm, family, narrow, encapsulation):
    with routed_wire(family, narrow=narrow, encapsulation=encapsulation) as wire:
        client, server = wire.connection()
        run_streams(Stream(client, server, 1 << 20), Stream(server, client, 1 << 20), timeout=PATIENCE)
        was_too_wide(wire, narrow)


@MTUS
@WAYS
def test_datagrams(realm, family, narrow, encapsulation):
    """The first ones may be lost for teaching their sender; then each size arrives."""
    with routed_wire(family, narrow=narrow, encapsulation=encapsulation) as wire:
        exchange_datagrams(*wire.datagrams(), SIZES)
        was_too_wide(wire, narrow)


@WAYS
def test_streams_are_told(realm, family, encapsulation):
    """From then on nothing is cut any more."""
    narrow = 1400
    with routed_wire(family, narrow=narrow, encapsulation=encapsulation) as wire:
        # Before, so that neither end has announced smaller segments to the other.
        client, server = wire.connection()
        learn(wire)
        fits = inner(wire, narrow, encapsulation)
        assert path_mtus(wire) == [fits, fits]

        def are_told() -> bool:
            run_streams(Stream(client, server, 1 << 17), Stream(server, client, 1 << 17), timeout=PATIENCE)
            return mtu_of(client) == mtu_of(server) == fits

        wait_for(are_told, "both ends are told")
        already = len(wire.middle.frames())
        run_streams(Stream(client, server, 1 << 20), Stream(server, client, 1 << 20), timeout=PATIENCE)
        passed = wire.middle.frames()[already:]
        assert len(passed) > 2 * (1 << 20) // narrow
        assert not any(is_fragment(frame) for frame in passed)


@WAYS
def test_datagrams_that_may_not_be_cut_are_told(realm, family, encapsulation):
    """As on any other path: an error, and then what fits (RFC 1191, RFC 8201)."""
    narrow = 1400
    with routed_wire(family, narrow=narrow, encapsulation=encapsulation) as wire:
        learn(wire)
        sock, _ = wire.datagrams()
        four = family == socket.AF_INET
        fits = inner(wire, narrow, encapsulation) - (28 if four else 48)
        sock.setsockopt(
            *((socket.IPPROTO_IP, IP_MTU_DISCOVER) if four else (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER)), DO
        )

        def refusal() -> int:
            try:
                sock.send(bytes(fits + 1))
            except OSError as error:
                return error.errno or 0
            return 0

        assert wait_for(refusal, "what does not fit is refused") == errno.EMSGSIZE
        assert mtu_of(sock) == inner(wire, narrow, encapsulation)
        exchange_datagrams(*wire.datagrams(), [fits])


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def test_by_a_socket_of_several_threads_nobody_looks(realm, family):
    """The packets of others would have to fit, too. What carries data is cut as ever."""
    narrow = 1400
    with routed_wire(family, narrow=narrow, encapsulation="raw", threads=2) as wire:
        for name, end in wire.lab.ends.items():
            with {"a": wire.a, "b": wire.b}[name].entered():
                end.engine.add_transport(wire.sockets.enter_context(raw(family, 1)))
        exchange_datagrams(*wire.datagrams(), SIZES)
        client, server = wire.connection()
        run_streams(Stream(client, server, 1 << 18), Stream(server, client, 1 << 18), timeout=PATIENCE)
        was_too_wide(wire, narrow)
        assert probes(wire) == [0, 0]
        assert path_mtus(wire) == [0, 0]


@pytest.mark.parametrize("encapsulation", ["udp", "raw"])
def test_a_path_on_which_nobody_hears_the_routers(realm, encapsulation):
    """What carries data by IPv4 may be cut by a router: nothing is lost where no ICMP comes through."""
    narrow = 1400
    with routed_wire(socket.AF_INET, narrow=narrow, encapsulation=encapsulation) as wire:
        for router in (wire.lab.r, wire.lab.s):
            router.run(["nft", "-f", "-"], input=SILENT)
        send_until(wire, lambda: min(probes(wire)) >= 2, "each engine has looked twice")
        assert path_mtus(wire) == [0, 0]
        client, server = wire.connection()
        run_streams(Stream(client, server, 1 << 20), Stream(server, client, 1 << 20), timeout=PATIENCE)
        exchange_datagrams(*wire.datagrams(), SIZES)
        was_too_wide(wire, narrow)
