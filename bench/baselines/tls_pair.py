"""TLS 1.3 between the two hosts of a lab, by Python's ssl: a process at each end, and what directs them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Final

from wsasec.lab import Lab, Namespace

from ..worker import python_command
from .control import EndedError, Hand

__all__ = ["CIPHERS", "During", "TlsPair", "agreed_on", "tls_pairs"]

CIPHERS: Final = {"tls128": "TLS_AES_128_GCM_SHA256", "tls256": "TLS_AES_256_GCM_SHA384"}

During = Callable[[tuple[int, ...]], AbstractContextManager[object]]
"""Makes what is entered while traffic flows, given the numbers of the processes that carry it."""

_START_DEADLINE: Final = 60.0
_CONNECT_DEADLINE: Final = 90.0
_END_DEADLINE: Final = 60.0

# Python's ssl has no way to choose a cipher suite of TLS 1.3; OpenSSL takes it from this file.
_CONFIGURATION: Final = """\
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = default
[default]
Ciphersuites = {cipher}
"""


def agreed_on(told: str, suite: str) -> None:
    """Raise EndedError unless an end says that it speaks TLS 1.3 by this cipher suite."""
    if told != f"TLSv1.3 {suite}":
        raise EndedError(f"TLS agreed on {told}, not on TLSv1.3 {suite}")


class TlsPair:
    """Two processes that measure; one measurement at a time."""

    def __init__(self, lab: Lab, kind: str, sender: Hand, receiver: Hand) -> None:
        self._address = lab.b.v4
        self._kind = kind
        self._sender = sender
        self._receiver = receiver

    def connect(self, connections: int) -> float:
        """Make so many connections, with their handshakes; return the seconds.

        Raises:
            EndedError: one of the two processes failed.
        """
        seconds = self._open(connections, warm=0.0, seconds=0.0, message_bytes=0)
        self._close()
        return seconds

    def stream(
        self,
        streams: int,
        *,
        message_bytes: int,
        warm: float,
        seconds: float,
        during: During = lambda _pids: nullcontext(),
    ) -> tuple[int, float]:
        """Send as much as goes through; return the payload that came in, and the seconds in which it did.

        Args:
            streams: how many.
            message_bytes: what is handed to TLS at a time.
            warm: seconds before the clock starts.
            seconds: that are measured.
            during: makes what is entered while is sent, given the numbers of the two processes.

        Raises:
            EndedError: one of the two processes failed.
        """
        self._open(streams, warm=warm, seconds=seconds, message_bytes=message_bytes)
        with during((self._sender.process.pid, self._receiver.process.pid)):
            self._sender.tell("send")
            measured = self._receiver.hear("measured", warm + seconds + _END_DEADLINE)
        self._close()
        return measured["bytes"], measured["seconds"]

    def _open(self, streams: int, *, warm: float, seconds: float, message_bytes: int) -> float:
        work = {"streams": streams, "address": self._address, "message_bytes": message_bytes}
        self._receiver.tell("listen", **work, warm=warm, seconds=seconds)
        door = self._receiver.hear("listening", _START_DEADLINE)
        self._sender.tell("connect", **work, port=door["port"], certificate=door["certificate"])
        connected = self._sender.hear("connected", _CONNECT_DEADLINE)
        self._receiver.hear("accepted", _CONNECT_DEADLINE)
        agreed_on(connected["cipher"], CIPHERS[self._kind])
        return float(connected["seconds"])

    def _close(self) -> None:
        # From here on the receiver takes resets for an end, not for an error.
        self._receiver.tell("finish")
        self._receiver.hear("finishing", _END_DEADLINE)
        self._sender.tell("stop")
        self._sender.hear("stopped", _END_DEADLINE)
        self._receiver.tell("close")
        self._receiver.hear("closed", _END_DEADLINE)


@contextmanager
def _hand(namespace: Namespace, module: str, environment: Mapping[str, str]) -> Iterator[Hand]:
    process = namespace.popen(
        python_command(f"wsasec.bench.baselines.{module}"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    hand = Hand(process, module)
    try:
        yield hand
    finally:
        hand.end()


@contextmanager
def tls_pairs(lab: Lab) -> Iterator[dict[str, TlsPair]]:
    """Start a pair for each cipher suite; they wait without using the processor."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsasec-bench-")))
        pairs: dict[str, TlsPair] = {}
        for kind, cipher in CIPHERS.items():
            configuration = folder / f"{kind}.cnf"
            configuration.write_text(_CONFIGURATION.format(cipher=cipher))
            environment = {**os.environ, "OPENSSL_CONF": str(configuration)}
            sender = stack.enter_context(_hand(lab.a, "tls_sender", environment))
            receiver = stack.enter_context(_hand(lab.b, "tls_receiver", environment))
            pairs[kind] = TlsPair(lab, kind, sender, receiver)
        yield pairs
