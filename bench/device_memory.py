"""What the engine takes of memory: for an association, and for a flow."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from wsasec.engine import Algorithm, Association, AssociationName, Control, Direction, Secret

from .device_ways import PROFILE, Ways
from .ends import connected

__all__ = ["associations", "resident", "run_memory"]

_PEERS: Final = int(IPv4Address("198.18.0.1"))  # RFC 2544: for measurements, and of nobody
_FIRST_SPI: Final = 0x1000
_KIND: Final = "device"

Sample = dict[str, Any]


def resident(text: str) -> int:
    """Return the bytes of memory that a process has, by the text of its /proc/PID/status."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", text, re.MULTILINE)
    if found is None:
        raise OSError("the kernel does not tell how much memory a process has")
    return int(found[1]) << 10


def _resident(pid: int) -> int:
    return resident(Path(f"/proc/{pid}/status").read_text())


def associations(own: IPv4Address, count: int) -> Iterator[Association]:
    """Draw so many of them, in pairs: out to a peer of its own, and in from it. No two have the same key."""
    algorithm = Algorithm.AES_256_GCM
    for number in range(count):
        peer = IPv4Address(_PEERS + number // 2)
        direction = Direction.INBOUND if number % 2 else Direction.OUTBOUND
        source, destination = (peer, own) if number % 2 else (own, peer)
        yield Association(
            AssociationName(source, destination, _FIRST_SPI + number, direction),
            PROFILE.reqid,
            algorithm,
            Secret(secrets.token_bytes(algorithm.key_length)),
            ports=(4500, 4500),
        )


def _associations(control: Control, pid: int, own: IPv4Address, count: int) -> Sample:
    names = []
    before = _resident(pid)
    try:
        for association in associations(own, count):
            control.add_sa(association)
            names.append(association.name)
        growth = _resident(pid) - before
    finally:
        for name in names:
            control.delete_sa(name)
    return {"what": "association", "count": count, "growth": growth, "resident": before}


def _flows(found: Ways, count: int) -> Sample:
    lab = found.lab
    pid = lab.ends["b"].engine.hello().pid
    before = _resident(pid)
    with connected(lab.b, lab.a, _KIND, count, "echo"):
        growth = _resident(pid) - before
    return {"what": "flow", "count": count, "growth": growth, "resident": before}


def run_memory(found: Ways, count: int, flows: int) -> Iterator[Sample]:
    """Measure the engine of the second host: it has both directions of each association and flow.

    Raises:
        OSError: the kernel does not tell, or the engine refused an association.
    """
    yield _flows(found, flows)
    own = found.lab.b
    engine = found.lab.ends["b"].engine
    yield _associations(engine.control, engine.hello().pid, IPv4Address(own.v4), count)
