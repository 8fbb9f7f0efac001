"""Proof that secured traffic was secured: what passed the wire, and what passed the associations."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from wsasec.lab import Namespace

from .ends import Hosts
from .wire import Passed, Wire

__all__ = ["Account", "LeakError", "by_kernel", "check", "settle", "watched"]

# Of /proc/net/tcp, in hexadecimal: FIN_WAIT2, TIME_WAIT, CLOSE, LISTEN: they answer at most.
_SILENT: Final = frozenset({"05", "06", "07", "0A"})
_SETTLE: Final = 30.0
_LOOK: Final = 0.02


class LeakError(RuntimeError):
    """Something passed the wire that must not, or not where it must."""


def _moved(namespace: Namespace, destination: str) -> int:
    """Return the bytes that a host's associations to a destination have carried, by the kernel's account."""
    return sum(sa.bytes for sa in namespace.sas() if sa.dst == destination)


@dataclass(frozen=True, slots=True)
class Account:
    """What the associations of two hosts have carried.

    Attributes:
        moved: returns the bytes from the first to the second host, and those back, as the receivers count.
        spis: of associations whose packets are in datagrams.
    """

    moved: Callable[[], tuple[int, int]]
    spis: tuple[int, ...] = ()


def by_kernel(lab: Hosts) -> Account:
    """Take the kernel's account."""
    return Account(lambda: (_moved(lab.b, lab.b.v4), _moved(lab.a, lab.a.v4)))


def _busy(namespace: Namespace) -> Counter[str]:
    """Return how many connections can still send something of their own accord, by their state."""
    with namespace.entered():
        lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    return Counter(state for state in (line.split()[3] for line in lines) if state not in _SILENT)


def settle(lab: Hosts) -> None:
    """Wait until nothing is left of connections before: one without an owner may go on sending for a while.

    Raises:
        LeakError: there are still some after a long time.
    """
    deadline = time.monotonic() + _SETTLE
    while busy := _busy(lab.a) + _busy(lab.b):
        if time.monotonic() > deadline:
            raise LeakError(f"connections are left from before, by their state: {dict(busy)}")
        time.sleep(_LOOK)


@contextmanager
def watched(lab: Hosts, *, all_secured: bool, account: Account | None = None) -> Iterator[dict[str, Any]]:
    """Watch the wire during the block, which stores what the receiver got as "payload_bytes".

    Args:
        lab: the two hosts.
        all_secured: whether a single packet in clear is an error; else it is only counted.
        account: of the associations; None for the kernel's.

    Yields:
        The proof; complete after the block.

    Raises:
        LeakError: the proof failed.
    """
    settle(lab)
    account = account or by_kernel(lab)
    before = account.moved()
    proof: dict[str, Any] = {"payload_bytes": 0}
    with Wire(lab.a, account.spis) as wire:
        yield proof
    after = account.moved()
    proof |= {**asdict(wire.passed), "sa_bytes": after[0] - before[0], "sa_bytes_back": after[1] - before[1]}
    check(wire.passed, proof, all_secured=all_secured)


def check(passed: Passed, proof: dict[str, Any], *, all_secured: bool = True) -> None:
    """Raise LeakError if this proves nothing, or the contrary."""
    if all_secured and passed.clear:
        states = dict(passed.clear_by_state)
        raise LeakError(f"{passed.clear} packets of secured sockets were in clear: {states}")
    if all_secured and passed.dropped:
        raise LeakError(f"{passed.dropped} frames other than ESP could not be looked at: they prove nothing")
    if proof["sa_bytes"] < proof["payload_bytes"]:
        raise LeakError(
            f"{proof['payload_bytes']} bytes came in, and only {proof['sa_bytes']} passed the associations"
        )
