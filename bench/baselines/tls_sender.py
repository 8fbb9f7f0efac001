"""The end of the wire that connects with TLS and sends as much as goes out."""

from __future__ import annotations

import errno
import gc
import os
import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from ..clock import SENDER, pinned, quiet
from ..descriptor_limit import raise_descriptor_limit
from .control import EndedError, Orders
from .tls import client_context

__all__ = ["CHUNK", "main"]

_CONNECT_DEADLINE: Final = 60.0
CHUNK: Final = 256 * 1024
"""Bytes that one connection may send, or give, before it is another's turn."""
_POLL: Final = 1.0
_WANTS: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
# close() then ends the connection at once, with a reset, and what is still queued is dropped.
_LINGER: Final = struct.pack("ii", 1, 0)


def _begin(sockets: Sequence[socket.socket], address: tuple[str, int]) -> None:
    """Start all connections."""
    for sock in sockets:
        error = sock.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, f"connect: {os.strerror(error)}")


def _establish(sockets: Sequence[socket.socket], deadline: float) -> None:
    """Wait until all connections are there."""
    with select.epoll() as poll:
        by_fd = {sock.fileno(): sock for sock in sockets}
        for fd in by_fd:
            poll.register(fd, select.EPOLLOUT)
        while by_fd:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{len(by_fd)} of {len(sockets)} connections did not come about")
            for fd, _ in poll.poll(left):
                error = by_fd[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, f"connect: {os.strerror(error)}")
                poll.unregister(fd)
                del by_fd[fd]


def _shake_hands(sockets: Sequence[ssl.SSLSocket], deadline: float) -> None:
    """Do all TLS handshakes."""
    with select.epoll() as poll:
        by_fd = {sock.fileno(): sock for sock in sockets}
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN | select.EPOLLOUT)
        while by_fd:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{len(by_fd)} of {len(sockets)} TLS handshakes did not end")
            for fd, _ in poll.poll(left):
                try:
                    by_fd[fd].do_handshake()
                except ssl.SSLWantReadError:
                    poll.modify(fd, select.EPOLLIN)
                except ssl.SSLWantWriteError:
                    poll.modify(fd, select.EPOLLOUT)
                else:
                    poll.unregister(fd)
                    del by_fd[fd]


def _connect(
    order: dict[str, Any], opened: list[socket.socket]
) -> tuple[list[ssl.SSLSocket], dict[str, Any]]:
    """Make the connections; return them, how long it took, and what was agreed on."""
    address = (order["address"], order["port"])
    deadline = time.monotonic() + _CONNECT_DEADLINE
    context = client_context(order["certificate"])
    for _ in range(order["streams"]):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        opened.append(sock)
        sock.setblocking(False)
    wrapped: list[ssl.SSLSocket] = []
    start = time.perf_counter()
    _begin(opened, address)
    _establish(opened, deadline)
    for i, sock in enumerate(opened):
        tls = context.wrap_socket(sock, server_hostname=address[0], do_handshake_on_connect=False)
        opened[i] = tls
        wrapped.append(tls)
    _shake_hands(wrapped, deadline)
    seconds = time.perf_counter() - start
    chosen = wrapped[0].cipher()
    cipher = None if chosen is None else f"{wrapped[0].version()} {chosen[0]}"
    return wrapped, {"seconds": seconds, "cipher": cipher}


def _send(sockets: Sequence[ssl.SSLSocket], message_bytes: int, orders: Orders) -> None:
    """Send on all sockets until the next order comes."""
    data = memoryview(bytes(message_bytes))
    with select.epoll() as poll:
        poll.register(orders.fd, select.EPOLLIN)
        by_fd = {sock.fileno(): sock for sock in sockets}
        for fd in by_fd:
            poll.register(fd, select.EPOLLOUT)
        while True:
            for fd, _ in poll.poll(_POLL):
                if fd == orders.fd:
                    return
                sock = by_fd[fd]
                sent = 0
                # send() takes one record at a time, and always the same buffer: after "not now" it must be
                # called with what it was called with.
                try:
                    while sent < CHUNK:
                        sent += sock.send(data)
                except _WANTS:
                    continue


def _run(order: dict[str, Any], orders: Orders) -> None:
    opened: list[socket.socket] = []
    try:
        connections, answer = _connect(order, opened)
        orders.answer("connected", **answer)
        if orders.wait()["do"] == "send":
            _send(connections, order["message_bytes"], orders)
            orders.wait()
    finally:
        for sock in opened:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            sock.close()
    gc.collect()
    orders.answer("stopped")


def _work() -> None:
    orders = Orders()
    while True:
        try:
            order = orders.wait()
        except EndedError:
            return
        _run(order, orders)


def main() -> int:
    """Take orders until the director is gone."""
    raise_descriptor_limit()
    with pinned(SENDER), quiet():
        _work()
    return 0


if __name__ == "__main__":
    sys.exit(main())
