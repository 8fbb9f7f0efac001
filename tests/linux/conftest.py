"""Tests on the host's kernel: each in a network namespace of its own, in time; no policy is left after it."""

from __future__ import annotations

import gc
import signal
import socket
import struct
import time
import warnings
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

import wsasec
from wsasec import profiles
from wsasec.lab import Namespace, missing_privileges, private

TEST_DEADLINE = 180
PATIENCE = 20.0

NETLINK_XFRM = 6
XFRM_MSG_GETSPDINFO = 0x25
NLM_F_REQUEST = 1
XFRMA_SPD_INFO = 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/linux/" in item.path.as_posix() or "/linux/" in item.path.as_posix():
            item.add_marker(pytest.mark.linux)


def policies() -> tuple[int, ...]:
    """Count those of the thread's network namespace: in, out, forward; then those of its sockets likewise."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM) as sock:
        sock.settimeout(PATIENCE)
        sock.send(struct.pack("=IHHIII", 20, XFRM_MSG_GETSPDINFO, NLM_F_REQUEST, 1, 0, 0xFFFFFFFF))
        answer = sock.recv(4096)
    kind, length, attribute = *struct.unpack_from("=4xH10x", answer), *struct.unpack_from("=HH", answer, 20)
    assert (kind, length, attribute) == (XFRM_MSG_GETSPDINFO - 1, 28, XFRMA_SPD_INFO), answer.hex()
    return struct.unpack_from("=6I", answer, 24)


def are_no_more(now: tuple[int, ...], then: tuple[int, ...]) -> bool:
    return all(one <= other for one, other in zip(now, then, strict=True))


def settles(condition: Callable[[], bool]) -> None:
    """Wait for it, but not for ever: the kernel frees some things a while after a socket was closed."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def deadline(nothing_left: None) -> Iterator[None]:
    """End a test that hangs, by name; one that uses the timer for itself is without this."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"the test took longer than {TEST_DEADLINE} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(TEST_DEADLINE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def realm(deadline: None) -> Iterator[Namespace]:
    missing = missing_privileges()
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: run as root, or under `unshare -Urn`")
    outside = policies()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wsasec.SecurityWarning)  # no ESP here; that is another test
        profiles.active()
        before = profiles.active()
        with private() as namespace:
            yield namespace
            gc.collect()  # a socket in a reference cycle (a traceback) is not yet closed
            wsasec.release_namespaces()
            settles(lambda: not any(policies()[3:]))
            of_sockets = policies()[3:]
        profiles.use(before)
    assert not any(of_sockets), f"policies of sockets left: {of_sockets} (in, out, forward)"
    # Other programs there may add and remove theirs.
    settles(lambda: are_no_more(policies(), outside))
    assert are_no_more(policies(), outside), "policies left in the namespace that the tests were started in"
