"""The program wsasec-engine with real traffic between two namespaces."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import ipaddress
import os
import re
import secrets
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from esp_packets import ip_packet
from reachable import open_to_all
from wire import wait_for

from wsasec.engine import (
    Acquire,
    Algorithm,
    Control,
    Direction,
    EngineError,
    Expire,
    Limits,
    Lost,
    Mapping,
    TransportKind,
    Type,
)
from wsasec.engine import tun as queues
from wsasec.engine.process import PROGRAM

pytestmark = pytest.mark.linux

FAMILIES = [socket.AF_INET, socket.AF_INET6]
DEADLINE = 30.0
MANY = 20_000  # associations: to change all of them takes a while


def address_of(host: Any, family: int) -> str:
    return host.v4 if family == socket.AF_INET else host.v6


def transfer(sender: Any, receiver: Any, family: int, size: int, streams: int = 1) -> None:
    """Move bytes over TCP, by so many connections at once; what arrives is what was sent."""
    content = secrets.token_bytes(size)
    wanted = hashlib.sha256(content).digest()
    got: list[bytes] = []

    def receive(connection: socket.socket) -> None:
        digest = hashlib.sha256()
        with connection:
            connection.settimeout(60)
            while data := connection.recv(1 << 20):
                digest.update(data)
        got.append(digest.digest())

    def send(port: int) -> None:
        with sender.socket(family=family) as connection:
            connection.connect((address_of(receiver, family), port))
            connection.sendall(content)

    with receiver.socket(family=family) as listener:
        listener.listen(streams)
        port = listener.getsockname()[1]
        threads = [threading.Thread(target=send, args=(port,)) for _ in range(streams)]
        for each in threads:
            each.start()
        for _ in range(streams):
            reader = threading.Thread(target=receive, args=(listener.accept()[0],))
            reader.start()
            threads.append(reader)
        for each in threads:
            each.join()
    assert got == [wanted] * streams


def datagrams(sender: Any, receiver: Any, family: int, sizes: list[int]) -> None:
    with (
        receiver.socket(socket.SOCK_DGRAM, family) as there,
        sender.socket(socket.SOCK_DGRAM, family) as here,
    ):
        for size in sizes:
            content = secrets.token_bytes(size)
            here.sendto(content, there.getsockname()[:2])
            assert there.recv(65536) == content


@pytest.mark.parametrize("family", FAMILIES, ids=["v4", "v6"])
@pytest.mark.parametrize("build", ["installed", "address", "thread"])
@pytest.mark.parametrize("real_time", [False, True], ids=["ordinary", "both"])
def test_traffic(
    make_rig: Any, sanitized: Callable[[str], Path], build: str, family: int, real_time: bool
) -> None:
    program = None if build == "installed" else sanitized(build)
    rig = make_rig(program, threads=2, real_time=real_time)
    rig.both(family)
    transfer(rig.a, rig.b, family, 4_000_000)
    transfer(rig.b, rig.a, family, 200_000, streams=16)
    datagrams(rig.a, rig.b, family, [0, 1, 100, 1300, 1400, 5000, 40_000, 65_000])
    there = rig.b.control.totals()
    here = rig.a.control.totals()
    assert here.sent_bytes > 4_000_000
    assert there.received_packets == here.sent_packets
    assert here.reassembled >= 3
    for totals in (here, there):
        assert (totals.forged, totals.replayed, totals.malformed, totals.unknown_spi) == (0, 0, 0, 0)


@pytest.mark.parametrize("build", ["installed", "address", "thread"])
def test_traffic_by_two_queues(make_rig: Any, sanitized: Callable[[str], Path], build: str) -> None:
    """Streams both ways, which get into the queues for bulk, and short connections beside them."""
    program = None if build == "installed" else sanitized(build)
    rig = make_rig(program, threads=2, bulk=True)
    for family in FAMILIES:
        rig.both(family)
    with ThreadPoolExecutor(3) as pool:
        for done in [
            pool.submit(transfer, rig.a, rig.b, socket.AF_INET, 2_000_000, streams=4),
            pool.submit(transfer, rig.b, rig.a, socket.AF_INET6, 2_000_000, streams=4),
            pool.submit(transfer, rig.a, rig.b, socket.AF_INET6, 1_000, streams=16),
        ]:
            done.result()
    # Afterwards: beside streams one could be lost where a socket is full.
    datagrams(rig.a, rig.b, socket.AF_INET6, [100, 1300, 5000])
    for end in (rig.a, rig.b):
        totals = end.control.totals()
        assert (totals.forged, totals.replayed, totals.malformed, totals.unknown_spi) == (0, 0, 0, 0)
        assert totals.sent_bytes > 8_000_000


def test_a_device_with_bulk_has_twice_as_many_queues(rig: Any) -> None:
    with rig.b.namespace.entered():
        some = [queues.attach("ws8") for _ in range(3)]
    try:
        for few_or_many in (some[:1], some):
            with pytest.raises(EngineError, match="twice with bulk"):
                rig.b.control.add_device(8, 0, "ws8", 1400, few_or_many, bulk=True)
        with pytest.raises(EngineError, match="as many queues as there are threads"):
            rig.b.control.add_device(8, 0, "ws8", 1400, some[:2])
        rig.b.control.add_device(8, 0, "ws8", 1400, some[:2], bulk=True)
        rig.b.control.remove_device(8)
    finally:
        for fd in some:
            os.close(fd)


@pytest.mark.parametrize("spin", [0, 1000])
@pytest.mark.parametrize("real_time", [False, True], ids=["ordinary", "both"])
def test_awake_or_asleep(make_rig: Any, spin: int, real_time: bool) -> None:
    """Single requests, whose answers the threads wait for by spinning or asleep, and bulk."""
    rig = make_rig(arguments=("--spin", str(spin)), real_time=real_time)
    rig.both()
    transfer(rig.a, rig.b, socket.AF_INET, 2_000_000)
    # And behind the last of the stream, so that nothing is under way when they are counted.
    datagrams(rig.a, rig.b, socket.AF_INET, [100] * 500)
    assert rig.b.control.totals().received_packets == rig.a.control.totals().sent_packets


@pytest.mark.parametrize("spin", ["-1", "1001", "x", ""])
def test_spins_that_are_none(spin: str) -> None:
    done = subprocess.run(
        [PROGRAM, "--control-fd", "3", "--spin", spin],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.startswith("usage: wsasec-engine")


@pytest.mark.parametrize("family", FAMILIES, ids=["v4", "v6"])
def test_esp_as_a_protocol_of_ip(rig: Any, family: int) -> None:
    rig.both(family, ports=None)
    with rig.b.namespace.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.settimeout(DEADLINE)
        wire.bind((rig.b.namespace.device, 0x0800 if family == socket.AF_INET else 0x86DD))
        transfer(rig.a, rig.b, family, 2_000_000)
        # Ethernet, then IP's protocol, or next header: of the ends' own protocols there is nothing.
        at = 14 + (9 if family == socket.AF_INET else 6)
        seen = {wire.recv(2000)[at] for _ in range(20)}
    assert socket.IPPROTO_ESP in seen
    assert not seen & {socket.IPPROTO_TCP, socket.IPPROTO_UDP}
    datagrams(rig.a, rig.b, family, [0, 1000, 1400, 30_000])
    assert rig.b.control.totals().received_packets == rig.a.control.totals().sent_packets


@pytest.mark.parametrize("family", FAMILIES, ids=["v4", "v6"])
def test_own_addresses_stay_here(rig: Any, family: int) -> None:
    rig.a.namespace.sysctl("net.ipv4.conf.ws7.accept_local", 1)
    own = address_of(rig.a, family)
    rig.a.namespace.run(["ip", "route", "add", own, "dev", "ws7", "src", own, "table", "57"])
    with (
        rig.a.socket(socket.SOCK_DGRAM, family) as one,
        rig.a.socket(socket.SOCK_DGRAM, family) as other,
    ):
        one.sendto(b"here", other.getsockname()[:2])
        assert other.recv(10) == b"here"
    assert rig.a.control.totals().sent_packets == 0


def test_a_device_comes_and_goes(rig: Any) -> None:
    rig.both()
    transfer(rig.a, rig.b, socket.AF_INET, 100_000)
    rig.b.control.remove_device(7)
    with pytest.raises(EngineError) as caught:
        rig.b.control.remove_device(7)
    assert caught.value.errno == errno.ENOENT
    # What is for it is dropped, and the association stays.
    with rig.a.socket(socket.SOCK_DGRAM) as here:
        here.sendto(b"lost", (rig.b.v4, 9))
    end = time.monotonic() + DEADLINE
    while not rig.b.control.totals().no_buffer:
        assert time.monotonic() < end
    # Until no thread works with it any more, the next one would be another queue of the same device.
    wait_for(lambda: "ws7" not in rig.b.namespace.run(["ip", "-o", "link"]).stdout, "the device is gone")
    with rig.b.namespace.entered():
        queue = queues.attach("ws7")
        queues.set_offload(queue)
    rig.b.control.add_device(7, 0, "ws7", 1400, [queue])
    os.close(queue)
    rig.b.set_up()
    rig.b.route_to(rig.a)
    transfer(rig.a, rig.b, socket.AF_INET, 100_000)
    with pytest.raises(EngineError) as caught:
        rig.b.control.add_device(8, 0, "ws8", 1400, [rig.b.process.stderr or 0])
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("crypto", ["OpenSSL", "ipsec-mb"])
@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("esn", [False, True])
def test_algorithms(make_rig: Any, algorithm: Algorithm, crypto: str, esn: bool) -> None:
    try:
        rig = make_rig(arguments=("--crypto", crypto))
    except ConnectionError:
        pytest.skip(f"this build, or this processor, has no {crypto}")
    assert rig.a.control.hello().crypto.startswith(crypto)
    rig.both(algorithm=algorithm, esn=esn)
    transfer(rig.a, rig.b, socket.AF_INET, 1_000_000)


def test_rekey_in_traffic_loses_nothing(rig: Any) -> None:
    """The newest outbound one is used at once, an inbound one until it is deleted."""
    old = [rig.add(rig.a, rig.b), rig.add(rig.b, rig.a)]
    stop = threading.Event()

    def change() -> None:
        while not stop.wait(0.05):
            new = [rig.add(rig.a, rig.b), rig.add(rig.b, rig.a)]
            rig.a.control.delete_sa(old[0][0].name)
            rig.b.control.delete_sa(old[1][0].name)
            time.sleep(0.02)  # what is on its way with the old keys arrives
            rig.b.control.delete_sa(old[0][1].name)
            rig.a.control.delete_sa(old[1][1].name)
            old[:] = new

    changer = threading.Thread(target=change)
    changer.start()
    try:
        transfer(rig.a, rig.b, socket.AF_INET, 30_000_000, streams=2)
    finally:
        stop.set()
        changer.join()
    assert len(rig.a.control.sas()) == 2
    assert rig.b.control.totals().forged == 0


def test_packets_wait_for_an_association(rig: Any) -> None:
    rig.add(rig.b, rig.a)
    rig.a.control.subscribe()
    with (
        rig.b.socket(socket.SOCK_DGRAM) as there,
        rig.a.socket(socket.SOCK_DGRAM) as here,
    ):
        for number in range(100):
            here.sendto(b"%d" % number, there.getsockname())
        event = rig.a.control.event(DEADLINE)
        assert isinstance(event, Acquire)
        assert (str(event.source), str(event.destination)) == (rig.a.v4, rig.b.v4)
        assert (event.reqid, event.protocol) == (7, socket.IPPROTO_UDP)
        assert (event.source_port, event.destination_port) == (here.getsockname()[1], there.getsockname()[1])
        end = time.monotonic() + DEADLINE
        while rig.a.control.totals().held < 100:
            assert time.monotonic() < end
        rig.add(rig.a, rig.b)
        for number in range(100):
            assert there.recv(100) == b"%d" % number
    totals = rig.a.control.totals()
    assert (totals.held, totals.held_lost) == (100, 0)
    assert 1 <= totals.acquires < 100


def test_only_so_many_packets_wait(rig: Any) -> None:
    with rig.a.socket(socket.SOCK_DGRAM) as here:
        for _ in range(400):
            here.sendto(b"x", (rig.b.v4, 9))
    end = time.monotonic() + DEADLINE
    while (totals := rig.a.control.totals()).held + totals.held_lost < 400:
        assert time.monotonic() < end
    assert totals.held == 256
    # They are not kept for long.
    while rig.a.control.totals().held_lost < 400:
        assert time.monotonic() < end
        time.sleep(0.1)


def events(control: Any, count: int) -> list[Any]:
    found = []
    for _ in range(count):
        event = control.event(DEADLINE)
        assert event is not None
        found.append(event)
    return found


def test_limits_of_packets(rig: Any) -> None:
    limits = {"limits": Limits(soft_packets=3, hard_packets=6)}
    outward, _ = rig.add(rig.a, rig.b, outbound=limits)
    rig.a.control.subscribe([Type.EVENT_EXPIRE])
    with rig.b.socket(socket.SOCK_DGRAM) as there, rig.a.socket(socket.SOCK_DGRAM) as here:
        for number in range(6):
            here.sendto(b"%d" % number, there.getsockname())
            assert there.recv(10) == b"%d" % number
    assert events(rig.a.control, 2) == [
        Expire(outward.name, 7, hard=False),
        Expire(outward.name, 7, hard=True),
    ]
    assert rig.a.control.sas() == []


def test_limits_of_time(rig: Any) -> None:
    _, short = rig.add(rig.a, rig.b, limits=Limits(soft_seconds=1, hard_seconds=3))
    _, idle = rig.add(rig.a, rig.b, limits=Limits(idle_seconds=1))
    rig.b.control.subscribe([Type.EVENT_EXPIRE])
    told = {(event.name.spi, event.hard) for event in events(rig.b.control, 3)}
    assert told == {(short.name.spi, False), (short.name.spi, True), (idle.name.spi, True)}
    assert rig.b.control.sas() == []


def test_a_key_is_taken_once(rig: Any) -> None:
    outward, _ = rig.add(rig.a, rig.b)
    rig.a.control.delete_sa(outward.name)
    with pytest.raises(EngineError) as caught:
        rig.a.control.add_sa(outward)
    assert caught.value.errno == errno.EKEYREJECTED
    assert rig.a.control.sas() == []


def test_a_name_is_taken_once(rig: Any) -> None:
    outward, _ = rig.add(rig.a, rig.b)
    with pytest.raises(EngineError) as caught:
        rig.a.control.add_sa(outward)
    assert caught.value.errno == errno.EEXIST


def test_a_peer_that_moves_is_told_of(rig: Any) -> None:
    """Packets of the peer come from another port, as behind a translator: a relay sends them on."""
    rig.both()
    relay = rig.a.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with relay:
        relay.settimeout(DEADLINE)
        relay.bind((rig.a.v4, 0))
        out, inward = (
            next(each.name for each in host.control.sas() if each.name.direction == direction)
            for host, direction in ((rig.a, 2 - 1), (rig.b, 2))
        )
        port = relay.getsockname()[1]
        rig.a.control.set_mapping(Mapping(out, 7, ipaddress.ip_address(rig.a.v4), port))
        rig.b.control.subscribe([Type.EVENT_MAPPING])
        with rig.b.socket(socket.SOCK_DGRAM) as there, rig.a.socket(socket.SOCK_DGRAM) as here:
            here.sendto(b"moved", there.getsockname())
            packet = relay.recv(2000)
            relay.sendto(packet, (rig.b.v4, 4500))
            assert there.recv(10) == b"moved"
            event = rig.b.control.event(DEADLINE)
            assert event == Mapping(inward, 7, ipaddress.ip_address(rig.a.v4), port)
            # A copy of it does not tell of anything.
            relay.sendto(packet, (rig.b.v4, 4500))
            # Until it is said, answers go where they went.
            there.sendto(b"old", here.getsockname())
            assert here.recv(10) == b"old"
            rig.b.control.set_mapping(event)
            there.sendto(b"new", here.getsockname())
            relay.sendto(relay.recv(2000), (rig.a.v4, 4500))
            assert here.recv(10) == b"new"
    assert rig.b.control.event(0) is None
    assert rig.b.control.totals().replayed == 1


def test_what_is_for_ike_is_dropped(rig: Any) -> None:
    with rig.a.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
        for packet in (b"\xff", bytes(4) + b"ike", b"", b"abc", secrets.token_bytes(100)):
            outside.sendto(packet, (rig.b.v4, 4500))
    end = time.monotonic() + DEADLINE
    while "wsasec_engine_not_ours_total 2\n" not in rig.b.control.metrics():
        assert time.monotonic() < end
    while (totals := rig.b.control.totals()).unknown_spi + totals.malformed < 2:
        assert time.monotonic() < end
    assert (totals.unknown_spi, totals.malformed, totals.received_packets) == (1, 1, 0)


def test_events_that_are_lost_are_told_of(rig: Any) -> None:
    rig.a.control.subscribe([Type.EVENT_EXPIRE])
    for _ in range(4000):
        rig.add(rig.a, rig.b, outbound={"limits": Limits(hard_seconds=1)})
    end = time.monotonic() + DEADLINE
    while rig.a.control.sas():
        assert time.monotonic() < end
        time.sleep(0.2)
    found = []
    while event := rig.a.control.event(2.0):
        found.append(event)
    lost = sum(isinstance(each, Lost) for each in found)
    assert len(found) == 4000 if not lost else len(found) - lost < 4000


def test_many_associations(rig: Any) -> None:
    """As many as there can be; each is found."""
    names = []
    for number in range(65536):
        key = secrets.token_bytes(20)
        association = rig.association(
            f"10.1.{number >> 8}.{number & 255}" if number >= 256 else f"10.2.0.{number}",
            rig.a.v4,
            2,
            key,
            0x10000 + number // 2,
            algorithm=Algorithm.AES_128_GCM,
        )
        rig.a.control.add_sa(association)
        names.append(association.name)
    with pytest.raises(EngineError) as caught:
        rig.add(rig.b, rig.a)
    assert caught.value.errno == errno.ENOSPC
    listed = rig.a.control.sas()
    assert {each.name for each in listed} == set(names)
    assert rig.a.control.sa(names[777]).name == names[777]
    here = ipaddress.ip_address(rig.a.v4)
    peer = names[777].source
    between = [name for name in names if name.source == peer]
    assert len(between) > 0
    assert [each.name for each in rig.a.control.sas_between(peer, here)] == between[::-1]
    assert [each.name for each in rig.a.control.sas_between(peer, None)] == between[::-1]
    assert rig.a.control.sas_between(here, None) == []
    assert [each.name for each in rig.a.control.sas_between(None, here)] == names[::-1]
    assert rig.a.control.sas_between(None, ipaddress.ip_address(rig.a.v6)) == []
    assert rig.a.control.reserve_spi(0x10000, 0x10000 + 40_000) >= 0x10000 + 32_768
    rig.a.control.flush_sas()
    assert rig.a.control.totals().sas == 0


def test_a_device_that_is_deleted_is_left(rig: Any) -> None:
    """Its queue is watched no more, as it would be said to be ready for ever."""
    rig.both()
    # One that is only down is not.
    rig.b.namespace.run(["ip", "link", "set", "ws7", "down"])
    with rig.a.socket(socket.SOCK_DGRAM) as here:
        here.sendto(b"lost", (rig.b.v4, 9))
    end = time.monotonic() + DEADLINE
    while not rig.b.control.totals().no_buffer:
        assert time.monotonic() < end
    rig.b.set_up()
    for number in (4, 6):
        rig.b.namespace.run(["ip", f"-{number}", "rule", "del", "oif", "ws7"])
    rig.b.route_to(rig.a)
    transfer(rig.b, rig.a, socket.AF_INET, 100_000)
    assert "is gone" not in rig.b.log.read_text()
    rig.b.namespace.run(["ip", "link", "del", "ws7"])
    end = time.monotonic() + DEADLINE
    while "device ws7 is gone" not in rig.b.log.read_text():
        assert time.monotonic() < end
        time.sleep(0.01)
    with rig.b.namespace.entered():
        queue = queues.attach("ws7")
        queues.set_offload(queue)
    rig.b.control.remove_device(7)
    rig.b.control.add_device(7, 0, "ws7", 1400, [queue])
    os.close(queue)
    rig.b.set_up()
    for number in (4, 6):
        rig.b.namespace.run(["ip", f"-{number}", "rule", "del", "oif", "ws7"])
    rig.b.route_to(rig.a)
    transfer(rig.a, rig.b, socket.AF_INET, 100_000)
    assert rig.b.log.read_text().count("is gone") == 1


@pytest.mark.parametrize("family", FAMILIES, ids=["v4", "v6"])
def test_what_is_too_big_is_answered(rig: Any, family: int) -> None:
    """The device's own MTU was raised above what the engine was told."""
    rig.both(family)
    rig.a.namespace.run(["ip", "link", "set", "ws7", "mtu", "1500"])
    if family == socket.AF_INET:
        level, discover, mtu = socket.IPPROTO_IP, 10, 14
    else:
        level, discover, mtu = socket.IPPROTO_IPV6, 23, 24
    with rig.b.socket(socket.SOCK_DGRAM, family) as there, rig.a.socket(socket.SOCK_DGRAM, family) as here:
        here.setsockopt(level, discover, 2)  # PMTUDISC_DO
        here.connect(there.getsockname()[:2])
        assert here.getsockopt(level, mtu) == 1500
        here.send(bytes(1450 - (28 if family == socket.AF_INET else 48)))
        end = time.monotonic() + DEADLINE
        while here.getsockopt(level, mtu) != 1400:
            assert time.monotonic() < end
        with contextlib.suppress(OSError):  # the message's error, told once
            here.send(b"1")
        here.send(b"2")
        assert there.recv(2000) in (b"1", b"2")
    assert rig.a.control.totals().too_big == 1


