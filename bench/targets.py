"""What the program is to reach, as ratios within one run, and whether it does."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Final, Literal

from .device_summary import set_up_ratios
from .kinds import CUBIC, with_alike
from .setup_summary import ratios_by_cell
from .stats import paired_ratios, summarize
from .wording import connections_title, kind_title, set_up_what, streams_title

__all__ = ["evaluate"]

_POLICY_STREAMS: Final = 1_000
_BATCH: Final = 15_000
_MANY_STREAMS: Final = 1_000
_MESSAGE: Final = 128 << 10
_OWN_CONGESTION: Final = ("device", "device" + CUBIC)

Sense = Literal["<=", ">="]
Cases = Mapping[str, Sequence[float]]
"""Samples by the name of the case in which they were taken; of each, one at least."""
Target = dict[str, Any]


def _target(name: str, cases: Cases, target: float, sense: Sense) -> Target:
    """Judge each case by its own median: they differ by more than chance, and one may fail alone."""
    found = {case: summarize(samples) for case, samples in cases.items()}
    within = operator.le if sense == "<=" else operator.ge
    medians = {case: summary.median for case, summary in found.items()}
    worst = (max if sense == "<=" else min)(medians, key=lambda case: medians[case], default=None)
    met = sum(within(value, target) for value in medians.values())
    return {
        "name": name,
        "value": median(sample for samples in cases.values() for sample in samples) if found else None,
        "target": target,
        "sense": sense,
        "met": met == len(found) if found else None,
        "unstable": any(summary.unstable for summary in found.values()),
        "worst": None if worst is None else medians[worst],
        "worst_case": worst,
        "cases": len(found),
        "cases_met": met,
    }


def _best(setup: Mapping[str, Any], methods: Sequence[str], base: str) -> Cases:
    """Return the ratios of the method with the lowest median, in each case another one perhaps."""
    found = [ratios_by_cell(setup, method, base) for method in methods]
    return {
        case: min((cases[case] for cases in found if case in cases), key=median)
        for case in dict.fromkeys(case for cases in found for case in cases)
    }


def _setup(setup: Mapping[str, Any]) -> Iterator[Target]:
    parallel = ("secure_many_io_uring", "secure_many_threads")
    user = {
        row["what"]: [row["bytes"]]
        for row in setup.get("memory", ())
        if row["what"] == "user space, SocketBatch"
    }
    yield _target(
        "secure_many, plain loop / C loop", ratios_by_cell(setup, "secure_many", "floor"), 1.05, "<="
    )
    yield _target("secure_many, io_uring or threads / C loop", _best(setup, parallel, "floor"), 0.85, "<=")
    yield _target(
        "SocketBatch of 15,000, plain loop / C loop",
        ratios_by_cell(setup, "batch", "floor_create", wanted=_BATCH),
        1.05,
        "<=",
    )
    yield _target(
        "ctypes, same checks / secure", ratios_by_cell(setup, "ctypes_checked", "secure"), 2.0, ">="
    )
    yield _target(
        "ctypes, same checks / secure_many",
        ratios_by_cell(setup, "ctypes_checked", "secure_many_auto"),
        3.0,
        ">=",
    )
    yield _target("user-space bytes a secured socket", user, 32.0, "<=")


def _paired(samples: Sequence[Mapping[str, Any]], figure: str, above: str, below: str) -> Cases:
    """Return the ratios of two kinds, by case, in the repeats that have both, each kind once."""
    taken = {(s["kind"], s["case"], s["repeat"]): s[figure] for s in samples if s["kind"] in (above, below)}
    pairs: dict[str, list[tuple[float, float]]] = {}
    for (kind, case, repeat), value in taken.items():
        if kind == above and (below, case, repeat) in taken:
            pairs.setdefault(case, []).append((value, taken[below, case, repeat]))
    ratios = {case: paired_ratios(*zip(*found, strict=True)) for case, found in pairs.items()}
    return {case: found for case, found in ratios.items() if found}


def _connect(connect: Mapping[str, Any]) -> Iterator[Target]:
    own = [
        {**s, "case": connections_title(s["connections"])}
        for s in connect["samples"]
        if s["side"] == "connect"
    ]
    plain = _paired(own, "per_second", "secured", "plain")
    yield _target("connect rate, secured / plain", plain, 0.7, ">=")
    tls = _paired(own, "per_second", "secured", "tls128")
    yield _target("connect rate, secured / TLS 1.3", tls, 10.0, ">=")


def _traffic(traffic: Mapping[str, Any]) -> Iterator[Target]:
    own = [
        {**s, "case": streams_title(s["streams"], s["message_bytes"])}
        for s in traffic["throughput_samples"]
        if s["streams"] == _POLICY_STREAMS
    ]
    yield _target(
        "throughput, a policy a socket / one for all, 1,000 streams",
        _paired(own, "gbit_per_second", "secured", "system_policy"),
        0.95,
        ">=",
    )


def _loopback(loopback: Mapping[str, Any]) -> Iterator[Target]:
    own = [{**s, "case": streams_title(s["streams"], s["message_bytes"])} for s in loopback["samples"]]
    ratios = _paired(own, "gbit_per_second", "plain", "iperf3")
    yield _target("throughput on loopback, plain / iperf3", ratios, 0.9, ">=")


def _between(
    samples: Sequence[Mapping[str, Any]],
    figure: str,
    above: Callable[[Mapping[str, Any]], bool],
    below: Callable[[Mapping[str, Any]], bool],
) -> list[tuple[float, float]]:
    """Return the figures of two sorts of samples in the repeats that have both."""
    under = {sample["repeat"]: sample[figure] for sample in samples if below(sample)}
    return [
        (sample[figure], under[sample["repeat"]])
        for sample in samples
        if above(sample) and sample["repeat"] in under
    ]


def _to_alike(samples: Sequence[Mapping[str, Any]], *bases: str) -> Cases:
    """Return the ratios of devices to bases with the same congestion control, by the bases' titles."""
    return {
        kind_title(with_alike(base, kind)): ratios
        for kind in _OWN_CONGESTION
        for base in bases
        for ratios in _paired(samples, "gbit_per_second", kind, with_alike(base, kind)).values()
    }


