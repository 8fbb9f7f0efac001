"""Throughput, requests and datagrams; a round is a measurement, with its figures in the extra information."""

from __future__ import annotations

from typing import Any

import pytest
from wsasec.bench.baselines import iperf3
from wsasec.bench.baselines.tls_pair import CIPHERS, TlsPair
from wsasec.bench.datagrams import datagram_rate
from wsasec.bench.ends import ENGINE_KINDS
from wsasec.bench.plans import Throughput, TrafficPlan
from wsasec.bench.request_latency import request_latency
from wsasec.bench.rounds import measure_rounds
from wsasec.bench.throughput import measure_throughput

from wsasec.lab import Lab

_WARM = 0.2


@pytest.mark.parametrize("message_bytes", [1024, 131_072])
@pytest.mark.parametrize("kind", [*ENGINE_KINDS, *CIPHERS, "iperf3"])
def test_throughput(
    kind: str,
    streams: int,
    message_bytes: int,
    seconds: float,
    rounds: int,
    lab: Lab,
    pairs: dict[str, TlsPair],
    benchmark: Any,
) -> None:
    """Streams that send as much as goes through; secured ones with the proof of it."""
    if kind == "iperf3" and not iperf3.available():
        pytest.skip("iperf3 is missing: apt-get install iperf3")
    if kind == "iperf3" and streams > iperf3.MAX_STREAMS:
        pytest.skip(f"iperf3 has at most {iperf3.MAX_STREAMS} streams")
    case = Throughput(streams, message_bytes, (kind,), 1)
    plan = TrafficPlan(_WARM, seconds, (case,), (), 0, 0, 1)

    def measure() -> dict[str, float]:
        return {"gbit_per_second": measure_throughput(lab, pairs, kind, case, plan)["gbit_per_second"]}

    benchmark.group = f"throughput, {streams:,} streams, {message_bytes:,} bytes"
    samples = measure_rounds(benchmark, rounds, measure)
    assert min(samples["gbit_per_second"]) > 0


@pytest.mark.parametrize("kind", ENGINE_KINDS)
def test_requests(kind: str, connections: int, seconds: float, rounds: int, lab: Lab, benchmark: Any) -> None:
    """Requests of 64 bytes, one at a time on each connection."""

    def measure() -> dict[str, float]:
        sample = request_latency(lab, kind, connections, request_bytes=64, warm=_WARM, seconds=seconds)
        percentiles = {f"{name}_us": sample["latency_us"][name] for name in ("p50", "p99", "p99_9")}
        return {"per_second": sample["per_second"], **percentiles}

    benchmark.group = f"requests, {connections:,} connections"
    samples = measure_rounds(benchmark, rounds, measure)
    assert min(samples["p50_us"]) > 0


@pytest.mark.parametrize("kind", ENGINE_KINDS)
def test_datagrams(kind: str, seconds: float, rounds: int, lab: Lab, benchmark: Any) -> None:
    """Datagrams of 1,000 bytes, as fast as they go."""

    def measure() -> dict[str, float]:
        sample = datagram_rate(lab, kind, datagram_bytes=1_000, warm=_WARM, seconds=seconds)
        return {"per_second": sample["per_second"], "loss": sample["loss"]}

    benchmark.group = "datagrams"
    samples = measure_rounds(benchmark, rounds, measure)
    assert min(samples["per_second"]) > 0
