"""TLS 1.3 for the comparison: a certificate made for the run, its key in one process's memory only."""

from __future__ import annotations

import os
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["certified", "client_context", "server_context"]

_DEADLINE: Final = 30.0


def _make(folder: Path, address: str) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-noenc", "-days", "2", "-subj", "/CN=wsasec-bench", "-keyout", str(key)]
    command += ["-addext", f"subjectAltName=IP:{address}", "-out", str(certificate)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DEADLINE, check=False
        )
    except FileNotFoundError:
        raise RuntimeError("openssl is missing; apt-get install openssl") from None
    if done.returncode:
        raise RuntimeError(f"openssl could not make a certificate: {done.stderr.strip()}")
    return certificate, key


@contextmanager
def certified(address: str) -> Iterator[tuple[Path, Path]]:
    """Make a key and a certificate for an address.

    The files are in a folder that nobody else can look into, and are gone after the block.

    Yields:
        The files of the certificate and of the key, as PEM.

    Raises:
        RuntimeError: openssl is missing or failed.
    """
    before = os.umask(0o077)
    try:
        with tempfile.TemporaryDirectory(prefix="wsasec-bench-") as folder:
            yield _make(Path(folder), address)
    finally:
        os.umask(before)


def server_context(address: str) -> tuple[ssl.SSLContext, str]:
    """Make a key and a certificate for an address, and a context that serves with them.

    The files are gone before this returns.

    Returns:
        The context, and the certificate as PEM.

    Raises:
        RuntimeError: openssl is missing or failed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # nothing but the data flows after the handshake
    with certified(address) as (certificate, key):
        context.load_cert_chain(certificate, key)
        pem = certificate.read_text()
    return context, pem


def client_context(certificate: str) -> ssl.SSLContext:
    """Make a context that trusts one certificate, given as PEM, and checks that it names the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=certificate)
    return context
