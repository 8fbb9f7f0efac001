"""Connections made and accepted; a round is a batch of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from wsasec.bench.baselines.tls_pair import CIPHERS, TlsPair
from wsasec.bench.connect_rate import accept_rate, connect_rate, tls_rate
from wsasec.bench.rounds import measure_rounds

from wsasec.lab import Lab


def _measure(benchmark: Any, rounds: int, group: str, rate: Callable[[], dict[str, Any]]) -> None:
    benchmark.group = group
    samples = measure_rounds(benchmark, rounds, lambda: {"per_second": rate()["per_second"]}, warm_ups=1)
    assert min(samples["per_second"]) > 0


@pytest.mark.parametrize("kind", ["secured", "plain"])
def test_connect(kind: str, connections: int, rounds: int, lab: Lab, benchmark: Any) -> None:
    """The time is that of the whole measurement; the rates are in the extra information."""
    group = f"connect, {connections:,} connections"
    _measure(benchmark, rounds, group, lambda: connect_rate(lab, kind, connections))


@pytest.mark.parametrize("kind", ["secured", "plain"])
def test_accept(kind: str, connections: int, rounds: int, lab: Lab, benchmark: Any) -> None:
    """Connections that stand already."""
    group = f"accept, {connections:,} connections"
    _measure(benchmark, rounds, group, lambda: accept_rate(lab, kind, connections))


@pytest.mark.parametrize("kind", CIPHERS)
def test_tls(kind: str, connections: int, rounds: int, pairs: dict[str, TlsPair], benchmark: Any) -> None:
    """TLS 1.3, by Python's ssl."""
    group = f"connect, {connections:,} connections"
    _measure(benchmark, rounds, group, lambda: tls_rate(pairs[kind], kind, connections))
