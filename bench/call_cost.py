"""What a call of WSASetSocketSecurity costs on Windows, by every method, interleaved.

With the double of fwpuclnt.dll this is the cost of calling alone. With Windows' own library its work is in it
too, and each socket is secured once: sockets are made anew for each method in each repeat.
"""

from __future__ import annotations

import random
import socket
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns
from typing import Any, Final

import wsasec

from .baselines.winsock import bind_expert, bind_naive
from .clock import quiet
from .fwpuclnt import Library

__all__ = ["METHODS", "CallPlan", "order_of", "run"]

WARM_UPS: Final = 1
SOCKETS_A_SAMPLE: Final = 50_000
_SETTINGS: Final = wsasec.IpsecSettings(flags=wsasec.SecurityFlags.GUARANTEE_ENCRYPTION)

Sockets = Sequence[socket.socket]
Runner = Callable[[], object]
Listener = Callable[[dict[str, Any]], None]

METHODS: Final[Mapping[str, str]] = {
    "floor": "C loop in the double, which only calls",
    "secure_many": "secure_many, plain loop",
    "secure": "secure, one by one",
    "expert": "ctypes, by somebody who knows it",
    "naive": "ctypes, as it is first written",
}
"""Their titles by key, in the order of the tables; the first needs the double."""


@dataclass(frozen=True, slots=True)
class CallPlan:
    """How much is measured.

    Attributes:
        name: for the results.
        sizes: numbers of sockets, and how often each method is measured with so many.
    """

    name: str
    sizes: tuple[tuple[int, int], ...]


def order_of(methods: Sequence[str], repeat: int) -> list[str]:
    """Return the order for one repeat: another one each time, the same in every run."""
    order = list(methods)
    random.Random(repeat).shuffle(order)  # noqa: S311 - not for secrets
    return order


@contextmanager
def _made(count: int) -> Iterator[Sockets]:
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(socket.socket())  # noqa: PERF401 - those before a failure must be closed
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


def _each(act: Callable[[socket.socket], object], sockets: Sockets) -> Runner:
    def run() -> None:
        for sock in sockets:
            act(sock)

    return run


def _runner(method: str, library: Library, sockets: Sockets) -> Runner:
    """Return what is timed: methods that take one socket start from the object, the others from numbers."""
    numbers = array("i", (sock.fileno() for sock in sockets))
    settings = bytes(_SETTINGS)
    if method == "floor":
        return library.loop(numbers, settings)
    if method == "secure_many":
        return lambda: wsasec.secure_many(numbers, _SETTINGS, method="plain")
    if method == "secure":
        return _each(lambda sock: wsasec.secure(sock, _SETTINGS), sockets)
    bind = bind_expert if method == "expert" else bind_naive
    return _each(bind(library.library, settings), sockets)


def _timed(method: str, library: Library, sockets: Sockets) -> int:
    """Return the nanoseconds by the clock: that of the thread goes by 15 ms on Windows."""
    act = _runner(method, library, sockets)
    # What the clock and the caches do at first is little of so many; to Windows a socket is secured once.
    passes = max(1, SOCKETS_A_SAMPLE // len(sockets)) if library.double else 1
    with library.bare(), quiet():
        start = perf_counter_ns()
        for _ in range(passes):
            act()
        end = perf_counter_ns()
        if library.double and library.count != passes * len(sockets):
            raise RuntimeError(f"{method}: {library.count} calls for {passes} times {len(sockets)} sockets")
    return (end - start) // passes


def _measure(library: Library, count: int, repeats: int, told: Callable[[], None]) -> dict[str, list[int]]:
    methods = [method for method in METHODS if library.double or method != "floor"]
    samples: dict[str, list[int]] = {method: [] for method in methods}
    # To the double a socket is a number; to Windows it is secured once.
    with _made(count if library.double else 0) as kept:
        for repeat in range(repeats + WARM_UPS):
            for method in order_of(methods, repeat):
                with _made(0 if library.double else count) as fresh:
                    taken = _timed(method, library, kept or fresh)
                if repeat >= WARM_UPS:
                    samples[method].append(taken)
            told()
    return samples


def run(plan: CallPlan, library: Library, listen: Listener) -> dict[str, Any]:
    """Measure all methods.

    Args:
        plan: how much.
        library: what is called.
        listen: gets an event (see events.emit) after each repeat.

    Returns:
        Whether it was the double; nanoseconds for all sockets, by number of sockets and method.

    Raises:
        wsasec.SecurityError, OSError: sockets cannot be made or secured.
        RuntimeError: a method made other calls than one for each socket.
    """
    total = sum(count * (repeats + WARM_UPS) for count, repeats in plan.sizes)
    done = 0
    cells: list[dict[str, Any]] = []

    def tell(count: int) -> None:
        nonlocal done
        done += count
        listen({"event": "step", "done": done, "total": total, "text": f"{count:,} sockets"})

    for count, repeats in plan.sizes:
        samples = _measure(library, count, repeats, partial(tell, count))
        cells.append({"sockets": count, "samples": samples})
    return {"double": library.double, "settings_bytes": len(bytes(_SETTINGS)), "cells": cells}
