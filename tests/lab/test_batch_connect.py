"""SocketBatch.connect() on the wire: real ESP, nothing in clear."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from wire import TIMEOUT, Wire, is_readable

import wsasec
from wsasec import SocketBatch
from wsasec.kernel.links import LinkSocket

pytestmark = pytest.mark.lab

STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
MANY = 200


def batch_at(wire: Wire, n: int = MANY, **options: Any) -> SocketBatch:
    """Make a batch at host a."""
    with wire.a.entered():
        return SocketBatch(n, family=wire.family, **options)


def step_by_step(*steps: Callable[[], None]) -> tuple[Callable[[int, int], None], list[int]]:
    """Return what takes the next step each time that progress is told, and what was done by then."""
    left = list(steps)
    seen: list[int] = []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        if left:
            left.pop(0)()

    return progress, seen


def test_all_are_connected(make_wire):
    with make_wire() as wire:
        first, second = wire.listener(wire.b, 4096), wire.listener(wire.b, 4096)
        with batch_at(wire) as batch:
            report = batch.connect([first.getsockname(), second.getsockname()], timeout=TIMEOUT)
            assert (report.connected, report.errors, report.waited_for_sa) == (MANY, {}, 0)
            assert report.latency.count == MANY
            for listener in (first, second):
                for _ in range(MANY // 2):
                    wire.accept(listener)
                assert not is_readable(listener)
            assert batch.connect(first.getsockname(), errors="return").errors == {"EISCONN": MANY}


@pytest.mark.parametrize("concurrency", [0, 10])
def test_a_long_way(make_wire, concurrency):
    """Answers take their time; no more than so many connections are in progress meanwhile."""
    with make_wire() as wire:
        wire.connection()  # the hosts know each other's hardware addresses from now on
        listener = wire.listener(wire.b, 4096)
        with wire.netem(wire.b, "delay", "20ms"), batch_at(wire) as batch:
            report = batch.connect(listener.getsockname(), timeout=TIMEOUT, concurrency=concurrency)
        assert report.connected == report.latency.count == MANY
        assert report.latency.minimum >= 19_000
        assert report.seconds >= 0.019 * MANY / (concurrency or MANY)


def test_data_passes(make_wire):
    with make_wire() as wire:
        listener = wire.listener(wire.b, 64)
        batch = batch_at(wire, 10)
        batch.connect(listener.getsockname(), timeout=TIMEOUT)
        clients = [wire.keep(sock) for sock in batch.sockets()]
        servers = {(server := wire.accept(listener)).getpeername(): server for _ in clients}
        for client in clients:
            server = servers[client.getsockname()]
            client.sendall(b"question")
            assert server.recv(100) == b"question"
            server.sendall(b"answer")
            assert client.recv(100) == b"answer"


@pytest.mark.parametrize("concurrency", [0, 7])
def test_the_association_comes_late(make_wire, concurrency):
    with make_wire(keys=False) as wire:
        listener = wire.listener(wire.b, 4096)
        # At the second report: the first refusal was before the first one, however long each takes.
        progress, seen = step_by_step(lambda: None, wire.lab.add_sas)
        with batch_at(wire) as batch:
            report = batch.connect(
                listener.getsockname(), timeout=TIMEOUT, concurrency=concurrency, progress=progress
            )
            assert seen[:2] == [0, 0]
            assert (report.connected, report.waited_for_sa, report.without_sa) == (MANY, MANY, 0)
            assert report.sa_wait.count == report.latency.count == MANY
            # It is told every 100 ms; nobody waited for less.
            assert report.sa_wait.minimum >= 90_000
            assert report.sa_wait.maximum <= report.seconds * 1e6


def test_datagrams_wait_too(make_wire):
    with make_wire(keys=False) as wire:
        server = wire.datagram(wire.b)
        progress, _ = step_by_step(wire.lab.add_sas)
        batch = batch_at(wire, 50, type=DGRAM)
        report = batch.connect(server.getsockname(), timeout=TIMEOUT, progress=progress)
        assert (report.connected, report.waited_for_sa) == (50, 50)
        for number, client in enumerate(map(wire.keep, batch.sockets())):
            client.send(number.to_bytes(1, "big"))
            data, address = server.recvfrom(100)
            assert (data[0], address) == (number, client.getsockname())
            server.sendto(b"seen", address)
            assert client.recv(100) == b"seen"


def test_no_association(make_wire):
    with make_wire(keys=False, esp=False) as wire, batch_at(wire) as batch:
        with pytest.raises(wsasec.ConnectError, match="no security association") as caught:
            batch.connect((wire.host(wire.b), 4711), timeout=0.3)
        assert caught.value.report.errors == {"EAGAIN": MANY}
        assert "reqid" in caught.value.hint


def test_the_associations_are_lost_in_the_middle(make_wire):
    """What is in progress gets its answer when there are new ones, and what is not had its turn meanwhile."""
    with make_wire() as wire:
        wire.connection()  # the hosts know each other's hardware addresses from now on
        listener = wire.listener(wire.b, 4096)
        silence = wire.broken(wire.b)
        silence.__enter__()

        def lose() -> None:
            wire.lab.remove_sas()
            silence.__exit__(None, None, None)

        progress, seen = step_by_step(lose, wire.lab.add_sas)
        with batch_at(wire) as batch:
            report = batch.connect(
                listener.getsockname(), timeout=2 * TIMEOUT, concurrency=50, progress=progress
            )
            assert seen[:2] == [0, 0]
            assert (report.connected, report.errors) == (MANY, {})


def test_the_associations_are_gone_for_those_that_follow(make_wire):
    """The first half is connected, the second finds nothing until there are new ones."""
    with make_wire() as wire:
        listener = wire.listener(wire.b, 4096)
        with batch_at(wire) as batch:
            assert batch[: MANY // 2].connect(listener.getsockname(), timeout=TIMEOUT).connected == MANY // 2
            wire.lab.remove_sas()
            rest = batch[MANY // 2 :]
            assert rest.connect(listener.getsockname(), timeout=1.0, errors="return").without_sa == MANY // 2
            progress, seen = step_by_step(wire.lab.add_sas)
            report = rest.connect(listener.getsockname(), timeout=TIMEOUT, progress=progress)
            assert (seen[0], report.connected, report.waited_for_sa) == (0, MANY // 2, MANY // 2)


def test_one_source_address_has_no_association(make_wire):
    """Its sockets wait; those of the other do not wait for them."""
    with make_wire() as wire:
        other = "10.9.0.7" if wire.family == socket.AF_INET else "fd00:9::7"
        with wire.a.entered(), LinkSocket() as links:
            links.add_address(wire.a.device, other, 24 if wire.family == socket.AF_INET else 64)
        listener = wire.listener(wire.b, 4096)
        with batch_at(wire, bind=[other, wire.host(wire.a)]) as batch:
            report = batch.connect(listener.getsockname(), timeout=3.0, errors="return")
            assert [error == 0 for error in report.errnos] == [False, True] * (MANY // 2)
            assert report.errors == {"EAGAIN": MANY // 2}


@pytest.mark.parametrize("delay", ["0ms", "20ms"])
def test_nobody_listens(make_wire, delay):
    """The kernel's answer, which is of no socket, is protected too, and believed."""
    with make_wire() as wire, wire.netem(wire.b, "delay", delay), batch_at(wire, 50) as batch:
        listener = wire.listener(wire.b)  # with it comes the guard, which protects the answer
        address = listener.getsockname()
        listener.close()
        report = batch.connect(address, timeout=TIMEOUT, errors="return")
        assert report.errors == {"ECONNREFUSED": 50}


def test_the_peer_is_gone(make_wire):
    with make_wire(esp=None) as wire:
        wire.connection()
        listener = wire.listener(wire.b)
        with wire.broken(wire.b), batch_at(wire, 50) as batch:
            report = batch.connect(listener.getsockname(), timeout=0.5, errors="return")
            assert report.errors == {"ETIMEDOUT": 50}
            assert report.seconds >= 0.5


def test_the_peer_is_not_secured(make_wire):
    """Its answers are in clear: they are not taken for answers."""
    host = {socket.AF_INET: "10.9.0.2", socket.AF_INET6: "fd00:9::2"}
    with make_wire(esp=None, clear_from=set(host.values()), settle=False) as wire:
        listener = wire.listener(wire.b, secured=False)
        with batch_at(wire, 10) as batch:
            report = batch.connect(listener.getsockname(), timeout=0.5, errors="return")
            assert report.errors == {"ETIMEDOUT": 10}
