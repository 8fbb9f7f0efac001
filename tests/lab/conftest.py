"""Fixtures of the tests on the wire: two hosts, real ESP, every packet counted."""

from __future__ import annotations

import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from wsasec import profiles
from wsasec.lab import LabError, Namespace, esp_missing, missing_privileges

# The programs beside this file; tests are no package, and pytest (importmode=importlib) adds no path.
sys.path.insert(0, str(Path(__file__).parent))

from wire import Wire, open_wire

TEST_DEADLINE = 90
DESCRIPTORS = 4096


def _namespaces() -> set[tuple[int, int]]:
    """Return the network namespaces that a process is in or that this process holds."""
    found = set()
    for path in (*Path("/proc").glob("[0-9]*/ns/net"), *Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            if str(path.readlink()).startswith("net:"):
                status = path.stat()
                found.add((status.st_dev, status.st_ino))
    return found


@pytest.fixture(scope="session")
def esp() -> None:
    """Skip where the wire cannot be had, and make everything once that stays for the life of the process."""
    try:
        lack = esp_missing()
    except LabError as error:
        pytest.skip(f"{error}; run through `wsasec lab run -- pytest -m lab`")
    if lack is not None:
        pytest.skip(f"this kernel has {lack}; run through `wsasec lab run -- pytest -m lab`")
    if missing := missing_privileges():
        pytest.skip(f"needs {', '.join(missing)}; run through `wsasec lab run -- pytest -m lab`")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, max(hard, DESCRIPTORS)))
    # The lab starts children from one thread, which it keeps.
    with Namespace("warm-up") as namespace:
        namespace.run(["true"])
    profiles.active()


@pytest.fixture
def no_namespaces(esp: None) -> Iterator[None]:
    """Fail a test after which somebody is still in one of its namespaces, or holds one."""
    before = _namespaces()
    yield
    assert _namespaces() <= before, "network namespaces left"


@pytest.fixture
def test_seconds() -> int:
    """How long a test may take; one that needs more parametrizes it."""
    return TEST_DEADLINE


@pytest.fixture
def deadline(test_seconds: int) -> Iterator[None]:
    """End a test that hangs, by name, before the guest's own time is up."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"the test took longer than {test_seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(test_seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def family(request: pytest.FixtureRequest) -> socket.AddressFamily:
    """Both address families."""
    return socket.AddressFamily(request.param)


@pytest.fixture
def make_wire(
    no_namespaces: None, deadline: None, family: socket.AddressFamily
) -> Callable[..., AbstractContextManager[Wire]]:
    """Return what opens a lab under capture; see `wire.open_wire`."""

    def make(**options: Any) -> AbstractContextManager[Wire]:
        return open_wire(family, **options)

    return make


@pytest.fixture
def use_profiles(no_namespaces: None) -> Iterator[Callable[..., None]]:
    """Return what puts other profiles in use, the first of them as the default, for one test."""
    before = profiles.active()

    def use(*chosen: profiles.Profile) -> None:
        profiles.use(profiles.Profiles({profile.name: profile for profile in chosen}, chosen[0]))

    yield use
    profiles.use(before)
