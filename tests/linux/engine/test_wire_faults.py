"""What keeps traffic secured goes wrong under traffic: it stops, or goes on in ESP, never in clear."""

from __future__ import annotations

import os
import signal
import socket

import pytest
from device_wire import REFUSALS, device_wire, secured_again, try_to_send
from wire import Stream, exchange_datagrams, is_readable, receive, run_streams, wait_for

PATIENCE = 60.0
DGRAM = socket.SOCK_DGRAM


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def family(request: pytest.FixtureRequest) -> socket.AddressFamily:
    return socket.AddressFamily(request.param)


def talk(client: socket.socket, server: socket.socket, size: int = 50_000) -> None:
    run_streams(Stream(client, server, size), Stream(server, client, size), timeout=PATIENCE)


def test_engine_killed_and_started_again(realm, family):
    """Nothing passes meanwhile; connections go on with new associations."""
    with device_wire(family) as wire:
        client, server, _ = wire.connection()
        first, _ = wire.datagram_pair()
        talk(client, server)
        for end in wire.engines.ends.values():
            assert end.engine.pid is not None
            os.kill(end.engine.pid, signal.SIGKILL)
            end.engine.wait(PATIENCE)
        # One of its own, which ends when all that passed is counted: the other may be at what came before.
        with wire.engines.capture() as meanwhile:
            client.sendall(b"while it is away")
            for _ in range(50):
                assert try_to_send(first) in {0} | REFUSALS
        assert meanwhile.counts.esp == 0
        for end in wire.engines.ends.values():
            end.engine.restart()
        wire.engines.add_sas()
        assert receive(server, 16) == b"while it is away"
        talk(client, server)


def test_the_way_out_is_full(realm, family):
    """What has no room is dropped, without a wait for each: others' packets are behind it."""
    with device_wire(family) as wire:
        first, second = wire.datagram_pair()
        exchange_datagrams(first, second, [100])
        words = ["tbf", "rate", "8kbit", "burst", "1600", "limit", "1000000000"]
        if wire.a.run(["tc", "qdisc", "add", "dev", wire.a.device, "root", *words], check=False).returncode:
            pytest.skip("this kernel has no queue that holds packets back (CONFIG_NET_SCH_TBF)")
        control = wire.engines.ends["a"].engine.control

        def send_and_see(lost: int) -> bool:
            for _ in range(100):
                # A datagram that is larger than the one before begins a message of its own.
                for size in (1200, 1300):
                    first.send(bytes(size))
            return control.totals().no_buffer >= lost

        wait_for(lambda: send_and_see(1), "the socket is full", PATIENCE)
        wait_for(lambda: send_and_see(5000), "what has no room is dropped")
        wire.a.run(["tc", "qdisc", "del", "dev", wire.a.device, "root"])
        while is_readable(second, 0.1):
            second.recv(2000)
        exchange_datagrams(first, second, [100])


@pytest.mark.parametrize("what", ["rules", "routes", "both"])
def test_engine_killed_and_more_taken_away(realm, family, what):
    """One guard less, and another one: what holds a socket back is not one thing alone."""
    with device_wire(family, settle=False) as wire:
        client, server, _ = wire.connection()
        first, _ = wire.datagram_pair()
        talk(client, server)
        near = wire.engines.end(wire.a)
        assert near.engine.pid is not None
        os.kill(near.engine.pid, signal.SIGKILL)
        near.engine.wait(PATIENCE)
        if what in ("rules", "both"):
            wire.a.run(["nft", "flush", "ruleset"])
        if what in ("routes", "both"):
            version = "-4" if family == socket.AF_INET else "-6"
            wire.a.run(["ip", version, "route", "flush", "table", "all", "dev", near.device.name])
        client.sendall(b"while it is away")
        for _ in range(50):
            assert try_to_send(first) in {0} | REFUSALS
        near.engine.restart()
        wire.engines.add_sas()
        secured_again(wire, wire.a)
        assert receive(server, 16) == b"while it is away"
        talk(client, server)


def test_associations_removed_and_back(realm, family):
    with device_wire(family) as wire:
        client, server, _ = wire.connection()
        first, _ = wire.datagram_pair()
        talk(client, server)
        wire.engines.remove_sas()
        client.sendall(b"without a key")
        for _ in range(50):
            assert try_to_send(first) in {0} | REFUSALS
        wire.engines.add_sas()
        assert receive(server, 13) == b"without a key"
        talk(client, server)


def test_rekey_under_traffic(realm, family):
    with device_wire(family) as wire:
        client, server, _ = wire.connection()
        first, second = wire.datagram_pair()
        for number in range(5):
            wire.engines.rekey()
            talk(client, server)
            first.send(bytes([number]))
            assert second.recv(10) == bytes([number])


def test_rules_flushed(realm, family):
    """The keeper puts them up again; until then sockets stay on the device by their binding."""
    with device_wire(family) as wire:
        client, server, _ = wire.connection()
        first, second = wire.datagram_pair()
        talk(client, server)
        for namespace in (wire.a, wire.b):
            namespace.run(["nft", "flush", "ruleset"])
        first.send(b"flushed")
        assert second.recv(100) == b"flushed"
        talk(client, server)
        for namespace in (wire.a, wire.b):
            secured_again(wire, namespace)
        # What the rules do is done again: the answer of a closed port comes, and in ESP.
        gone = secured_again(wire, wire.b)
        wire.bind(gone, wire.b).listen(1)
        address = gone.getsockname()
        gone.close()
        with pytest.raises(ConnectionRefusedError):
            wire.connect(secured_again(wire, wire.a), address)


def test_routes_flushed(realm, family):
    with device_wire(family, settle=False) as wire:
        client, server, _ = wire.connection()
        first, _ = wire.datagram_pair()
        talk(client, server)
        version = "-4" if family == socket.AF_INET else "-6"
        wire.a.run(
            ["ip", version, "route", "flush", "table", "all", "dev", wire.engines.end(wire.a).device.name]
        )
        for _ in range(50):
            assert try_to_send(first) in {0} | REFUSALS
        secured_again(wire, wire.a)
        talk(client, server)


def test_device_down_and_up(realm, family):
    with device_wire(family, settle=False) as wire:
        client, server, _ = wire.connection()
        first, _ = wire.datagram_pair()
        talk(client, server)
        name = wire.engines.end(wire.a).device.name
        wire.a.run(["ip", "link", "set", name, "down"])
        for _ in range(50):
            assert try_to_send(first) in {0} | REFUSALS
        secured_again(wire, wire.a)
        talk(client, server)


def test_device_deleted(realm, family):
    """It is made again with its number: sockets that were on it live on."""
    with device_wire(family, settle=False) as wire:
        client, server, _ = wire.connection()
        first, _ = wire.datagram_pair()
        talk(client, server)
        device = wire.engines.end(wire.a).device
        number = device.ifindex
        wire.a.run(["ip", "link", "delete", device.name])
        for _ in range(50):
            assert try_to_send(first) in {0} | REFUSALS
        secured_again(wire, wire.a)

        def there() -> bool:
            with wire.a.entered():
                return any(name == device.name and index == number for index, name in socket.if_nameindex())

        wait_for(there, "the device is there again, with its number", PATIENCE)
        fresh, peer, _ = wire.connection()
        talk(fresh, peer)
