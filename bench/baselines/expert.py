"""The same job through ctypes, as somebody writes it who knows ctypes well.

Functions are looked up once, buffers and constants are prepared once, errors come from ctypes' own errno.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from ..calls import SO_COOKIE, SO_NETNS_COOKIE, Calls

__all__ = ["bind_checked", "bind_effective", "bind_query"]

_INT: Final = ctypes.c_int
_PEEK: Final = socket.MSG_PEEK | socket.MSG_DONTWAIT
_EAGAIN: Final = 11
# What of a sockaddr tells that a socket is not bound: all that comes before the rest of the structure.
_UNBOUND_BYTES: Final = {int(socket.AF_INET): 8, int(socket.AF_INET6): 24}


def _library(*, typed: bool) -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    if typed:
        libc.setsockopt.argtypes = [_INT, _INT, _INT, ctypes.c_char_p, ctypes.c_uint]
        libc.getsockopt.argtypes = [_INT, _INT, _INT, ctypes.c_void_p, ctypes.c_void_p]
        libc.getsockname.argtypes = [_INT, ctypes.c_void_p, ctypes.c_void_p]
        libc.recv.argtypes = [_INT, ctypes.c_void_p, ctypes.c_size_t, _INT]
        libc.recv.restype = ctypes.c_ssize_t
    return libc


def _fail(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")


def bind_effective(calls: Calls) -> Callable[[socket.socket], None]:
    """Return a function that makes the calls that change a socket."""
    setsockopt = _library(typed=True).setsockopt
    out, in_, mark, v6only = calls.out, calls.in_, calls.mark, calls.v6only
    out_size, in_size, mark_size = len(out), len(in_), len(mark)
    level, policy, sol, so_mark = calls.level, calls.policy, int(socket.SOL_SOCKET), socket.SO_MARK
    so_v6only = socket.IPV6_V6ONLY

    def secure(sock: socket.socket) -> None:
        fd = sock.fileno()
        if v6only is not None and setsockopt(fd, level, so_v6only, v6only, 4):
            _fail("IPv6 only")
        if setsockopt(fd, level, policy, out, out_size):
            _fail("outbound policy")
        if setsockopt(fd, level, policy, in_, in_size):
            _fail("inbound policy")
        if setsockopt(fd, sol, so_mark, mark, mark_size):
            _fail("mark")

    return secure


# Written out in one piece: every function call in between would cost time and make ctypes look slower.
def bind_checked(  # noqa: C901
    calls: Calls, watch: int, *, typed: bool = True
) -> Callable[[socket.socket], None]:
    """Return a function that checks and sets what the core does, with the same system calls.

    Args:
        calls: the values.
        watch: descriptor of calls.open_watch().
        typed: whether the functions' argument types are declared, which costs time and catches mistakes:
            without them a wrong argument is a crash or a silent truncation.
    """
    libc = _library(typed=typed)
    setsockopt, getsockopt, getsockname, recv = libc.setsockopt, libc.getsockopt, libc.getsockname, libc.recv
    out, in_, mark, off = calls.out, calls.in_, calls.mark, calls.reuse_port
    out_size, in_size, mark_size, off_size = len(out), len(in_), len(mark), len(off)
    reuse_address, v6only, so_v6only = calls.reuse_address, calls.v6only, socket.IPV6_V6ONLY
    level, policy, sol, so_mark = calls.level, calls.policy, int(socket.SOL_SOCKET), socket.SO_MARK
    so_type, so_reuseaddr, so_reuseport = socket.SO_TYPE, socket.SO_REUSEADDR, socket.SO_REUSEPORT
    wanted = calls.type
    so_cookie, so_netns, peek = SO_COOKIE, SO_NETNS_COOKIE, int(_PEEK)
    name = ctypes.create_string_buffer(28)
    name_size, int_size, cookie_size = ctypes.c_uint(28), ctypes.c_uint(4), ctypes.c_uint(8)
    kind, marked = ctypes.c_int(), ctypes.c_uint()
    cookie, realm = ctypes.c_uint64(), ctypes.c_uint64()
    byte = ctypes.create_string_buffer(1)
    name_at, name_size_at = ctypes.byref(name), ctypes.byref(name_size)
    int_size_at, cookie_size_at = ctypes.byref(int_size), ctypes.byref(cookie_size)
    kind_at, marked_at, cookie_at, realm_at = map(ctypes.byref, (kind, marked, cookie, realm))
    byte_at = ctypes.byref(byte)
    get_errno = ctypes.get_errno
    telling = _UNBOUND_BYTES[calls.family]
    unbound = calls.family.to_bytes(2, sys.byteorder) + bytes(telling - 2)
    secured: set[int] = set()

    def secure(sock: socket.socket) -> None:  # noqa: C901
        fd = sock.fileno()
        name_size.value = 28
        if getsockname(fd, name_at, name_size_at):
            _fail("getsockname")
        if name.raw[:telling] != unbound:
            raise OSError("not a fresh socket of the family")
        if getsockopt(fd, sol, so_type, kind_at, int_size_at):
            _fail("type")
        if kind.value != wanted:
            raise OSError("not a socket of the type")
        if getsockopt(fd, sol, so_cookie, cookie_at, cookie_size_at):
            _fail("cookie")
        if getsockopt(fd, sol, so_mark, marked_at, int_size_at):
            _fail("mark")
        if getsockopt(fd, sol, so_netns, realm_at, cookie_size_at):
            _fail("network namespace")
        if cookie.value in secured or marked.value:
            raise OSError("secured before")
        if recv(watch, byte_at, 1, peek) >= 0 or get_errno() != _EAGAIN:
            raise OSError("the guard has changed")
        if reuse_address is not None and setsockopt(fd, sol, so_reuseaddr, reuse_address, 4):
            _fail("exclusive address")
        if setsockopt(fd, sol, so_reuseport, off, off_size):
            _fail("exclusive port")
        if v6only is not None and setsockopt(fd, level, so_v6only, v6only, 4):
            _fail("IPv6 only")
        if setsockopt(fd, level, policy, out, out_size):
            _fail("outbound policy")
        if setsockopt(fd, level, policy, in_, in_size):
            _fail("inbound policy")
        if setsockopt(fd, sol, so_mark, mark, mark_size):
            _fail("mark")
        secured.add(cookie.value)

    return secure


def bind_query() -> Callable[[socket.socket], tuple[int, int, int]]:
    """Return a function that asks what the core asks to recognize a socket: type, cookie, mark."""
    libc = _library(typed=True)
    getsockopt, getsockname = libc.getsockopt, libc.getsockname
    sol, so_mark, so_type = int(socket.SOL_SOCKET), socket.SO_MARK, socket.SO_TYPE
    so_cookie, so_netns = SO_COOKIE, SO_NETNS_COOKIE
    name = ctypes.create_string_buffer(28)
    name_size, int_size, cookie_size = ctypes.c_uint(28), ctypes.c_uint(4), ctypes.c_uint(8)
    kind, marked = ctypes.c_int(), ctypes.c_uint()
    cookie, realm = ctypes.c_uint64(), ctypes.c_uint64()
    name_at, name_size_at = ctypes.byref(name), ctypes.byref(name_size)
    int_size_at, cookie_size_at = ctypes.byref(int_size), ctypes.byref(cookie_size)
    kind_at, marked_at, cookie_at, realm_at = map(ctypes.byref, (kind, marked, cookie, realm))

    def query(sock: socket.socket) -> tuple[int, int, int]:
        fd = sock.fileno()
        name_size.value = 28
        if (
            getsockname(fd, name_at, name_size_at)
            or getsockopt(fd, sol, so_type, kind_at, int_size_at)
            or getsockopt(fd, sol, so_cookie, cookie_at, cookie_size_at)
            or getsockopt(fd, sol, so_mark, marked_at, int_size_at)
            or getsockopt(fd, sol, so_netns, realm_at, cookie_size_at)
        ):
            _fail("query")
        return kind.value, cookie.value, marked.value

    return query
