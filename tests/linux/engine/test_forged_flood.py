"""Forged ESP of a known SPI, as fast as a program can send it: what is right comes through all the same."""

from __future__ import annotations

import secrets
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from device_wire import DeviceWire, device_wire
from esp_packets import ESP, UDP_PORT, ip_packet, udp
from wire import Stream, receive, run_streams, wait_for

from wsasec.engine import AssociationState
from wsasec.lab import Namespace

PATIENCE = 150.0
BYTES = 4 << 20
AT_LEAST = 50_000
SIZES = (64, 1400)
ETHERNET = 14

# In a process of its own, which does not wait for the test's; it ends when its input does. Number and IV
# change so that the checksum of UDP stays right.
_ATTACKER = """
import select, socket, struct, sys
device, at, *frames = sys.argv[1:]
at = int(at)
frames = [bytes.fromhex(frame) for frame in frames]
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind((device, 0))
end = select.poll()
end.register(0)
sent, number = 0, 1 << 30
while not end.poll(0):
    for _ in range(100):
        for frame in frames:
            number += 1
            sock.send(frame[:at] + struct.pack(">II", number, number ^ 0xFFFFFFFF) + frame[at + 8 :])
            sent += 1
print(sent)
"""


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def family(request: pytest.FixtureRequest) -> socket.AddressFamily:
    return socket.AddressFamily(request.param)


def hardware(namespace: Namespace) -> bytes:
    with namespace.socket(socket.AF_PACKET, socket.SOCK_RAW) as probe:
        probe.bind((namespace.device, 0))
        return bytes(probe.getsockname()[4])


def forged(wire: DeviceWire, spi: int, size: int) -> tuple[bytes, int]:
    """Return a frame with a's addresses and ports and no right tag, and where the number is in it."""
    source, target = wire.host(wire.a), wire.host(wire.b)
    number = 1 << 30
    esp = struct.pack(">III", spi, number, number ^ 0xFFFFFFFF) + secrets.token_bytes(size - 12)
    if wire.engines.encapsulation == "udp":
        packet = ip_packet(
            source, target, socket.IPPROTO_UDP, udp((source, UDP_PORT), (target, UDP_PORT), esp)
        )
    else:
        packet = ip_packet(source, target, ESP, esp)
    kind = b"\x08\x00" if wire.family == socket.AF_INET else b"\x86\xdd"
    return hardware(wire.b) + hardware(wire.a) + kind + packet, ETHERNET + len(packet) - size + 4


@contextmanager
def attack(wire: DeviceWire, spi: int) -> Iterator[list[int]]:
    """Have forged packets sent from a's end of the wire; how many there were is in the list afterwards."""
    frames = [forged(wire, spi, size) for size in SIZES]
    (at,) = {at for _, at in frames}
    words = [sys.executable, "-c", _ATTACKER, wire.a.device, str(at), *(frame.hex() for frame, _ in frames)]
    pipe = subprocess.PIPE
    sent: list[int] = []
    with wire.a.popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield sent
            output, errors = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, errors
            sent.append(int(output))
        finally:
            process.kill()


def lost(namespace: Namespace) -> int:
    """Return how many packets the sockets of a host had no room for."""
    count = 0
    with namespace.entered():
        for name in ("udp", "udp6", "raw", "raw6"):
            lines = Path(f"/proc/thread-self/net/{name}").read_text().splitlines()
            assert lines[0].split()[-1] == "drops"
            count += sum(int(line.split()[-1]) for line in lines[1:])
    return count


def state(wire: DeviceWire, at: Namespace, source: Namespace) -> AssociationState:
    """Return what a host says of the association that protects what another one sends."""
    found = [
        each
        for each in wire.engines.end(at).engine.control.sas()
        if str(each.name.source) == wire.host(source)
    ]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("encapsulation", ["udp", "raw"])
def test_streams_under_attack(realm, family, encapsulation):
    """All of both streams arrives; the window has not moved, and only what is right counts as a packet."""
    with device_wire(family, encapsulation=encapsulation) as wire:
        far = wire.engines.end(wire.b).engine.control
        client, server, _ = wire.connection()
        far.subscribe()
        with attack(wire, state(wire, wire.b, wire.a).name.spi) as sent:
            wait_for(lambda: far.totals().forged > 0, "the attack has begun", PATIENCE)
            while far.totals().forged < AT_LEAST:
                run_streams(Stream(client, server, BYTES), Stream(server, client, BYTES), timeout=PATIENCE)
            # Also what is small, and comes once only.
            client.sendall(b"still there")
            assert receive(server, 11) == b"still there"
        wait_for(lambda: far.totals().forged + lost(wire.b) >= sent[0], "all were looked at", PATIENCE)
        # Nobody is said to be elsewhere, and nothing to be at its end, by who has no key.
        assert far.event(0) is None

        def counted() -> bool:
            """Where a socket was full, right packets were lost, too, and sent again."""
            out, into = state(wire, wire.a, wire.a), state(wire, wire.b, wire.a)
            back, home = state(wire, wire.b, wire.b), state(wire, wire.a, wire.b)
            assert into.forged <= sent[0]
            assert into.packets <= out.packets
            assert into.sequence <= out.sequence
            assert (into.replayed, into.refused) == (0, 0)
            assert (home.replayed, home.refused, home.forged) == (0, 0, 0)
            return (
                into.forged >= max(sent[0] - lost(wire.b), AT_LEAST)
                and into.packets >= out.packets - lost(wire.b)
                and home.packets + lost(wire.a) >= back.packets >= home.packets
            )

        wait_for(counted, "the counters of the associations are right", PATIENCE)
        totals = far.totals()
        assert (totals.forged, totals.unknown_spi, totals.malformed) == (
            state(wire, wire.b, wire.a).forged,
            0,
            0,
        )
