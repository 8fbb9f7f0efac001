"""What the program is to reach, as ratios within one run, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from .setup_summary import pooled_ratios
from .stats import paired_ratios, summarize

__all__ = ["evaluate"]

_POLICY_STREAMS: Final = 1_000
_BATCH: Final = 15_000

Sense = Literal["<=", ">="]


def _target(name: str, samples: Sequence[float], target: float, sense: Sense) -> dict[str, Any]:
    summary = summarize(samples) if samples else None
    value = summary.median if summary else None
    met = None if value is None else value <= target if sense == "<=" else value >= target
    unstable = summary.unstable if summary else False
    return {"name": name, "value": value, "target": target, "sense": sense, "met": met, "unstable": unstable}


def _best(setup: Mapping[str, Any], methods: Sequence[str], base: str) -> list[float]:
    """Return the ratios of the method with the lowest median."""
    found = [ratios for method in methods if (ratios := pooled_ratios(setup, method, base))]
    return min(found, key=lambda ratios: summarize(ratios).median, default=[])


def _setup(setup: Mapping[str, Any]) -> list[dict[str, Any]]:
    parallel = ("secure_many_io_uring", "secure_many_threads")
    user = [row["bytes"] for row in setup["memory"] if row["what"] == "user space, SocketBatch"]
    return [
        _target("secure_many, plain loop / C loop", pooled_ratios(setup, "secure_many", "floor"), 1.05, "<="),
        _target("secure_many, io_uring or threads / C loop", _best(setup, parallel, "floor"), 0.85, "<="),
        _target(
            "SocketBatch of 15,000, plain loop / C loop",
            pooled_ratios(setup, "batch", "floor_create", wanted=_BATCH),
            1.05,
            "<=",
        ),
        _target("ctypes, same checks / secure", pooled_ratios(setup, "ctypes_checked", "secure"), 2.0, ">="),
        _target(
            "ctypes, same checks / secure_many",
            pooled_ratios(setup, "ctypes_checked", "secure_many_auto"),
            3.0,
            ">=",
        ),
        _target("user-space bytes a secured socket", user, 32.0, "<="),
    ]


def _paired(samples: Sequence[Mapping[str, Any]], figure: str, above: str, below: str) -> list[float]:
    """Return the ratios of two kinds in the repeats that have both, each kind once."""
    taken = {(s["kind"], s["case"], s["repeat"]): s[figure] for s in samples if s["kind"] in (above, below)}
    pairs = [
        (value, taken[below, case, repeat])
        for (kind, case, repeat), value in taken.items()
        if kind == above and (below, case, repeat) in taken
    ]
    return paired_ratios([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def _connect(connect: Mapping[str, Any]) -> list[dict[str, Any]]:
    own = [{**s, "case": s["connections"]} for s in connect["samples"] if s["side"] == "connect"]
    plain = _paired(own, "per_second", "secured", "plain")
    tls = _paired(own, "per_second", "secured", "tls128")
    return [
        _target("connect rate, secured / plain", plain, 0.7, ">="),
        _target("connect rate, secured / TLS 1.3", tls, 10.0, ">="),
    ]


def _traffic(traffic: Mapping[str, Any]) -> list[dict[str, Any]]:
    own = [
        {**s, "case": (s["streams"], s["message_bytes"])}
        for s in traffic["throughput_samples"]
        if s["streams"] == _POLICY_STREAMS
    ]
    return [
        _target(
            "throughput, a policy a socket / one for all, 1,000 streams",
            _paired(own, "gbit_per_second", "secured", "system_policy"),
            0.95,
            ">=",
        )
    ]


def _loopback(loopback: Mapping[str, Any]) -> list[dict[str, Any]]:
    own = [{**s, "case": s["streams"]} for s in loopback["samples"]]
    ratios = _paired(own, "gbit_per_second", "plain", "iperf3")
    return [_target("throughput on loopback, plain / iperf3", ratios, 0.9, ">=")]


_PARTS: Final = {"setup": _setup, "connect": _connect, "traffic": _traffic, "loopback": _loopback}


def evaluate(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the targets of the parts that were measured; value and met are None where a base is missing."""
    return [
        target for part, targets in _PARTS.items() if part in results for target in targets(results[part])
    ]
