"""The end of the wire that accepts TLS connections, takes in what comes, and measures it by its own clock."""

from __future__ import annotations

import gc
import select
import socket
import ssl
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

from ..clock import RECEIVER, pinned, quiet
from ..descriptor_limit import raise_descriptor_limit
from .control import EndedError, Orders
from .tls import server_context
from .tls_sender import CHUNK

__all__ = ["main"]

_BACKLOG: Final = 4096
_POLL: Final = 1.0
_WANTS: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@dataclass(slots=True)
class _Gauge:
    """Counts bytes in a window of time that opens when the warm-up is over."""

    warm: float
    seconds: float
    first: float = 0.0
    start: float = 0.0
    counted: int = 0
    result: tuple[int, float] | None = None

    def add(self, size: int) -> None:
        """Account for bytes that have just come in."""
        if self.result is not None or not size:
            return
        now = time.monotonic()
        if not self.first:
            self.first = now
        elif not self.start:
            if now - self.first >= self.warm:
                self.start = now
        else:
            self.counted += size
            if now - self.start >= self.seconds:
                self.result = self.counted, now - self.start


class _Reception:
    """One run: a listening socket and the connections that come to it."""

    def __init__(self, order: dict[str, Any], orders: Orders, context: ssl.SSLContext) -> None:
        self._orders = orders
        self._context = context
        self._streams: int = order["streams"]
        self._gauge = _Gauge(order["warm"], order["seconds"])
        self._poll = select.epoll()
        self._shaking: dict[int, ssl.SSLSocket] = {}
        self._ready: dict[int, ssl.SSLSocket] = {}
        self._buffer = memoryview(bytearray(CHUNK))
        self._finishing = False
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.bind((order["address"], 0))
        self._listener.listen(_BACKLOG)
        self._listener.setblocking(False)
        self._poll.register(self._listener, select.EPOLLIN)
        self._poll.register(orders.fd, select.EPOLLIN)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def serve(self) -> None:
        """Work until told to close."""
        measured = False
        while True:
            taken = 0
            for fd, _ in self._poll.poll(_POLL):
                if fd == self._orders.fd:
                    if self._obey():
                        return
                elif fd == self._listener.fileno():
                    self._accept()
                elif fd in self._shaking:
                    self._shake(fd)
                elif fd in self._ready:
                    taken += self._take(fd)
            self._gauge.add(taken)
            if self._gauge.result is not None and not measured:
                measured = True
                size, seconds = self._gauge.result
                self._orders.answer("measured", bytes=size, seconds=seconds)

    def close(self) -> None:
        for sock in (self._listener, *self._shaking.values(), *self._ready.values()):
            sock.close()
        self._poll.close()

    def _obey(self) -> bool:
        order = self._orders.take()
        if order is None:
            return False
        if order["do"] == "finish":
            self._finishing = True
            self._orders.answer("finishing")
        return bool(order["do"] == "close")

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            wrapped = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self._shaking[wrapped.fileno()] = wrapped
            self._poll.register(wrapped, select.EPOLLIN)

    def _shake(self, fd: int) -> None:
        sock = self._shaking[fd]
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLWantWriteError:
            raise RuntimeError("a handshake message does not fit into an empty send buffer") from None
        del self._shaking[fd]
        self._poll.unregister(sock)
        self._begin(sock)

    def _begin(self, sock: ssl.SSLSocket) -> None:
        self._ready[sock.fileno()] = sock
        self._poll.register(sock, select.EPOLLIN)
        if len(self._ready) == self._streams:
            self._orders.answer("accepted")

    def _take(self, fd: int) -> int:
        """Read up to a chunk from one connection, which gives one record at a time."""
        sock = self._ready[fd]
        taken = 0
        try:
            while taken < CHUNK:
                size = sock.recv_into(self._buffer)
                if not size:
                    raise ConnectionResetError("the sender closed a connection")
                taken += size
        except _WANTS:
            pass
        except OSError:
            if not self._finishing:
                raise
            self._poll.unregister(sock)
            self._ready.pop(fd).close()
        return taken


def _work() -> None:
    orders = Orders()
    tls: tuple[ssl.SSLContext, str] | None = None
    while True:
        try:
            order = orders.wait()
        except EndedError:
            return
        tls = tls or server_context(order["address"])
        context, certificate = tls
        reception = _Reception(order, orders, context)
        try:
            orders.answer("listening", port=reception.port, certificate=certificate)
            reception.serve()
        finally:
            reception.close()
        gc.collect()
        orders.answer("closed")


def main() -> int:
    """Take orders until the director is gone."""
    raise_descriptor_limit()
    with pinned(RECEIVER), quiet():
        _work()
    return 0


if __name__ == "__main__":
    sys.exit(main())