def test_metrics_say_what_the_totals_say(rig: Any) -> None:
    rig.both()
    datagrams(rig.a, rig.b, socket.AF_INET, [100] * 5)
    totals = rig.a.control.totals()
    sample = re.compile(r'(wsasec_engine_\w+)(?:\{((?:\w+="[^"]*",?)+)\})? (\d+)')
    found: dict[tuple[str, str | None], int] = {}
    types: dict[str, str] = {}
    for line in rig.a.control.metrics().splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in types
            types[name] = kind
        elif not line.startswith("# HELP "):
            matched = sample.fullmatch(line)
            assert matched, line
            assert matched[1] in types
            found[matched[1], matched[2]] = int(matched[3])
    assert found["wsasec_engine_sent_packets_total", None] == totals.sent_packets == 5
    assert found["wsasec_engine_sas", None] == 2
    assert types["wsasec_engine_sas"] == "gauge"
    (outward,) = (each for each in rig.a.control.sas() if each.name.direction == 1)
    labels = (
        f'spi="0x{outward.name.spi:08x}",direction="out",source="10.9.0.1",destination="10.9.0.2",reqid="7"'
    )
    assert found["wsasec_engine_sa_packets_total", labels] == outward.packets == 5


def test_it_has_no_privilege(rig: Any) -> None:
    rig.both()
    for task in Path(f"/proc/{rig.a.process.pid}/task").iterdir():
        status = dict(
            line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line
        )
        assert status["CapEff"].strip() == status["CapPrm"].strip() == "0" * 16
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"
    limits = Path(f"/proc/{rig.a.process.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


def test_it_ends_with_its_launcher(rig: Any) -> None:
    rig.a.control.close()
    assert rig.a.process.wait(DEADLINE) == 0


def listening(rig: Any, folder: Path) -> Path:
    """Have an engine listen for others; returns where."""
    path = folder / "control"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        rig.a.control.listen(listener.fileno())
    return path


def test_others_may_not_speak(rig: Any, tmp_path: Path) -> None:
    path = listening(rig, tmp_path)
    with Control(path) as control:
        assert control.hello().pid == rig.a.process.pid
        with pytest.raises(EngineError) as caught:
            control.remove_device(7)
        assert caught.value.errno == errno.EPERM
    if os.geteuid() != 0:
        pytest.skip("another user is needed")
    open_to_all(tmp_path)
    path.chmod(0o777)
    script = (
        "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(30);"
        f"s.connect({str(path)!r}); print(s.recv(100))"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-c", script],
        user=65534,
        group=65534,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "b''\n" or "ConnectionReset" in done.stderr, done.stderr


def test_descriptors_that_come_with_no_byte_are_closed(rig: Any, tmp_path: Path) -> None:
    """A message of no bytes is taken for the end of its connection, but what came with it is there."""
    path = listening(rig, tmp_path)

    def held() -> int:
        rig.a.control.hello()  # what was said before is done
        return len(list(Path(f"/proc/{rig.a.process.pid}/fd").iterdir()))

    before = held()
    for _ in range(5):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer, Path(os.devnull).open() as null:
            peer.settimeout(DEADLINE)
            peer.connect(str(path))
            rights = struct.pack("=20i", *[null.fileno()] * 20)
            peer.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            with contextlib.suppress(ConnectionResetError):
                assert peer.recv(100) == b""
    assert held() == before


def test_a_transport_is_let_go_of(rig: Any) -> None:
    """Its sockets are closed when that is answered: the port can be bound without SO_REUSEPORT."""
    rig.both()
    for family in FAMILIES:
        rig.a.control.add_transport(TransportKind.UDP, family, 4500, [])
    with rig.a.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 4500))
    with rig.a.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 4500))
        rig.a.control.add_transport(TransportKind.UDP, socket.AF_INET, 4500, [other.fileno()])
    transfer(rig.a, rig.b, socket.AF_INET, 100_000)


