"""Sizes of the benchmark's cases, and where they run; by default small ones, so that all end within minutes.

WSASEC_BENCH_SOCKETS, WSASEC_BENCH_CONNECTIONS and WSASEC_BENCH_STREAMS are numbers with commas between them,
WSASEC_BENCH_SECONDS is how long traffic is measured, WSASEC_BENCH_ROUNDS how often everything is.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

import pytest
from wsasec.bench.baselines.tls_pair import TlsPair, tls_pairs
from wsasec.bench.descriptor_limit import raise_descriptor_limit

import wsasec
from wsasec.lab import Lab, esp_missing, missing_privileges, private

_SIZES = {
    "sockets": ("WSASEC_BENCH_SOCKETS", "1000,5000,15000"),
    "connections": ("WSASEC_BENCH_CONNECTIONS", "200,1000"),
    "streams": ("WSASEC_BENCH_STREAMS", "1,16,256"),
}


def _numbers(name: str) -> list[int]:
    variable, default = _SIZES[name]
    return [int(word) for word in os.environ.get(variable, default).split(",")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every case its sizes."""
    for name in _SIZES:
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, _numbers(name))


@pytest.fixture(scope="session")
def rounds() -> int:
    """How often a case is measured."""
    return int(os.environ.get("WSASEC_BENCH_ROUNDS", "5"))


@pytest.fixture(scope="session")
def seconds() -> float:
    """How long traffic is measured."""
    return float(os.environ.get("WSASEC_BENCH_SECONDS", "1"))


@pytest.fixture(scope="session", autouse=True)
def prepared() -> Iterator[None]:
    """Many descriptors, and no word of what this kernel lacks: the cases say that themselves."""
    raise_descriptor_limit(20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wsasec.SecurityWarning)
        yield


@pytest.fixture(scope="session")
def namespace() -> Iterator[None]:
    """A network namespace of the session's own."""
    if missing := missing_privileges():
        pytest.skip(f"needs {', '.join(missing)}: run it as root, or under `unshare -Urn`")
    with private("bench"):
        yield


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Two hosts on one wire, with security associations."""
    if missing := missing_privileges() or esp_missing():
        what = missing if isinstance(missing, str) else ", ".join(missing)
        pytest.skip(f"needs {what}: run it by `wsasec lab run -- python -m pytest ...`")
    with Lab() as made:
        yield made


@pytest.fixture(scope="session")
def pairs(lab: Lab) -> Iterator[dict[str, TlsPair]]:
    """TLS between the two hosts."""
    with tls_pairs(lab) as made:
        yield made
