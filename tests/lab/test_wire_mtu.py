"""Narrow paths: what does not fit is cut in time, and who says so does not say it in clear."""

from __future__ import annotations

import os
import socket

import pytest
from frames import quoted_protocol
from wire import Stream, Wire, run_streams, wait_for

from wsasec.lab import Lab, Namespace, parse

pytestmark = pytest.mark.lab

ROUTER = {"10.9.1.254", "10.9.2.254", "fd00:91::fe", "fd00:92::fe"}


def exchange(wire: Wire, client: socket.socket, server: socket.socket, size: int = 1 << 18) -> None:
    run_streams(Stream(client, server, size), Stream(server, client, size))


def exchange_datagrams(wire: Wire, first: socket.socket, second: socket.socket) -> None:
    for size in (100, 1200, 1280, 1500, 9000):
        for sender, receiver in ((first, second), (second, first)):
            data = os.urandom(size)
            sender.send(data)
            assert receiver.recv(10_000) == data


def test_mtu_1280(make_wire):
    with make_wire(mtu=1280) as wire:
        client, server, _ = wire.connection()
        exchange(wire, client, server)
        exchange_datagrams(wire, *wire.datagram_pair())
    # Ethernet's header comes on top.
    assert wire.capture.counts.esp_bytes <= wire.capture.counts.esp * (1280 + 14)


@pytest.mark.parametrize("what", ["device", "route"])
def test_mtu_lowered_under_traffic(make_wire, what):
    with make_wire() as wire:
        client, server, _ = wire.connection()
        first, second = wire.datagram_pair()
        exchange(wire, client, server)
        for end in (wire.a, wire.b):
            if what == "device":
                end.run(["ip", "link", "set", end.device, "mtu", "1280"])
            elif wire.family == socket.AF_INET:
                route = ["10.9.0.0/24", "dev", end.device, "proto", "kernel", "scope", "link", "src", end.v4]
                end.run(["ip", "route", "change", *route, "mtu", "1280"])
            else:
                route = ["fd00:9::/64", "dev", end.device, "proto", "kernel", "metric", "256"]
                end.run(["ip", "-6", "route", "change", *route, "mtu", "1280"])
        narrow = wire.capture.snapshot()
        exchange(wire, client, server)
        exchange_datagrams(wire, first, second)
    counts = wire.capture.counts
    average = (counts.esp_bytes - narrow.esp_bytes) / (counts.esp - narrow.esp)
    assert average <= 1280 + 14


def _put_router_between(lab: Lab, router: Namespace) -> None:
    """Lead the way from a to b through a router, whose second wire is narrow."""
    for number, (host, mtu) in enumerate(((lab.a, 1500), (lab.b, 1280)), 1):
        wire = f"r{number}"
        router.run(
            f"ip link add {wire} mtu {mtu} type veth peer name path mtu {mtu} netns {host.path}".split()
        )
        router.sysctl(f"net.ipv6.conf.{wire}.accept_dad", 0)
        host.sysctl("net.ipv6.conf.path.accept_dad", 0)
        other = 3 - number
        router.run(["ip", "link", "set", wire, "up"])
        host.run(["ip", "link", "set", "path", "up"])
        host.v4, host.v6, host.device = f"10.9.{number}.1", f"fd00:9{number}::1", "path"
        for family, gateway, address, length, far in (
            ("-4", f"10.9.{number}.254", host.v4, 24, f"10.9.{other}.0/24"),
            ("-6", f"fd00:9{number}::fe", host.v6, 64, f"fd00:9{other}::/64"),
        ):
            at_once = ["nodad"] * (family == "-6")
            router.run(["ip", family, "addr", "add", f"{gateway}/{length}", "dev", wire, *at_once])
            host.run(["ip", family, "addr", "add", f"{address}/{length}", "dev", "path", *at_once])
            host.run(["ip", family, "route", "add", far, "via", gateway])
    router.sysctl("net.ipv4.ip_forward", 1)
    router.sysctl("net.ipv6.conf.all.forwarding", 1)
    lab.add_sas()


@pytest.mark.parametrize("sender", ["a", "b"])
def test_narrow_path_behind_a_router(make_wire, sender):
    """The router complains in clear, and can quote nothing but ESP; the hosts say nothing in clear."""
    with (
        Namespace("router") as router,
        make_wire(
            keys=False,
            clear_from=ROUTER,
            prepare=lambda lab: _put_router_between(lab, router),
        ) as wire,
    ):
        client, server, _ = wire.connection()
        first, second = wire.datagram_pair()
        ends = (client, server, first, second) if sender == "a" else (server, client, second, first)
        run_streams(Stream(ends[0], ends[1], 1 << 19))

        def arrives() -> bool:
            ends[3].setblocking(False)
            try:
                return ends[3].recv(10_000) == data
            except BlockingIOError:
                # The first may be lost for teaching the sender the path's MTU.
                ends[2].send(data)
                return False

        for size in (1230, 1400, 9000):
            data = os.urandom(size)
            wait_for(arrives, "a datagram of its size arrives")
        assert wire.sniffer is not None
        complaints = [frame for frame in wire.sniffer.frames() if parse(frame).group == "clear"]
        assert all(quoted_protocol(frame) == socket.IPPROTO_ESP for frame in complaints)
        # Only the way from a leads from the wide wire to the narrow one.
        assert bool(complaints) == (sender == "a")
