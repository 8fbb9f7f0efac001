"""What a socket takes of memory: here, by the allocator's account, and in the kernel, by that of its slabs.

A process of its own: what the core keeps for a descriptor is allocated once in a process.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import re
import socket
import sys
import time
import warnings
from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import wsasec
from wsasec.lab import LabError, enter_private_namespaces, missing_privileges, private

from .calls import Calls, prepare
from .descriptor_limit import raise_descriptor_limit, room_for
from .events import emit
from .stages import Work, plain_batch, secured_batch
from .stats import figures

__all__ = ["kernel_bytes", "main", "run", "user_bytes"]

_SETTLE: Final = 2.0
_LOOK: Final = 0.05


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def _allocator() -> Callable[[], int]:
    """Return a function that tells how many bytes malloc() has given out.

    Raises:
        RuntimeError: this C library does not tell.
    """
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        raise RuntimeError("user memory is told by glibc 2.33 or newer only") from None
    mallinfo2.restype = _Mallinfo2

    def given() -> int:
        now = mallinfo2()
        return int(now.uordblks + now.hblkhd)

    return given


def user_bytes(calls: Calls, count: int) -> dict[str, int]:
    """Return the bytes that malloc() gives out for securing so many sockets, and for a batch of as many.

    The first is true only once in a process.

    Raises:
        RuntimeError: this C library does not tell.
    """
    given = _allocator()
    sockets = [socket.socket(calls.family, calls.type) for _ in range(count)]
    try:
        numbers = array("i", (sock.fileno() for sock in sockets))
        gc.collect()
        before = given()
        wsasec.secure_many(numbers)
        many = given() - before
    finally:
        for sock in sockets:
            sock.close()
    del sockets
    gc.collect()
    before = given()
    batch = wsasec.SocketBatch(count, family=calls.family, type=calls.type)
    try:
        of_batch = given() - before
    finally:
        batch.close()
    return {"secure_many": many, "batch": many + of_batch}


def _slab() -> int:
    match = re.search(r"^Slab:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) << 10


def _settled() -> int:
    """Return the size of all slabs when it has come to rest: the kernel frees some things late."""
    deadline = time.monotonic() + _SETTLE
    before = _slab()
    while time.monotonic() < deadline:
        time.sleep(_LOOK)
        now = _slab()
        if abs(now - before) < 64 << 10:
            return now
        before = now
    return before


def kernel_bytes(
    stage: Callable[[Calls, int], AbstractContextManager[Work]], calls: Calls, count: int
) -> int:
    """Return by how much the kernel's slabs grow for so many sockets; as noisy as the machine is busy."""
    before = _settled()
    with stage(calls, count):
        return _settled() - before


def run(sockets: int, repeats: int) -> dict[str, Any]:
    """Measure in this network namespace; return samples and rows for the report."""
    calls = prepare()
    count = room_for(sockets, raise_descriptor_limit())
    try:
        user: dict[str, int] = user_bytes(calls, count)
    except RuntimeError as error:
        user = {}
        emit("note", text=str(error))
    kernel: dict[str, list[int]] = {"plain": [], "secured": []}
    for repeat in range(repeats + 1):
        for name, stage in (("plain", plain_batch), ("secured", secured_batch)):
            size = kernel_bytes(stage, calls, count)
            if repeat:  # the first fills the slabs' own stores
                kernel[name].append(size)
        emit("step", done=repeat + 1, total=repeats + 1, text="memory")
    return {"sockets": count, "user": user, "kernel": kernel}


def summarize_memory(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return rows of what, bytes a socket and a note; with their figures where there are samples."""
    count = data["sockets"]
    titles = {
        "secure_many": ("user space, secure_many", "state for each descriptor"),
        "batch": ("user space, SocketBatch", "that, the descriptors and their codes"),
    }
    rows = [
        {"what": titles[key][0], "bytes": size / count, "note": f"a socket of {count:,}: {titles[key][1]}"}
        for key, size in data["user"].items()
    ]
    plain, secured = (
        figures([size / count for size in data["kernel"][name]]) for name in ("plain", "secured")
    )
    growth = "growth of all slabs"
    return [
        *rows,
        {
            "what": "kernel, a plain TCP socket",
            "bytes": plain["median"],
            "note": growth,
            "figure": plain,
            "baseline": True,
        },
        {
            "what": "kernel, a secured TCP socket",
            "bytes": secured["median"],
            "note": growth,
            "figure": secured,
        },
        {
            "what": "kernel, for being secured",
            "bytes": secured["median"] - plain["median"],
            "note": "two policies: what the two rows above differ by",
            "derived": True,
        },
    ]


def main(argv: Sequence[str]) -> int:
    """Measure in a network namespace of this process's own."""
    parser = argparse.ArgumentParser(prog="python -m wsasec.bench.memory")
    parser.add_argument("plan", help="JSON: number of sockets, number of repeats")
    sockets, repeats = json.loads(parser.parse_args(argv).plan)
    warnings.simplefilter("ignore", wsasec.SecurityWarning)
    try:
        if missing_privileges():
            enter_private_namespaces()
        with private("bench"):
            emit("result", data=run(sockets, repeats))
    except (LabError, OSError, RuntimeError) as error:
        sys.stderr.write(f"wsasec bench: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