def test_a_transport_is_replaced_without_a_moment_with_none(rig: Any) -> None:
    """However many associations have to go from the old sockets to the new ones."""
    rig.add(rig.a, rig.b)
    for number in range(MANY):
        key = secrets.token_bytes(36)
        ends = (rig.a.v4, f"198.18.{number >> 8}.{number & 255}")
        rig.a.control.add_sa(rig.association(*ends, Direction.OUTBOUND, key, 0x10000 + number))
    stop = threading.Event()

    def send() -> None:
        with rig.a.socket(socket.SOCK_DGRAM) as sock:
            while not stop.is_set():
                sock.sendto(b"x", (rig.b.v4, 9))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        for _ in range(20):
            before = rig.a.control.totals().sent_packets
            with rig.a.namespace.entered(), rig.a._socket(socket.AF_INET) as sock:
                rig.a.control.add_transport(TransportKind.UDP, socket.AF_INET, 4500, [sock.fileno()])
            while rig.a.control.totals().sent_packets == before and thread.is_alive():
                pass
    finally:
        stop.set()
        thread.join()
    totals = rig.a.control.totals()
    assert (totals.no_buffer, totals.held_lost, totals.transports) == (0, 0, 4)


def rests(host: Any, thread: str) -> None:
    """Wait until a thread was found asleep a hundred times in a row: it has nothing to do."""
    (task,) = [
        each
        for each in Path(f"/proc/{host.process.pid}/task").iterdir()
        if (each / "comm").read_text().strip() == thread
    ]
    end = time.monotonic() + DEADLINE
    asleep = 0
    while asleep < 100:
        state = (task / "stat").read_text().rpartition(")")[2].split()[0]
        asleep = asleep + 1 if state == "S" else 0
        assert time.monotonic() < end


