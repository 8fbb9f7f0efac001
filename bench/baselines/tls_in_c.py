"""TLS 1.3 between the two hosts of a lab, by a program in C (tls_stream.c): OpenSSL without Python."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Final

from wsasec.lab import Lab, Namespace

from .control import Hand
from .tls import certified
from .tls_pair import CIPHERS, During, agreed_on
from .tunnel import AbsentError

__all__ = ["C_CIPHERS", "PROGRAM", "TlsInC", "tls_in_c"]

PROGRAM: Final = Path(__file__).with_name("tls-stream")
C_CIPHERS: Final = {f"{kind}_c": suite for kind, suite in CIPHERS.items()}
_DEADLINE: Final = 60.0


@contextmanager
def _memory(text: str) -> Iterator[int]:
    """Keep a text in a file that is in no folder."""
    descriptor = os.memfd_create("wsasec-bench")
    try:
        with os.fdopen(os.dup(descriptor), "w") as file:
            file.write(text)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _started(host: Namespace, pem: int, *words: str) -> Iterator[Hand]:
    argv = [str(PROGRAM), *words]
    process = host.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(pem,))
    hand = Hand(process, f"TLS in C ({words[0]})")
    try:
        yield hand
    finally:
        hand.end()


class TlsInC:
    """One cipher suite; a process at each end for each measurement."""

    def __init__(self, lab: Lab, suite: str, identity: str, certificate: str) -> None:
        """Take what both need.

        Args:
            lab: the two hosts.
            suite: by its name in RFC 8446.
            identity: the certificate and its key, as PEM.
            certificate: alone.
        """
        self._lab = lab
        self._suite = suite
        self._identity = identity
        self._certificate = certificate

    def stream(
        self,
        streams: int,
        *,
        message_bytes: int,
        warm: float,
        seconds: float,
        during: During = lambda _pids: nullcontext(),
    ) -> tuple[int, float]:
        """Send as much as goes through; as TlsPair.stream."""
        address = self._lab.b.v4
        with ExitStack() as stack:
            identity = stack.enter_context(_memory(self._identity))
            trusted = stack.enter_context(_memory(self._certificate))
            own = ("receive", address, self._suite, str(streams), f"/proc/self/fd/{identity}")
            receiver = stack.enter_context(_started(self._lab.b, identity, *own, str(warm), str(seconds)))
            port = str(receiver.hear("listening", _DEADLINE)["port"])
            other = ("send", address, port, self._suite, str(streams), f"/proc/self/fd/{trusted}")
            sender = stack.enter_context(_started(self._lab.a, trusted, *other, str(message_bytes)))
            agreed_on(sender.hear("connected", _DEADLINE)["cipher"], self._suite)
            agreed_on(receiver.hear("accepted", _DEADLINE)["cipher"], self._suite)
            with during((sender.process.pid, receiver.process.pid)):
                sender.tell("send")
                measured = receiver.hear("measured", warm + seconds + _DEADLINE)
            receiver.tell("finish")
            receiver.hear("finishing", _DEADLINE)
        return measured["bytes"], measured["seconds"]


def tls_in_c(lab: Lab) -> dict[str, TlsInC]:
    """Make what measures each cipher suite, with a certificate of their own.

    Raises:
        AbsentError: the program is not built, or openssl is missing.
    """
    if not PROGRAM.exists():
        raise AbsentError("TLS in C was not built: apt-get install libssl-dev, and install wsasec again")
    try:
        with certified(lab.b.v4) as (certificate, key):
            trusted = certificate.read_text()
            identity = trusted + key.read_text()
    except RuntimeError as error:
        raise AbsentError(str(error)) from error
    return {kind: TlsInC(lab, suite, identity, trusted) for kind, suite in C_CIPHERS.items()}
