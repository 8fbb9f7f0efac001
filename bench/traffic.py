"""Secured, plain and TLS traffic between two hosts on one wire, interleaved; a process of its own.

Started where the kernel has ESP, it makes the lab, one process at each end of the wire, and directs them. It
sleeps while they work.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from wsasec.lab import Lab, LabError, Namespace, enter_private_namespaces, missing_privileges

from .baselines.control import EndedError, Hand
from .events import emit
from .machine import describe_machine, describe_versions
from .wire import Passed, Wire
from .worker import python_command

__all__ = ["MODES", "RESULT_NAME", "Plan", "main"]

MODES: Final = ("secured", "plain", "tls")
RESULT_NAME: Final = "traffic.json"
_START_DEADLINE: Final = 60.0
_CONNECT_DEADLINE: Final = 90.0
_END_DEADLINE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        streams: numbers of connections, and how often each is measured.
        warm: seconds of traffic before the clock starts.
        seconds: of traffic that are measured ...
        cap: ... unless so many bytes came in before.
    """

    streams: tuple[tuple[int, int], ...]
    warm: float
    seconds: float
    cap: int


class _LeakError(RuntimeError):
    """Something passed the wire that must not, or not where it must."""


@contextmanager
def _hand(namespace: Namespace, module: str) -> Iterator[Hand]:
    process = namespace.popen(
        python_command(f"wsasec.bench.baselines.tls_{module}"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    hand = Hand(process, module)
    try:
        yield hand
    finally:
        hand.end()


def _moved(namespace: Namespace, destination: str) -> int:
    """Return the bytes that a host's associations to a destination have carried, by the kernel's account."""
    return sum(sa.bytes for sa in namespace.sas() if sa.dst == destination)


class _Director:
    """Runs single measurements."""

    def __init__(self, lab: Lab, plan: Plan, sender: Hand, receiver: Hand) -> None:
        self._lab = lab
        self._plan = plan
        self._sender = sender
        self._receiver = receiver

    def measure(self, mode: str, streams: int) -> dict[str, Any]:
        """Measure one kind of traffic; for the secured kind, with the proof.

        Raises:
            EndedError: one of the two processes failed.
            _LeakError: the proof failed.
        """
        if mode != "secured":
            return self._traffic(mode, streams)
        before = _moved(self._lab.b, self._lab.b.v4), _moved(self._lab.a, self._lab.a.v4)
        with Wire(self._lab.a) as wire:
            sample = self._traffic(mode, streams)
        after = _moved(self._lab.b, self._lab.b.v4), _moved(self._lab.a, self._lab.a.v4)
        sample["proof"] = {
            **asdict(wire.passed),
            "sa_bytes": after[0] - before[0],
            "sa_bytes_back": after[1] - before[1],
            "payload_bytes": sample["total"],
        }
        _check(wire.passed, sample["proof"])
        return sample

    def _traffic(self, mode: str, streams: int) -> dict[str, Any]:
        plan, sender, receiver = self._plan, self._sender, self._receiver
        address = self._lab.b.v4
        work = {"mode": mode, "streams": streams, "address": address}
        receiver.tell("listen", **work, warm=plan.warm, seconds=plan.seconds, cap=plan.cap)
        door = receiver.hear("listening", _START_DEADLINE)
        sender.tell("connect", **work, port=door["port"], certificate=door["certificate"])
        connected = sender.hear("connected", _CONNECT_DEADLINE)
        receiver.hear("accepted", _CONNECT_DEADLINE)
        sender.tell("send")
        measured = receiver.hear("measured", plan.warm + plan.seconds + _END_DEADLINE)
        # From here on the receiver takes resets for an end, not for an error.
        receiver.tell("finish")
        receiver.hear("finishing", _END_DEADLINE)
        sender.tell("stop")
        sender.hear("stopped", _END_DEADLINE)
        receiver.tell("close")
        closed = receiver.hear("closed", _END_DEADLINE)
        return {
            "bytes": measured["bytes"],
            "seconds": measured["seconds"],
            "total": closed["total"],
            "connect_seconds": connected["connect_seconds"],
            "secure_seconds": connected["secure_seconds"],
            "cipher": connected["cipher"],
        }


def _check(passed: Passed, proof: dict[str, Any]) -> None:
    if passed.clear:
        states = dict(passed.clear_by_state)
        raise _LeakError(f"{passed.clear} packets of secured sockets were in clear: {states}")
    if passed.dropped:
        raise _LeakError(f"{passed.dropped} frames other than ESP could not be looked at: they prove nothing")
    if proof["sa_bytes"] < proof["payload_bytes"]:
        raise _LeakError(
            f"{proof['payload_bytes']} bytes came in, and only {proof['sa_bytes']} passed the associations"
        )


def _aes_driver() -> str | None:
    """Name the implementation that the kernel uses for AES-GCM in ESP; None if it does not say."""
    text = Path("/proc/crypto").read_text()
    found: Counter[str] = Counter()
    for block in text.split("\n\n"):
        fields = dict(re.findall(r"^(\w+)\s*:\s*(.*)$", block, re.MULTILINE))
        if fields.get("name") == "rfc4106(gcm(aes))":
            found[fields["driver"]] = int(fields.get("priority", "0"))
    return found.most_common(1)[0][0] if found else None


def _order(plan: Plan) -> Iterator[tuple[int, int, str]]:
    """Yield repeat, streams and mode so that what is compared is close together, each of it first in turn."""
    for repeat in range(max(repeats for _, repeats in plan.streams)):
        for streams, repeats in plan.streams:
            if repeat < repeats:
                for turn in range(len(MODES)):
                    yield repeat, streams, MODES[(turn + repeat) % len(MODES)]


def run(plan: Plan) -> dict[str, Any]:
    """Make a lab and measure everything in it; return the samples.

    Raises:
        LabError, OSError: the lab cannot be made.
        EndedError, _LeakError: as _Director.measure.
    """
    samples: list[dict[str, Any]] = []
    total = sum(repeats for _, repeats in plan.streams) * len(MODES)
    with Lab() as lab, _hand(lab.a, "sender") as sender, _hand(lab.b, "receiver") as receiver:
        director = _Director(lab, plan, sender, receiver)
        algorithm = next(sa.algorithm for sa in lab.b.sas())
        for repeat, streams, mode in _order(plan):
            sample = director.measure(mode, streams)
            samples.append({"mode": mode, "streams": streams, "repeat": repeat, **sample})
            emit("step", done=len(samples), total=total, text=f"{streams:,} x {mode}")
    return {
        "plan": asdict(plan),
        "kernel": os.uname().release,
        "machine": describe_machine(),
        "versions": describe_versions(),
        "sa_algorithm": algorithm,
        "aes_driver": _aes_driver(),
        "mtu": lab.mtu,
        "samples": samples,
    }


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m wsasec.bench.traffic")
    parser.add_argument("plan", help="JSON of the plan")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Measure; leave the results in the folder WSASEC_LAB_RESULTS, or on standard output."""
    fields = json.loads(_options(argv).plan)
    plan = Plan(**{**fields, "streams": tuple((streams, repeats) for streams, repeats in fields["streams"])})
    try:
        if missing_privileges():
            enter_private_namespaces()
        data = run(plan)
    except (EndedError, LabError, OSError, _LeakError) as error:
        sys.stderr.write(f"wsasec bench: {error}\n")
        return 1
    folder = os.environ.get("WSASEC_LAB_RESULTS")
    if folder:
        Path(folder, RESULT_NAME).write_text(json.dumps(data))
    else:
        emit("result", data=data)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