def test_errors_about_raw_packets_lose_none(make_rig: Any, sanitized: Callable[[str], Path]) -> None:
    """By IPv6 the socket is told of them, and ready until they are taken."""
    rig = make_rig(sanitized("address"), alone=True)
    association = rig.association(
        rig.a.v6, rig.b.v6, Direction.OUTBOUND, secrets.token_bytes(36), 0x1000, ports=None
    )
    rig.a.control.add_sa(association)
    esp = struct.pack(">II", 0x1000, 1)
    quote = ip_packet(rig.a.v6, rig.b.v6, socket.IPPROTO_ESP, esp)
    problem = struct.pack(">BBHI", 4, 1, 0, 6) + quote  # "parameter problem" (RFC 4443 3.4): the next header
    with (
        rig.a.socket(socket.SOCK_DGRAM, socket.AF_INET6) as here,
        rig.b.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as router,
        rig.b.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ESP) as there,
    ):
        there.settimeout(DEADLINE)
        for number in range(1, 1001):
            router.sendto(problem, (rig.a.v6, 0))
            here.sendto(b"x", (rig.b.v6, 9))
            assert there.recv(2000)[4:8] == struct.pack(">I", number)
    totals = rig.a.control.totals()
    assert (totals.sent_packets, totals.no_buffer) == (1000, 0)
    rests(rig.a, "wse-in-0")


@pytest.mark.parametrize("family", FAMILIES, ids=["v4", "v6"])
@pytest.mark.parametrize("discover", range(4), ids=["dont", "want", "do", "probe"])
def test_sockets_are_made_to_cut(rig: Any, family: int, discover: int) -> None:
    """Whatever who opened them had in mind about path MTU discovery."""
    rig.both(family)
    level, option = (socket.IPPROTO_IP, 10) if family == socket.AF_INET else (socket.IPPROTO_IPV6, 23)
    with rig.a.namespace.entered(), rig.a._socket(family) as sock:
        sock.setsockopt(level, option, discover)
        rig.a.control.add_transport(TransportKind.UDP, family, 4500, [sock.fileno()])
        assert sock.getsockopt(level, option) == 0
        datagrams(rig.a, rig.b, family, [1000, 40_000])
