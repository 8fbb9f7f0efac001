"""What securing sockets costs programs without CAP_NET_ADMIN, by the key daemon, beside the direct way."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Final

import wsasec
from wsasec.lab import Namespace

__all__ = ["run_broker"]

_VERSION_3: Final = 0x20080522
_NET_ADMIN: Final = 1 << 12
_SINGLE: Final = 100


@contextmanager
def _without_privilege() -> Iterator[None]:
    """Take CAP_NET_ADMIN from the calling thread's effective capabilities for a while; it stays permitted."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0))
    before = ctypes.create_string_buffer(24)

    def check(code: int) -> None:
        if code:
            raise OSError(ctypes.get_errno(), f"capabilities: {os.strerror(ctypes.get_errno())}")

    check(libc.capget(header, before))
    low, *rest = struct.unpack("=6I", before.raw)
    check(libc.capset(header, struct.pack("=6I", low & ~_NET_ADMIN, *rest)))
    try:
        yield
    finally:
        check(libc.capset(header, before))


_WAYS: Final[dict[str, Callable[[], AbstractContextManager[None]]]] = {
    "directly": nullcontext,
    "by the key daemon": _without_privilege,
}


def _one_by_one(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        wsasec.secure(sock)


def run_broker(host: Namespace, sockets: int) -> Iterator[dict[str, Any]]:
    """Secure sockets one by one, and many in one call, both ways; microseconds a socket.

    Args:
        host: whose key daemon it is.
        sockets: in one call.
    """
    for way, privileges in _WAYS.items():
        for count, what, secure in (
            (_SINGLE, "securing a socket", _one_by_one),
            (sockets, f"securing {sockets:,} sockets, each", wsasec.secure_many),
        ):
            with host.entered(), ExitStack() as stack:
                made = [stack.enter_context(socket.socket()) for _ in range(count)]
                with privileges():
                    start = time.perf_counter()
                    secure(made)
                    seconds = time.perf_counter() - start
            yield {
                "what": f"{what}, {way}",
                "kind": "secured",
                "value": seconds / count * 1e6,
                "unit": "µs",
                "connections": count,
            }
