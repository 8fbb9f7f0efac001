"""A peer of the engine that is a test: it has the keys, and sends what it likes."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from esp_packets import UDP_PORT, Association, udp
from frames import RingSniffer

from wsasec.engine import Algorithm, Direction, Totals

DEADLINE = 60.0
PORT = 7777
# The queue of a datagram socket takes so many small ones, however busy the machine is.
BATCH = 60
GOOD = b"the right thing"


def wait_until(condition: Callable[[], bool], what: Callable[[], Any]) -> None:
    """Wait for it, and fail with what there is instead."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.002)


class Peer:
    """The other end of an engine's associations.

    Attributes:
        engine: the host with the engine.
        inward: the association from here to the engine.
        outward: that from the engine to here.
        app: a datagram socket on the engine's device.
        sequence: of the last packet.
    """

    def __init__(self, rig: Any, family: int, *, chacha: bool = False, esn: bool = True, **more: Any) -> None:
        self.engine = rig.a
        self.family = family
        self.here, self.there = (rig.b.v4, rig.a.v4) if family == socket.AF_INET else (rig.b.v6, rig.a.v6)
        algorithm = Algorithm.CHACHA20_POLY1305 if chacha else Algorithm.AES_256_GCM
        self.sequence = 0
        self.exit = ExitStack()
        keys = []
        for number, (direction, ends) in enumerate(
            ((Direction.INBOUND, (self.here, self.there)), (Direction.OUTBOUND, (self.there, self.here)))
        ):
            key = bytes((number + 1 + at * 7 + family) & 255 for at in range(algorithm.key_length))
            rig.spi += 1
            options = more if direction == Direction.INBOUND else {}
            made = rig.association(*ends, direction, key, rig.spi, algorithm=algorithm, esn=esn, **options)
            self.engine.control.add_sa(made)
            keys.append(Association(rig.spi, key, chacha=chacha, esn=esn))
        self.inward, self.outward = keys
        self.socket = self.exit.enter_context(rig.b.socket(family, socket.SOCK_DGRAM))
        self.socket.settimeout(DEADLINE)
        self.socket.bind((self.here, UDP_PORT))
        self.app = self.exit.enter_context(self.engine.socket(socket.SOCK_DGRAM, family, PORT))
        self.app.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.device = self.exit.enter_context(RingSniffer(rig.a.namespace, "ws7"))
        self.before = self.totals()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.exit.close()

    def totals(self) -> Totals:
        return self.engine.control.totals()

    def put(self, esp: bytes) -> None:
        """Send a datagram as it is."""
        self.socket.sendto(esp, (self.there, UDP_PORT))

    def datagram(self, data: bytes) -> bytes:
        """Return a datagram for the program."""
        return udp((self.here, 5000), (self.there, PORT), data)

    def seal(self, data: bytes, sequence: int | None = None) -> bytes:
        """Return a packet with a datagram for the program, by default the next one."""
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        return self.inward.seal(sequence, self.datagram(data), socket.IPPROTO_UDP)

    def put_in_batches(self, packets: Iterable[bytes]) -> int:
        """Send hostile packets; after each batch the right one has to come through. Return how many."""
        count = 0
        for count, packet in enumerate(packets, 1):
            self.put(packet)
            if count % BATCH == 0:
                self.good()
        self.good()
        return count

    def good(self) -> None:
        """Have one datagram through, and nothing else."""
        data = GOOD + struct.pack(">Q", self.sequence)
        self.put(self.seal(data))
        assert self.app.recv(1 << 17) == data

    def delivered(self) -> list[bytes]:
        """Return the packets that went through the device towards the host, up to now."""
        source = socket.inet_pton(self.family, self.here)
        at = 12 if self.family == socket.AF_INET else 8
        return [packet for packet in self.device.frames() if packet[at : at + len(source)] == source]

    def counted(self) -> dict[str, int]:
        """Return what was counted since the beginning."""
        now = self.totals()
        names = ("received_packets", "unknown_spi", "malformed", "replayed", "forged", "no_buffer")
        counted = {name: getattr(now, name) - getattr(self.before, name) for name in names}
        # In the totals there is also what the host itself sends into the device and may not.
        counted["refused"] = sum(each.refused for each in self.engine.control.sas())
        return counted

    def wait_counted(self, **wanted: int) -> None:
        """Wait until so many were counted; what is not named is none, but for `received_packets`."""

        def found() -> dict[str, int]:
            counted = self.counted()
            return {name: n for name, n in counted.items() if n and name != "received_packets"}

        wait_until(lambda: found() == {name: n for name, n in wanted.items() if n}, lambda: (found(), wanted))

    def wait_refused(self, count: int, *names: str) -> None:
        """Wait until so many were counted under some names together, and none under others."""
        others = {"unknown_spi", "malformed", "replayed", "forged", "refused", "no_buffer"} - set(names)

        def found() -> dict[str, int]:
            return self.counted()

        wait_until(lambda: sum(found()[name] for name in names) == count, lambda: (found(), count))
        counted = found()
        assert not any(counted[name] for name in others), counted
