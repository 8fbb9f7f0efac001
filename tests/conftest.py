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
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import hypothesis
import pytest

import wsasec

# The helpers of all tests; tests are no package, and pytest (importmode=importlib) adds no path.
sys.path.insert(0, str(Path(__file__).parent / "helpers"))

if sys.platform == "win32":
    import left_windows as leftovers
else:
    import left_linux as leftovers

# What cannot run on a system is not even collected there, as a test that is skipped is a failure in CI: the
# files and folders below this one, and why.
_LAB = "of wsasec.lab, which is made of Linux' network namespaces"
_BENCH = "of the parts of wsasec.bench that are for Linux"
_CERTIFICATES = "of files with keys and certificates, whose modes say who may read them"
NOT_HERE = (
    {
        "c": "the C code is compiled with Linux' backend and with a double, for Linux",
        "engine": "of the engine, which is for Linux",
        "lab": _LAB,
        "linux": "of Linux' backend",
        "unit/bench/html": _BENCH,
        "unit/bench/test_benchmarks.py": _BENCH,
        "unit/bench/test_cpu.py": _BENCH,
        "unit/bench/test_device.py": _BENCH,
        "unit/bench/test_iperf3.py": _BENCH,
        "unit/bench/test_methods.py": _BENCH,
        "unit/bench/test_setup_cost.py": _BENCH,
        "unit/bench/test_suite.py": _BENCH,
        "unit/bench/test_summaries.py": _BENCH,
        "unit/bench/test_tunnels.py": _BENCH,
        "unit/bench/test_wire.py": _BENCH,
        "unit/bench/test_wire_side.py": _BENCH,
        "unit/bench/test_worker.py": _BENCH,
        "unit/config/test_authority.py": _CERTIFICATES,
        "unit/config/test_files.py": _CERTIFICATES,
        "unit/config/test_init.py": _CERTIFICATES,
        "unit/config/test_schema.py": "of packages that are there on Linux only",
        "unit/doctor/test_linux_facts.py": "what the doctor finds on Linux, in folders as Linux has them",
        "unit/daemon": "of wsasec.daemon, which is for Linux",
        "unit/engine": "of wsasec.engine, which is for Linux",
        "unit/keys": "of wsasec.keys, which drives strongSwan",
        "unit/lab": _LAB,
        "unit/test_unprivileged.py": "of accounts as Linux has them",
    }
    if sys.platform == "win32"
    else {
        "unit/doctor/test_windows_facts.py": "what the doctor finds on Windows",
        "windows": "of Windows' backend",
    }
)
collect_ignore = list(NOT_HERE)


def pytest_report_header() -> list[str]:
    return [f"not on {sys.platform}: tests/{path}: {why}" for path, why in NOT_HERE.items()]


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


def _threads() -> set[threading.Thread]:
    """All but the one from which the lab starts processes: they die with the thread that started them."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("wsasec-lab-children")}


@pytest.fixture
def no_task_left() -> Iterator[None]:
    """No thread is left after the test, also none that Python does not know of."""
    before = leftovers.tasks()
    yield
    # A thread that was joined is listed for a moment longer.
    deadline = time.monotonic() + 20
    while left := leftovers.tasks() - before:
        assert time.monotonic() < deadline, f"threads left: {left}"
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    wsasec.release_namespaces()
    descriptors = leftovers.descriptors()
    threads = _threads()
    children = leftovers.children()
    # What there is already is none of this test's; to look through all of it takes longer than most tests do.
    gc.freeze()
    yield
    gc.collect()  # a socket in a reference cycle (a traceback) is not yet closed
    gc.unfreeze()
    wsasec.release_namespaces()
    left = {fd: what for fd, what in leftovers.descriptors().items() if descriptors.get(fd) != what}
    assert not left, f"descriptors left open: {left}"
    assert _threads() <= threads, "threads left"
    assert leftovers.children() <= children, "child processes left"


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
