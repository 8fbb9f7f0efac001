"""From the samples of connections and traffic to figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any, Final

from .kinds import SECURED_KINDS, with_alike
from .latencies import merged
from .stats import figures, median_ratio

__all__ = ["summarize_connect", "summarize_loopback", "summarize_traffic"]

_PROOF: Final = ("esp", "clear", "neighbour", "dropped", "sa_bytes", "sa_bytes_back", "payload_bytes")

_BASES: Final = {"plain": "plain", "tls": "tls128", "policy": "system_policy"}
"""The kinds that ratios are to, by the name of the ratio."""

Sample = Mapping[str, Any]
Row = dict[str, Any]


def _groups(samples: Sequence[Sample], *fields: str) -> Iterator[tuple[tuple[Any, ...], list[Sample]]]:
    """Yield the samples that agree in the fields, with what they agree in."""
    keys = dict.fromkeys(tuple(sample[name] for name in fields) for sample in samples)
    for key in keys:
        yield key, [sample for sample in samples if tuple(sample[name] for name in fields) == key]


def _of_kind(samples: Sequence[Sample], kind: str) -> list[Sample]:
    return [sample for sample in samples if sample["kind"] == kind]


def _ratios(
    own: Sequence[Sample], alike: Sequence[Sample], figure: str, *names: str
) -> dict[str, float | None]:
    """Return the ratios to kinds of _BASES among samples that agree in all but the kind."""
    bases = {name: _of_kind(alike, with_alike(_BASES[name], own[0]["kind"])) for name in names}
    return {f"ratio_to_{name}": median_ratio(own, base, figure) for name, base in bases.items()}


def _connect(samples: Sequence[Sample]) -> Iterator[Row]:
    for (side, connections, kind), own in _groups(samples, "side", "connections", "kind"):
        alike = [s for s in samples if (s["side"], s["connections"]) == (side, connections)]
        yield {
            "kind": kind,
            "side": side,
            "connections": connections,
            "per_second": figures([s["per_second"] for s in own]),
            **_ratios(own, alike, "per_second", "plain", "tls"),
            "latency_us": merged([s["latency_us"] for s in own]),
        }


def _proof(samples: Sequence[Sample]) -> dict[str, int] | None:
    proofs = [sample["proof"] for sample in samples if sample["proof"]]
    return {name: sum(proof[name] for proof in proofs) for name in _PROOF} if proofs else None


def _cpu(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return processor seconds for 10**9 bytes, of the processes and of the whole machine, where measured."""
    found = {
        name: [sample[name] for sample in samples if sample.get(name) is not None]
        for name in ("cpu_per_gb", "machine_cpu_per_gb")
    }
    return {name: figures(taken) for name, taken in found.items() if taken}


def _throughput(samples: Sequence[Sample]) -> Iterator[Row]:
    for (streams, message, kind), own in _groups(samples, "streams", "message_bytes", "kind"):
        alike = [s for s in samples if (s["streams"], s["message_bytes"]) == (streams, message)]
        yield {
            "kind": kind,
            "streams": streams,
            "message_bytes": message,
            "gbit_per_second": figures([s["gbit_per_second"] for s in own]),
            **_ratios(own, alike, "gbit_per_second", *_BASES),
            "proof": _proof(own) if kind in SECURED_KINDS else None,
            **_cpu(own),
        }


def _latency(samples: Sequence[Sample]) -> Iterator[Row]:
    for (connections, message, kind), own in _groups(samples, "connections", "message_bytes", "kind"):
        alike = [s for s in samples if (s["connections"], s["message_bytes"]) == (connections, message)]
        yield {
            "kind": kind,
            "connections": connections,
            "message_bytes": message,
            "per_second": figures([s["per_second"] for s in own]),
            **_ratios(own, alike, "per_second", "plain"),
            "latency_us": merged([s["latency_us"] for s in own]),
        }


def _datagrams(samples: Sequence[Sample]) -> Iterator[Row]:
    for (message, kind), own in _groups(samples, "message_bytes", "kind"):
        alike = [s for s in samples if s["message_bytes"] == message]
        yield {
            "kind": kind,
            "message_bytes": message,
            "per_second": figures([s["per_second"] for s in own]),
            **_ratios(own, alike, "per_second", "plain"),
            "loss": mean(s["loss"] for s in own),
        }


def summarize_connect(data: Mapping[str, Any]) -> list[Row]:
    """Return rates, ratios and latencies, for each side, number of connections and kind."""
    return list(_connect(data["samples"]))


def summarize_traffic(data: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Return the figures of streams, requests and datagrams."""
    return {
        "throughput": list(_throughput(data["throughput_samples"])),
        "latency": list(_latency(data["latency_samples"])),
        "datagrams": list(_datagrams(data["datagram_samples"])),
    }


def summarize_loopback(data: Mapping[str, Any]) -> list[Row]:
    """Return Gbit/s and the ratio to iperf3, for each number of streams and kind."""
    rows = []
    for (streams, kind), own in _groups(data["samples"], "streams", "kind"):
        base = [s for s in _of_kind(data["samples"], "iperf3") if s["streams"] == streams]
        rows.append(
            {
                "kind": kind,
                "streams": streams,
                "message_bytes": own[0]["message_bytes"],
                "gbit_per_second": figures([s["gbit_per_second"] for s in own]),
                "ratio_to_iperf3": median_ratio(own, base, "gbit_per_second"),
            }
        )
    return rows