def _scaled(samples: Sequence[Mapping[str, Any]]) -> Cases:
    """Return the ratios of many streams to one, by the congestion control that they have."""
    found: dict[str, list[float]] = {}
    for kind in _OWN_CONGESTION:
        own = [s for s in samples if s["kind"] == kind]
        many = _between(
            own, "gbit_per_second", lambda s: s["streams"] == _MANY_STREAMS, lambda s: s["streams"] == 1
        )
        if many and (ratios := paired_ratios(*zip(*many, strict=True))):
            found[kind_title(kind)] = ratios
    return found


def _device(device: Mapping[str, Any]) -> Iterator[Target]:
    streams = [s for s in device["throughput_samples"] if s["message_bytes"] == _MESSAGE]
    one = [{**s, "case": ""} for s in streams if s["streams"] == 1]
    yield _target("device, one stream / TLS 1.3 by Python", _to_alike(one, "tls128", "tls256"), 1.5, ">=")
    yield _target("device, one stream / plain", _to_alike(one, "plain"), 0.35, ">=")
    yield _target("device, 1,000 streams / one", _scaled(streams), 0.9, ">=")
    requests = [
        {"kind": s["kind"], "repeat": s["repeat"], "p50": s["latency_us"]["p50"]}
        for s in device["latency_samples"]
        if s["connections"] == 1
    ]
    halves = _between(requests, "p50", lambda s: s["kind"] == "device", lambda s: s["kind"] == "plain")
    later = {"": [own - plain for own, plain in halves]} if halves else {}
    yield _target("device, p50 of a request less plain, µs", later, 60.0, "<=")
    set_up = set_up_ratios(device["setup_samples"])
    cases = {set_up_what(*case): ratios for case, ratios in set_up.items() if ratios}
    yield _target("set-up, device / policy", cases, 0.5, "<=")


_PARTS: Final = {
    "setup": _setup,
    "connect": _connect,
    "traffic": _traffic,
    "loopback": _loopback,
    "device": _device,
}


def evaluate(results: Mapping[str, Any]) -> list[Target]:
    """Return the targets of the parts that were measured, each judged in every case that can be compared.

    "value" is the median over all cases, "worst" that of the worst one; a target is met if every case meets
    it. None stands where nothing was to be compared.
    """
    return [
        target for part, targets in _PARTS.items() if part in results for target in targets(results[part])
    ]
