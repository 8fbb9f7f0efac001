"""Connections whose keys are negotiated; a process of its own, where the kernel has ESP."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

import wsasec
from wsasec import profiles
from wsasec.lab import Lab

from .descriptor_limit import raise_descriptor_limit
from .events import emit
from .key_hosts import key_hosts
from .key_rates import run_keys, steps
from .machine import describe_machine, describe_versions
from .plans import KeyPlan, key_plan
from .side import measured

__all__ = ["main", "run"]

_DESCRIPTORS: Final = 20_000


def _told(samples: Iterator[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    """Pass samples on, and tell the parent how far it is."""
    for done, sample in enumerate(samples, 1):
        emit("step", done=min(done, total), total=total, text=sample["what"])
        yield sample


def run(plan: KeyPlan) -> dict[str, Any]:
    """Make a lab, have its hosts negotiate, and measure.

    Raises:
        LabError, OSError: it cannot be made, or something failed.
    """
    with Lab(keys=False) as lab, key_hosts(lab) as known:
        profiles.use(known)
        told = _told(run_keys(lab, known, plan), steps(plan))
        samples = [sample for sample in told if not sample.pop("warm_up")]
    return {"machine": describe_machine(), "versions": describe_versions(), "samples": samples}


def main(argv: Sequence[str]) -> int:
    """Measure; leave the results in the folder WSASEC_LAB_RESULTS, or on standard output."""
    parser = argparse.ArgumentParser(prog="python -m wsasec.bench.key_side")
    parser.add_argument("plan", help="JSON of the plan")
    plan = key_plan(json.loads(parser.parse_args(argv).plan))
    warnings.simplefilter("ignore", wsasec.SecurityWarning)
    raise_descriptor_limit(_DESCRIPTORS)
    return measured(lambda: run(plan))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
