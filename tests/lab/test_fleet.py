"""Fleets on the wire: what several processes send is protected."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import fleet_connect
import pytest
from wire import TIMEOUT, receive

from wsasec.fleet import Fleet

pytestmark = pytest.mark.lab

SOCKETS = 60


def test_workers_in_the_namespace_of_the_caller(make_wire):
    with make_wire() as wire:
        listener = wire.listener(wire.b, backlog=SOCKETS)
        # The fleet is made in a's namespace, and its workers stay there.
        with wire.a.entered():
            fleet = Fleet(SOCKETS, processes=2, family=wire.family)
        with fleet, ThreadPoolExecutor(1) as pool:
            connected = fleet.run(fleet_connect.connect, listener.getsockname())
            assert [report.connected for report in connected.values] == [SOCKETS / 2] * 2
            assert connected.histograms["latency"].count == SOCKETS
            servers = [wire.accept(listener) for _ in range(SOCKETS)]
            assert {server.getpeername()[0] for server in servers} == {wire.host(wire.a)}

            saying = pool.submit(fleet.run, fleet_connect.say, timeout=30)
            for server in servers:
                assert receive(server, 5) == b"hello"
                server.sendall(b"HELLO")
            assert sum(saying.result(TIMEOUT).values) == SOCKETS
