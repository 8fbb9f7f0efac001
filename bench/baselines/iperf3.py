"""Plain traffic by iperf3."""

from __future__ import annotations

import json
import math
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from wsasec.lab import Namespace

from ..clock import RECEIVER, SENDER, processor

__all__ = ["MAX_STREAMS", "Iperf3Error", "available", "run"]

MAX_STREAMS: Final = 128
_PORT: Final = 5201
_GRACE: Final = 30.0


class Iperf3Error(RuntimeError):
    """It failed, or said something that cannot be understood."""


def available() -> bool:
    """Whether it is installed."""
    return shutil.which("iperf3") is not None


def _wait_until_it_listens(server: subprocess.Popen[bytes]) -> None:
    """Read what the server says, until it says that it listens."""
    assert server.stdout is not None
    deadline = time.monotonic() + _GRACE
    said = b""
    while b"Server listening" not in said:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([server.stdout], [], [], left)[0]:
            raise Iperf3Error(f"iperf3 does not listen after {_GRACE:.0f} s: {said.decode(errors='replace')}")
        more = os.read(server.stdout.fileno(), 1 << 12)
        if not more:
            raise Iperf3Error(f"iperf3's server ended: {said.decode(errors='replace').strip()}")
        said += more


def _received(text: str) -> float:
    """Return the bits a second of a client's report."""
    try:
        report = json.loads(text)
        if "error" in report:
            raise Iperf3Error(f"iperf3 failed: {report['error']}")
        return float(report["end"]["sum_received"]["bits_per_second"])
    except (ValueError, KeyError, TypeError) as error:
        raise Iperf3Error(f"iperf3 said what cannot be understood: {text[:300]}") from error


def run(
    server: Namespace,
    client: Namespace,
    address: str,
    *,
    streams: int,
    message_bytes: int,
    warm: float,
    seconds: float,
) -> float:
    """Send as much as goes through; return Gbit/s as the receiver counts it.

    Args:
        server: where the receiver runs.
        client: where the sender runs.
        address: of the receiver.
        streams: up to MAX_STREAMS.
        message_bytes: what is handed to the kernel at a time.
        warm: seconds left out at the beginning, at least: iperf3 takes whole ones.
        seconds: that are measured, rounded to whole ones, at least one.

    Raises:
        Iperf3Error: it is missing, failed, or did not end.
    """
    length, omit = _whole_seconds(warm, seconds)
    argv = ["iperf3", "-c", address, "-p", str(_PORT), "-J", "-P", str(streams), "-l", str(message_bytes)]
    sender_on, receiver_on = processor(SENDER), processor(RECEIVER)
    if sender_on is not None:
        argv += ["-A", f"{sender_on},{receiver_on}"]
    if not available():
        raise Iperf3Error("iperf3 is missing: apt-get install iperf3")
    command = [*argv, "-t", str(length), "-O", str(omit)]
    try:
        text = _both(server, client, command, length + omit + _GRACE)
    except (subprocess.TimeoutExpired, OSError) as error:
        raise Iperf3Error(f"iperf3 failed: {error}") from error
    return _received(text) / 1e9


def _whole_seconds(warm: float, seconds: float) -> tuple[int, int]:
    """Return what is measured, and what is left out: never less of a warm-up than the others have."""
    return max(1, round(seconds)), math.ceil(warm)


def _both(server: Namespace, client: Namespace, command: Sequence[str], timeout: float) -> str:
    """Run a client and the server that it needs; return what the client said."""
    receiver = server.popen(
        ["iperf3", "-s", "-1", "-p", str(_PORT), "--forceflush"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with receiver:
        try:
            _wait_until_it_listens(receiver)
            return client.run(command, check=False, timeout=timeout).stdout
        finally:
            receiver.kill()
