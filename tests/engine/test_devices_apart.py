"""What waits for associations: who floods one device leaves room for the others."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wsasec.engine import tun as queues

pytestmark = pytest.mark.linux

DEADLINE = 30.0
REQID, OTHER, THIRD = 7, 8, 9
HELD = 1024
DESTINATIONS = 256
A_DESTINATION = 256
BATCH = 64


@pytest.fixture
def host(make_rig: Any, sanitized: Callable[[str], Path]) -> Any:
    """A host with three devices, all of whose packets go anywhere, and no association."""
    host = make_rig(sanitized("address"), alone=True).a
    for reqid in (OTHER, THIRD):
        name = f"ws{reqid}"
        with host.namespace.entered():
            queue = queues.attach(name)
            queues.set_offload(queue)
        host.control.add_device(reqid, 0, name, 1400, [queue])
        os.close(queue)
        host.namespace.run(["ip", "link", "set", name, "mtu", "1400", "up"])
    for reqid in (REQID, OTHER, THIRD):
        route = f"ip route add default dev ws{reqid} src {host.v4} table {100 + reqid}"
        host.namespace.run(route.split())
        host.namespace.run(f"ip rule add oif ws{reqid} lookup {100 + reqid} pref 1".split())
    return host


def send(host: Any, reqid: int, targets: list[int]) -> int:
    """Send a datagram to each; return how many were held."""
    before = host.control.totals()
    with host.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"ws%d" % reqid)
        sock.bind((host.v4, 0))
        for first in range(0, len(targets), BATCH):
            batch = targets[first : first + BATCH]
            for target in batch:
                sock.sendto(b"x", (f"198.18.{target >> 8}.{target & 255}", 9))
            end = time.monotonic() + DEADLINE
            # The queue of a device has room for so many only.
            while (totals := host.control.totals()).held + totals.held_lost < (
                before.held + before.held_lost + first + len(batch)
            ):
                assert time.monotonic() < end
    return int(totals.held - before.held)


def test_packets(host: Any) -> None:
    """Each finds half of what the others left."""
    many = [1 + number // A_DESTINATION for number in range(5 * A_DESTINATION)]
    assert send(host, REQID, many) == HELD // 2
    assert send(host, OTHER, many) == HELD // 4
    assert send(host, THIRD, [1] * 100) == 100


def test_destinations(host: Any) -> None:
    many = list(range(1, DESTINATIONS + 50))
    assert send(host, REQID, many) == DESTINATIONS // 2
    assert send(host, OTHER, many) == DESTINATIONS // 4
    assert send(host, THIRD, many[:30]) == 30


def test_a_share_is_given_back(host: Any) -> None:
    """When what waited was dropped, as much may wait again."""
    many = [1 + number // A_DESTINATION for number in range(3 * A_DESTINATION)]
    spread = list(range(1, DESTINATIONS + 50))
    sent = 0
    for targets, share in 2 * ((many, HELD // 2), (spread, DESTINATIONS // 2)):
        assert send(host, REQID, targets) == share
        sent += len(targets)
        end = time.monotonic() + DEADLINE
        while host.control.totals().held_lost < sent:  # none waits any more
            assert time.monotonic() < end
            time.sleep(0.1)
