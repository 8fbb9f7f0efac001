"""Options of sockets that Python's socket module lacks, and what is read by them."""

from __future__ import annotations

import socket
from typing import Final

__all__ = ["SO_BINDTOIFINDEX", "SO_NETNS_COOKIE", "netns_cookie"]

# asm-generic/socket.h
SO_BINDTOIFINDEX: Final = 62
SO_NETNS_COOKIE: Final = 71


def netns_cookie(sock: socket.socket) -> bytes:
    """Return the kernel's number of a socket's network namespace, in its byte order. OSError: it has none."""
    return sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
