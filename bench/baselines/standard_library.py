"""The effective calls by socket.setsockopt, and the query by socket.getsockopt."""

from __future__ import annotations

import socket
from collections.abc import Callable

from ..calls import SO_COOKIE, SO_NETNS_COOKIE, Calls

__all__ = ["bind_setsockopt", "query"]


def bind_setsockopt(calls: Calls) -> Callable[[socket.socket], None]:
    """Return a function that makes the calls that change a socket."""
    out, in_, mark, v6only = calls.out, calls.in_, calls.mark, calls.v6only
    level, policy, sol, so_mark = calls.level, calls.policy, socket.SOL_SOCKET, socket.SO_MARK
    so_v6only = socket.IPV6_V6ONLY

    def secure(sock: socket.socket) -> None:
        setsockopt = sock.setsockopt
        if v6only is not None:
            setsockopt(level, so_v6only, v6only)
        setsockopt(level, policy, out)
        setsockopt(level, policy, in_)
        setsockopt(sol, so_mark, mark)

    return secure


def query(sock: socket.socket) -> tuple[int, int]:
    """Return mark and cookie, asking all that the core asks to recognize a socket."""
    sock.getsockname()
    getsockopt, sol = sock.getsockopt, socket.SOL_SOCKET
    getsockopt(sol, socket.SO_TYPE)
    cookie = getsockopt(sol, SO_COOKIE, 8)
    mark = getsockopt(sol, socket.SO_MARK)
    getsockopt(sol, SO_NETNS_COOKIE, 8)
    return mark, int.from_bytes(cookie, "little")
