"""Fixtures of the tests of two kinds of ESP: the engine's at a, the kernel's at b."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

# The helpers beside this file; tests are no package, and pytest (importmode=importlib) adds no path.
sys.path.insert(0, str(Path(__file__).parent))

from pair import Pair, open_pair

from wsasec.lab.mixed import ALGORITHMS


@pytest.fixture(params=["udp", "raw"])
def encapsulation(request: pytest.FixtureRequest) -> str:
    """Both ways in which ESP travels."""
    return str(request.param)


@pytest.fixture(params=list(ALGORITHMS))
def algorithm(request: pytest.FixtureRequest) -> str:
    """Every algorithm that both kinds of ESP have."""
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["esn", "32bit"])
def esn(request: pytest.FixtureRequest) -> bool:
    """Both lengths of sequence numbers."""
    return bool(request.param)


@pytest.fixture(params=["engine", "kernel"])
def near(request: pytest.FixtureRequest) -> str:
    """Whose ESP is at a; with the kernel's at both ends a test tries itself."""
    return str(request.param)


@pytest.fixture
def make_pair(
    no_namespaces: None, deadline: None, family: socket.AddressFamily
) -> Callable[..., AbstractContextManager[Pair]]:
    """Return what opens a mixed lab; see `pair.open_pair`."""

    def make(**options: Any) -> AbstractContextManager[Pair]:
        return open_pair(family, **options)

    return make
