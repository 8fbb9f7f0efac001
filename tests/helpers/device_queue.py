"""A device's queue as the engine has it: what is written comes in, what is read was sent."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

VNET_HEADER = 10  # struct virtio_net_hdr without num_buffers; all zero: nothing is left to do


@dataclass(frozen=True)
class Inner:
    """A packet that was read: who, to whom, and what is above IP."""

    source: str
    destination: str
    protocol: int
    payload: bytes

    @property
    def ports(self) -> tuple[int, int]:
        source, destination = struct.unpack_from(">HH", self.payload)
        return source, destination

    @property
    def flags(self) -> int:
        return self.payload[13] if self.protocol == socket.IPPROTO_TCP else 0

    @property
    def sequence(self) -> int:
        return int(struct.unpack_from(">I", self.payload, 4)[0])


def inject(queue: int, packet: bytes) -> None:
    """Write a packet into the device, as the engine does."""
    os.write(queue, bytes(VNET_HEADER) + packet)


def _parse(packet: bytes) -> Inner:
    if packet[0] >> 4 == 6:
        ends = (socket.inet_ntop(socket.AF_INET6, packet[at : at + 16]) for at in (8, 24))
        return Inner(*ends, packet[6], packet[40:])
    ends = (socket.inet_ntoa(packet[at : at + 4]) for at in (12, 16))
    return Inner(*ends, packet[9], packet[(packet[0] & 15) * 4 :])


def wait_for(queue: int, wanted: Callable[[Inner], bool], patience: float = 20.0) -> Inner:
    """Read from the device until the packet comes; the kernel's own housekeeping comes, too."""
    poll = select.poll()
    poll.register(queue, select.POLLIN)
    deadline = time.monotonic() + patience
    seen = []
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            found = _parse(os.read(queue, 70000)[VNET_HEADER:])
            if wanted(found):
                return found
            seen.append(found)
    raise AssertionError(f"the packet did not come out of the device; these did: {seen}")
