"""After each test nothing is left: no descriptor, no thread, no child process."""

from __future__ import annotations

import ctypes
import gc
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import hypothesis
import pytest

import wsasec

# Not even collected where they cannot run, as a test that is skipped is a failure in CI.
collect_ignore = ["c", "lab", "linux", "unit/bench", "unit/lab"] if sys.platform == "win32" else ["windows"]

# A shell starts what runs in the background with Ctrl-C ignored, which the tests' own children would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


# A fixture is made once for all examples: the tests below it are written for that. How long an example takes
# depends on what else this machine does.
hypothesis.settings.register_profile(
    "wsasec",
    deadline=None,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.function_scoped_fixture,
    ],
)
hypothesis.settings.load_profile("wsasec")


# Elsewhere neither descriptors nor processes are looked for.
_HAS_PROC = sys.platform == "linux"


def _descriptors() -> dict[str, str]:
    found: dict[str, str] = {}
    if not _HAS_PROC:
        return found
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:  # the descriptor by which the folder is read
            continue
    return found


def _threads() -> set[threading.Thread]:
    """All but the one from which the lab starts processes: they die with the thread that started them."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("wsasec-lab-children")}


def _children() -> set[str]:
    found: set[str] = set()
    if not _HAS_PROC:
        return found
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found.update((task / "children").read_text().split())
    return found


def _tasks() -> set[str]:
    return {task.name for task in Path("/proc/self/task").iterdir()} if _HAS_PROC else set()


@pytest.fixture
def no_task_left() -> Iterator[None]:
    """No thread is left after the test, also none that Python does not know of."""
    before = _tasks()
    yield
    # A thread that was joined is listed for a moment longer.
    deadline = time.monotonic() + 20
    while left := _tasks() - before:
        assert time.monotonic() < deadline, f"threads left: {left}"
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    wsasec.release_namespaces()
    descriptors = _descriptors()
    threads = _threads()
    children = _children()
    yield
    gc.collect()  # a socket in a reference cycle (a traceback) is not yet closed
    wsasec.release_namespaces()
    left = {fd: what for fd, what in _descriptors().items() if descriptors.get(fd) != what}
    assert not left, f"descriptors left open: {left}"
    assert _threads() <= threads, "threads left"
    assert _children() <= children, "child processes left"


_CAP_NET_ADMIN = 12
_CAPABILITY_VERSION_3 = 0x20080522


@contextmanager
def _without_net_admin() -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    before = ctypes.create_string_buffer(24)
    assert libc.capget(header, before) == 0
    effective, *rest = struct.unpack("=6I", before.raw)
    assert libc.capset(header, struct.pack("=6I", effective & ~(1 << _CAP_NET_ADMIN), *rest)) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


@pytest.fixture
def without_net_admin() -> Callable[[], AbstractContextManager[None]]:
    """Return what takes CAP_NET_ADMIN from the calling thread for a while."""
    return _without_net_admin
