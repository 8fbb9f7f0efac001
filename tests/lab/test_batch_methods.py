"""Batches on the wire, made by each method that the kernel has: real ESP, nothing in clear."""

from __future__ import annotations

import os

import pytest
from wire import TIMEOUT

import wsasec
from wsasec import SocketBatch, _wsasec

pytestmark = pytest.mark.lab

FEW = 40


def methods() -> list[str]:
    return [name for name in _wsasec.METHODS if _wsasec.method_failure(name) is None]


def test_what_each_method_makes_is_protected(make_wire):
    with make_wire() as wire:
        listener = wire.listener(wire.b, 4096)
        for method in methods():
            with wire.a.entered():
                made = SocketBatch(FEW, family=wire.family, method=method)
                prepared = SocketBatch(FEW, family=wire.family, secure=False)
                wsasec.secure_many(prepared, method=method)
            for batch in made, prepared:
                batch.connect(listener.getsockname(), timeout=TIMEOUT)
                clients = [wire.keep(sock) for sock in batch.sockets()]
                servers = {(server := wire.accept(listener)).getpeername(): server for _ in clients}
                for client in clients:
                    client.sendall(b"question")
                    assert servers[client.getsockname()].recv(100) == b"question"


def test_an_old_kernel_has_no_ring_for_this():
    major, minor = map(int, os.uname().release.split(".")[:2])
    failure = _wsasec.method_failure("io_uring")
    if (major, minor) < (6, 7):
        assert failure is not None
    assert failure is None or any(
        word in str(failure) for word in ("Linux 6.7", "seccomp", "io_uring_disabled", "built without")
    )
