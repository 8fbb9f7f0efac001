"""What the workers of test_fleet.py do; they import it by its name."""

from __future__ import annotations

from typing import Any

from wsasec import SocketBatch


def connect(batch: SocketBatch, index: int, address: Any) -> Any:
    return batch.connect(address, timeout=30)


def say(batch: SocketBatch, index: int) -> int:
    """Send a line on each connection, and read what the other end answers."""
    socks = batch.sockets()
    for sock in socks:
        sock.settimeout(30)
        sock.sendall(b"hello")
    answers = [sock.recv(5) for sock in socks]
    for sock in socks:
        sock.close()
    return answers.count(b"HELLO")
