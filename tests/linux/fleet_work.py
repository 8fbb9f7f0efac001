"""What the workers of tests/linux/test_fleet.py do; they import it by its name."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsasec import Histogram, SocketBatch, _wsasec


@dataclass
class Report:
    index: int
    latency: Histogram
    more: dict[str, Any]


class Unwritable(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


class Unreadable(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one}{two}")


def look(batch: SocketBatch, index: int) -> dict[str, Any]:
    with socket.socket(fileno=os.dup(batch[-1])) as last:
        peculiar = last.family, last.type, last.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)
    return {
        "index": index,
        "pid": os.getpid(),
        "count": len(batch),
        "profile": _wsasec.profile_of(batch[0]),
        "last": peculiar,
        "codes": batch.codes.count(0),
        "namespace": Path("/proc/thread-self/ns/net").stat().st_ino,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }


def record(batch: SocketBatch, index: int) -> Report:
    histograms = Histogram(), Histogram()
    histograms[0].record(10 * (index + 1))
    histograms[1].record(7)
    return Report(index, histograms[0], {"first": histograms[1], "sockets": len(batch)})


def when(batch: SocketBatch, index: int, seconds: float) -> tuple[float, float]:
    began = time.monotonic()
    time.sleep(seconds if index == 0 else 0.0)
    return began, time.monotonic()


def connect(batch: SocketBatch, index: int, address: Any) -> Any:
    return batch.connect(address, timeout=20)


def _raise(error: Exception) -> None:
    raise error


WAYS: dict[str, Callable[[], Any]] = {
    "value": lambda: _raise(ValueError("of worker 1")),
    "unwritable": lambda: _raise(Unwritable("of worker 1")),
    "unreadable": lambda: _raise(Unreadable(4, 5)),
    "answer": lambda: lambda: "not to be pickled",
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "exit": lambda: sys.exit(7),
    "abort": os.abort,
    "sleep": lambda: time.sleep(600),
}


def fail(batch: SocketBatch, index: int, which: int, how: str) -> Any:
    return WAYS[how]() if index == which else "fine"


def start_child(folder: str) -> None:
    """Leave a process that has all that this one has, and does not end; its number is a file's name."""
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(600)
    (Path(folder) / str(pid)).touch()


def leave_child(batch: SocketBatch, index: int, folder: str, *, die: bool) -> str:
    start_child(folder)
    if die and index == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return "fine"


def sleep(batch: SocketBatch, index: int) -> None:
    time.sleep(600)


def take(batch: SocketBatch, index: int, what: bytes) -> int:
    return len(what)


def spin(batch: SocketBatch, index: int, folder: str) -> None:
    """Never return; all but the first do not even heed signals. And leave a child each."""
    start_child(folder)
    if index:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    (Path(folder) / str(os.getpid())).touch()
    while True:
        pass
