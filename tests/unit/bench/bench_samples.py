"""Samples as the measuring processes send them, with figures that are easy to foresee."""

from __future__ import annotations

from typing import Any

from wsasec.bench.machine import describe_machine, describe_versions
from wsasec.bench.methods import METHODS
from wsasec.bench.summary import summarized

import wsasec

COSTS = {method.key: 1000 * (number + 2) for number, method in enumerate(METHODS)}
RATES = {"plain": 8.0, "secured": 0.08, "system_policy": 0.1, "tls128": 0.8, "tls256": 0.7, "iperf3": 6.4}
CONNECTS = {"secured": 4_000, "plain": 5_000, "tls128": 400, "tls256": 300}
NOISE = (1.0, 1.01, 0.99)
PROOF = {
    "esp": 5,
    "clear": 0,
    "neighbour": 1,
    "dropped": 0,
    "clear_by_state": {},
    "sa_bytes": 2_000_000,
    "sa_bytes_back": 50,
    "payload_bytes": 1_900_000,
}


def setup_data(noise: tuple[float, ...] = NOISE, sockets: int = 100) -> dict[str, Any]:
    def samples(cost: int) -> list[dict[str, int]]:
        return [{"ns": int(sockets * cost * part), "cpu_ns": sockets * cost} for part in noise]

    def cell(family: str, kind: str, *, main: bool) -> dict[str, Any]:
        taken = {m.key: samples(COSTS[m.key]) for m in METHODS if m.main or not main}
        return {"family": family, "type": kind, "wanted": sockets, "sockets": sockets, "samples": taken}

    cells = [cell("inet", "stream", main=False), cell("inet6", "dgram", main=True)]
    return {"descriptor_limit": 1024, "notes": [], "cells": cells}


def memory_data() -> dict[str, Any]:
    kernel = {"plain": [380_000, 370_000, 390_000], "secured": [580_000, 585_000, 575_000]}
    return {"sockets": 100, "user": {"secure_many": 1_600, "batch": 2_400}, "kernel": kernel}


def latency(*microseconds: int) -> dict[str, Any]:
    histogram = wsasec.Histogram()
    for each in microseconds:
        histogram.record(each)
    return histogram.to_dict()


def connect_data() -> dict[str, Any]:
    def sample(kind: str, side: str, connections: int, repeat: int) -> dict[str, Any]:
        rate = CONNECTS[kind] * (3 if side == "accept" else 1)
        return {
            "kind": kind,
            "side": side,
            "connections": connections,
            "repeat": repeat,
            "per_second": float(rate + repeat),
            "latency_us": latency(100, 200 + repeat)
            if side == "connect" and not kind.startswith("tls")
            else None,
        }

    cases = [("secured", 50), ("secured", 500), ("plain", 50), ("plain", 500), ("tls128", 50), ("tls256", 50)]
    samples = [sample(kind, "connect", n, repeat) for repeat in range(2) for kind, n in cases]
    samples += [sample(kind, "accept", 50, repeat) for repeat in range(2) for kind in ("secured", "plain")]
    return {"machine": {**describe_machine(), "guest": True}, "samples": samples}


def traffic_data() -> dict[str, Any]:
    throughput = [
        {
            "kind": kind,
            "streams": streams,
            "message_bytes": 131_072,
            "repeat": repeat,
            "gbit_per_second": RATES[kind] * (1 + repeat / 100),
            "proof": PROOF if kind in ("secured", "system_policy") else None,
        }
        for repeat in range(2)
        for streams in (1, 1_000)
        for kind in RATES
    ]
    requests = [
        {
            "kind": kind,
            "connections": 64,
            "message_bytes": 64,
            "repeat": repeat,
            "per_second": 4_000.0,
            "latency_us": latency(150, 250),
        }
        for repeat in range(2)
        for kind in ("secured", "system_policy", "plain")
    ]
    datagrams = [
        {"kind": kind, "message_bytes": 1_000, "repeat": repeat, "per_second": 9_000.0, "loss": 0.1 * repeat}
        for repeat in range(2)
        for kind in ("secured", "system_policy", "plain")
    ]
    return {
        "machine": {**describe_machine(), "guest": True},
        "kernel": "6.1.0",
        "mtu": 1500,
        "sa_algorithm": "rfc4106(gcm(aes))",
        "aes_driver": "generic",
        "throughput_samples": throughput,
        "latency_samples": requests,
        "datagram_samples": datagrams,
    }


