"""The end of the wire that connects and sends as much as goes out."""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import struct
import sys
import time
import warnings
from array import array
from collections.abc import Sequence
from typing import Any, Final

import wsasec

from ..descriptor_limit import raise_descriptor_limit
from .control import EndedError, Orders
from .tls import client_context
from .tls_receiver import CHUNK

__all__ = ["main"]

_CONNECT_DEADLINE: Final = 60.0
_PAUSE: Final = 0.002
_POLL: Final = 1.0
_WANTS: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
# close() then ends the connection at once, with a reset, and what is still queued is dropped.
_LINGER: Final = struct.pack("ii", 1, 0)


def _begin(sockets: Sequence[socket.socket], address: tuple[str, int], deadline: float) -> None:
    """Start all connections; a socket without a security association says EAGAIN, and is asked again."""
    waiting = list(sockets)
    while waiting:
        left: list[socket.socket] = []
        for sock in waiting:
            error = sock.connect_ex(address)
            if error == errno.EAGAIN:
                left.append(sock)
            elif error not in (0, errno.EINPROGRESS):
                raise OSError(error, f"connect: {os.strerror(error)}")
        waiting = left
        if waiting:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(waiting)} sockets found no security association")
            time.sleep(_PAUSE)


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


def _connect(order: dict[str, Any], opened: list[socket.socket]) -> dict[str, Any]:
    """Make the connections; return how long it took, and what TLS agreed on."""
    mode, address = order["mode"], (order["address"], order["port"])
    deadline = time.monotonic() + _CONNECT_DEADLINE
    for _ in range(order["streams"]):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        opened.append(sock)
        sock.setblocking(False)
    start = time.monotonic()
    if mode == "secured":
        wsasec.secure_many(array("i", [sock.fileno() for sock in opened]))
    secured = time.monotonic()
    _begin(opened, address, deadline)
    _establish(opened, deadline)
    cipher = None
    if mode == "tls":
        context = client_context(order["certificate"])
        wrapped = []
        for i, sock in enumerate(opened):
            tls = context.wrap_socket(sock, server_hostname=address[0], do_handshake_on_connect=False)
            opened[i] = tls
            wrapped.append(tls)
        _shake_hands(wrapped, deadline)
        chosen = wrapped[0].cipher()
        cipher = None if chosen is None else f"{wrapped[0].version()} {chosen[0]}"
    done = time.monotonic()
    return {"secure_seconds": secured - start, "connect_seconds": done - secured, "cipher": cipher}


def _send(sockets: Sequence[socket.socket], orders: Orders) -> None:
    """Send on all sockets until the next order comes."""
    data = memoryview(bytes(CHUNK))
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
                # As much for TLS, which takes one record at a time, and always the same buffer: after "not
                # now" it must be called with what it was called with.
                try:
                    while sent < CHUNK:
                        sent += sock.send(data)
                        if not isinstance(sock, ssl.SSLSocket):
                            break
                except _WANTS:
                    continue


def _run(order: dict[str, Any], orders: Orders) -> None:
    opened: list[socket.socket] = []
    try:
        orders.answer("connected", **_connect(order, opened))
        if orders.wait()["do"] == "send":
            _send(opened, orders)
            orders.wait()
    finally:
        for sock in opened:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            sock.close()
    orders.answer("stopped")


def main() -> int:
    """Take orders until the director is gone."""
    warnings.simplefilter("ignore", wsasec.SecurityWarning)
    raise_descriptor_limit()
    orders = Orders()
    while True:
        try:
            order = orders.wait()
        except EndedError:
            return 0
        _run(order, orders)


if __name__ == "__main__":
    sys.exit(main())
