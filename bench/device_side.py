"""Secure devices between two hosts on one wire; a process of its own, in no guest."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Final

import wsasec
from wsasec import engine, profiles

from .descriptor_limit import RESERVED, raise_descriptor_limit
from .device_cost import can_one_call, run_set_up, samples_of
from .device_memory import run_memory
from .device_rates import run_datagrams, run_requests, run_streams
from .device_ways import PROFILE, Ways, ways
from .events import emit
from .machine import describe_machine, describe_versions
from .plans import DevicePlan, device_plan
from .side import FAILURES, Progress, measured

__all__ = ["kinds_of", "main", "run"]

_DESCRIPTORS: Final = 20_000


def kinds_of(plan: DevicePlan) -> tuple[str, ...]:
    """Return the kinds of traffic of a plan, once each."""
    every = (
        *(kind for case in plan.throughput for kind in case.kinds),
        *(kind for case in plan.requests for kind in case.kinds),
        *plan.datagram_kinds,
    )
    return tuple(dict.fromkeys(every))


def _total(found: Ways, plan: DevicePlan, *, one_call: bool) -> int:
    """Return how many samples there will be."""
    cases: Iterable[tuple[tuple[str, ...], int]] = (
        *((case.kinds, case.repeats) for case in plan.throughput),
        *((case.kinds, case.repeats) for case in plan.requests),
        (plan.datagram_kinds, plan.datagram_repeats),
    )
    traffic = sum(len(found.present(kinds)) * repeats for kinds, repeats in cases)
    return traffic + samples_of(plan.set_up_repeats, one_call=one_call)


def _memory(found: Ways, plan: DevicePlan, errors: dict[str, str]) -> list[dict[str, Any]]:
    try:
        return list(run_memory(found, plan.associations, plan.flows))
    except FAILURES as error:  # what others have measured is kept
        errors["device memory"] = str(error)
        return []


def run(plan: DevicePlan) -> dict[str, Any]:
    """Measure.

    Returns:
        The samples; "errors", what could not be measured; "leaks", what was not protected; or "missing", why
        there can be no secure device here.

    Raises:
        LabError, OSError: the lab cannot be made.
    """
    if missing := engine.missing():
        return {"missing": missing}
    result: dict[str, Any] = {"errors": {}, "leaks": []}
    known = {profile.name: profile for profile in (profiles.DEFAULT, PROFILE)}
    profiles.use(profiles.Profiles(known, PROFILE))
    emit("phase", title="device", text="secure devices, plain, TLS and tunnels between two hosts")
    with ways(kinds_of(plan)) as found:
        with found.lab.a.entered():
            one_call = can_one_call(PROFILE)
            progress = Progress(_total(found, plan, one_call=one_call), result)
            samples = run_set_up(PROFILE, plan.sockets, plan.set_up_repeats, one_call=one_call)
            set_up = progress.take("device set-up", samples)
        return {
            **result,
            "machine": describe_machine(),
            "versions": describe_versions(),
            "kernel": os.uname().release,
            "mtu": found.lab.mtu,
            "sa_algorithm": found.lab.ends["b"].engine.control.sas()[0].algorithm.name,
            "crypto": found.crypto,
            "absent": found.absent,
            "setup_samples": set_up,
            "memory_samples": _memory(found, plan, result["errors"]),
            "throughput_samples": progress.take("device streams", run_streams(found, plan)),
            "latency_samples": progress.take("device requests", run_requests(found, plan)),
            "datagram_samples": progress.take("device datagrams", run_datagrams(found, plan)),
        }


def main(argv: Sequence[str]) -> int:
    """Measure; send the samples to the parent."""
    parser = argparse.ArgumentParser(prog="python -m wsasec.bench.device_side")
    parser.add_argument("plan", help="JSON of the plan")
    plan = device_plan(json.loads(parser.parse_args(argv).plan))
    warnings.simplefilter("ignore", wsasec.SecurityWarning)
    room = (raise_descriptor_limit(_DESCRIPTORS) - 2 * RESERVED) // 2
    return measured(lambda: run(plan.within(room)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