def loopback_data() -> dict[str, Any]:
    samples = [
        {
            "kind": kind,
            "streams": 1,
            "message_bytes": 131_072,
            "repeat": repeat,
            "gbit_per_second": RATES[kind] * (1 + repeat),
        }
        for repeat in range(2)
        for kind in ("plain", "iperf3")
    ]
    return {"notes": [], "samples": samples}


def keys_data() -> dict[str, Any]:
    cases = (("first connection", "µs", 90_000.0, 300.0), ("query", "µs", 150.0, None))
    samples = [
        {"what": what, "kind": kind, "unit": unit, "repeat": repeat, "value": value + repeat}
        for repeat in range(2)
        for what, unit, secured, plain in cases
        for kind, value in (("secured", secured), ("plain", plain))
        if value is not None
    ]
    return {"machine": {**describe_machine(), "guest": True}, "samples": samples}


def device_data() -> dict[str, Any]:
    rates = {"device": 3.0, "plain": 8.0, "tls128": 2.0, "tls256": 1.5, "tls256_c": 2.5, "wireguard": 0.2}
    p50 = {"device": 100, "plain": 50, "wireguard": 200}
    costs = {"device": 1_000, "policy": 4_000}
    batch = {"device": 3_000, "policy": 6_000, "plain": 2_000}
    throughput = [
        {
            "kind": kind,
            "streams": streams,
            "message_bytes": 131_072,
            "repeat": repeat,
            "gbit_per_second": rate * (1 + repeat / 100) * (0.95 if streams > 1 else 1),
            "cpu_per_gb": 4.0,
            "machine_cpu_per_gb": None if kind == "wireguard" else 5.0,
            "proof": PROOF if kind == "device" else None,
        }
        for repeat in range(2)
        for streams in (1, 1_000)
        for kind, rate in rates.items()
    ]
    requests = [
        {
            "kind": kind,
            "connections": 1,
            "message_bytes": 64,
            "repeat": repeat,
            "per_second": 1e6 / each,
            "latency_us": latency(each, each, each),
        }
        for repeat in range(2)
        for kind, each in p50.items()
    ]
    datagrams = [
        {"kind": kind, "message_bytes": 64, "repeat": repeat, "per_second": 1e5 * rate, "loss": 0.5}
        for repeat in range(2)
        for kind, rate in rates.items()
        if not kind.startswith("tls")
    ]
    set_up = [
        {
            "kind": kind,
            "what": what,
            "family": family,
            "sockets": 100,
            "repeat": repeat,
            "ns": cost * 110,
            "cpu_ns": cost * 100,
        }
        for repeat in range(2)
        for family in ("inet", "inet6")
        for what in ("options", "secure_many", "secure", "batch")
        for kind, cost in (batch if what == "batch" else costs).items()
    ]
    memory = [
        {"what": "flow", "count": 100, "growth": 0, "resident": 4_000_000},
        {"what": "association", "count": 1_000, "growth": 1_500_000, "resident": 4_000_000},
    ]
    return {
        "machine": describe_machine(),
        "mtu": 1500,
        "sa_algorithm": "AES_256_GCM",
        "crypto": {"device": "ipsec-mb 1.3.0"},
        "absent": {"libipsec": "kernel-libipsec is missing"},
        "throughput_samples": throughput,
        "latency_samples": requests,
        "datagram_samples": datagrams,
        "setup_samples": set_up,
        "memory_samples": memory,
    }


PARTS = ("setup", "loopback", "connect", "traffic", "keys", "device")


def samples(noise: tuple[float, ...] = NOISE) -> dict[str, Any]:
    """What suite._measure() returns for all parts."""
    return {
        "setup": {**setup_data(noise), "memory_samples": memory_data()},
        "loopback": loopback_data(),
        "connect": connect_data(),
        "traffic": traffic_data(),
        "keys": keys_data(),
        "device": device_data(),
        "errors": {},
        "leaks": [],
    }


def parts(noise: tuple[float, ...] = NOISE) -> dict[str, Any]:
    """The same with figures."""
    found = summarized(samples(noise))
    return {part: found[part] for part in PARTS}


def results(noise: tuple[float, ...] = NOISE) -> dict[str, Any]:
    return summarized(
        {
            "format": "wsasec-bench/2",
            "effort": "quick",
            "started": "2026-01-01T00:00:00+00:00",
            "finished": "2026-01-01T00:02:00+00:00",
            "machine": {**describe_machine(), "aes_instructions": True},
            "versions": describe_versions(),
            "notes": ["[not] markup"],
            **samples(noise),
        }
    )
