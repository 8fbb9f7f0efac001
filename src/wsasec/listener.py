"""Listener: a server in C that sinks, echoes or discards what many connections bring."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import socket as _socket
import sys
import warnings
import weakref
from collections.abc import Sequence
from typing import Any, Literal

from . import _wsasec
from .settings import SettingsBase
from .sockets import check_timeout

__all__ = ["Listener", "ListenerCounts"]

_MODES = {"sink": 0, "echo": 1, "discard": 2}
_SO_RCVBUFFORCE = 33

_live: weakref.WeakSet[Listener] = weakref.WeakSet()


@dataclasses.dataclass(frozen=True)
class ListenerCounts:
    """What a listener has seen up to now.

    Attributes:
        accepted: connections taken.
        open: connections open now.
        closed: connections that ended, by whichever side.
        resets: of those, with an error: the peer's reset, a time-out, no memory.
        refused: connections closed at once because their protection could not be seen to; in no other count.
        errors: of accept(), which found no descriptor or no memory, or a connection that was gone; and of
            receiving datagrams.
        received_bytes, sent_bytes: payload.
        received_datagrams, sent_datagrams: datagrams.
        unsent_datagrams: echoes that the system did not take: no SA, no route, a full send buffer.
        dropped_datagrams: by the kernel: the receive buffer was full, or they came in clear.

    """

    accepted: int
    open: int
    closed: int
    resets: int
    refused: int
    errors: int
    received_bytes: int
    sent_bytes: int
    received_datagrams: int
    sent_datagrams: int
    unsent_datagrams: int
    dropped_datagrams: int

    def to_dict(self) -> dict[str, int]:
        """Return the counts by name, for JSON."""
        return dataclasses.asdict(self)


def _widen(sock: _socket.socket, size: int) -> None:
    """Set the receive buffer, past the system's limit where that is allowed."""
    if sys.platform == "win32":  # without a limit
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, size)
        return
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, size)


def _shares_port(sock: _socket.socket) -> bool:
    if sys.platform == "win32":
        return not sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_EXCLUSIVEADDRUSE)
    options = [_socket.SO_REUSEPORT]
    if sock.type == _socket.SOCK_DGRAM:
        options.append(_socket.SO_REUSEADDR)
    return any(sock.getsockopt(_socket.SOL_SOCKET, option) for option in options)


_NOT_SHARED = (
    "a secured socket has its port to itself: with SO_REUSEPORT (or SO_REUSEADDR, for datagrams) another "
    "socket on the port would be dealt some of the connections or datagrams, and would take them in clear; "
    "take threads= for more speed"
)


class Listener(_wsasec.ListenerEngine):
    """A server for load, tests and measurements, in threads of C that never touch Python.

    It takes connections as they come, protected as its own socket is (see `accept`), and deals them to its
    threads in turn. Use it in a `with` block, or close it. A child made by fork() has no part in it.

    Where the process may run on two processors or more, a thread that was busy looks for more for 50
    microseconds before it sleeps, as long as that finds something: to be woken would cost its peers more.
    """

    def __init__(
        self,
        address: Sequence[Any] | None = None,
        *,
        sock: _socket.socket | None = None,
        settings: SettingsBase | None = None,
        secure: bool = True,
        type: int = _socket.SOCK_STREAM,  # noqa: A002 - as socket.socket() has it
        backlog: int = 4096,
        mode: Literal["sink", "echo", "discard"] = "sink",
        discard_after: int = 0,
        threads: int = 1,
        nodelay: bool = False,
        receive_buffer: int = 0,
        reuse_port: bool = False,
        read_size: int = 0,
    ) -> None:
        """Make the socket, secure it, bind it and serve.

        Args:
            address: (host, port), for IPv6 with flow info and scope id; port 0 for one that is free.
            sock: instead of an address, a bound socket; a stream socket need not listen yet. It is the
                listener's own from then on: the object is detached, as by `socket.detach`. After an error it
                is still yours.
            settings: as for `secure`; not with sock.
            secure: False for a plain listener, as a baseline to compare with. With sock, True means that one
                that is not secured is refused.
            type: SOCK_STREAM or SOCK_DGRAM; with sock its own.
            backlog: connections that may wait; the sysctl net.core.somaxconn limits it.
            mode: "sink" reads and throws away; "echo" sends back, and reads from a connection only when its
                peer took what was sent; "discard" is a sink that ends a connection after discard_after bytes.
            discard_after: bytes.
            threads: connections are dealt to them in turn; all take datagrams from the one socket.
            nodelay: set TCP_NODELAY on accepted sockets.
            receive_buffer: SO_RCVBUF in bytes, past net.core.rmem_max where that is allowed; 0: the default.
            reuse_port: SO_REUSEPORT, on Windows SO_REUSEADDR; not on secured sockets.
            read_size: bytes for one read from a connection; 0 for what was measured to be good.

        On Linux SO_REUSEADDR is set for streams, so that a server can be started again while connections of
        the one before are in TIME_WAIT; it does not let two sockets listen on one port there. On Windows it
        would, and SO_EXCLUSIVEADDRUSE is set.

        Raises:
            SecurityError: as `secure`; or sock is not secured and was to be.
            ValueError: reuse_port on a secured socket, or wrong arguments.
            TypeError: neither address nor sock, or both.
            OSError: of bind() and listen(): EADDRINUSE, EADDRNOTAVAIL, ...

        """
        _check_mode(mode, discard_after, threads)
        if (address is None) == (sock is None):
            raise TypeError("one of address and sock is wanted")
        if sock is not None and (settings is not None or reuse_port):
            raise ValueError("a socket that is bound already takes no settings and no reuse_port")
        if secure and (reuse_port or (sock is not None and _shares_port(sock))):
            raise ValueError(_NOT_SHARED)
        with contextlib.ExitStack() as undo:
            if sock is None:
                sock = undo.enter_context(_socket.socket(_family(address), type))
                self._prepare(sock, address, settings, secure=secure, reuse_port=reuse_port)
            kind = sock.type
            if mode == "discard" and kind != _socket.SOCK_STREAM:
                raise ValueError("the mode 'discard' is for stream sockets")
            if receive_buffer:
                _widen(sock, receive_buffer)
            if kind == _socket.SOCK_STREAM:
                sock.listen(backlog)
            self._mode = mode
            self._address = sock.getsockname()
            self._family = sock.family
            self._type = kind
            self._start(sock, _MODES[mode], secure, nodelay, threads, read_size, discard_after)
            self._process = os.getpid()
            self._closed = False
            _live.add(self)

    @staticmethod
    def _prepare(
        sock: _socket.socket,
        address: Sequence[Any] | None,
        settings: SettingsBase | None,
        *,
        secure: bool,
        reuse_port: bool,
    ) -> None:
        if secure:
            _wsasec.secure(sock, settings)
        if sys.platform == "win32":
            # SO_REUSEADDR there is what SO_REUSEPORT is elsewhere, and not needed beside TIME_WAIT.
            if not reuse_port:
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            sock.bind(tuple(address or ()))
            return
        if sock.type == _socket.SOCK_STREAM:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
        sock.bind(tuple(address or ()))

    @property
    def address(self) -> Any:
        """The address the socket is bound to, as `socket.getsockname` tells it."""
        return self._address

    @property
    def family(self) -> _socket.AddressFamily:
        """The address family."""
        return self._family

    @property
    def type(self) -> _socket.SocketKind:
        """SOCK_STREAM or SOCK_DGRAM."""
        return self._type

    @property
    def counts(self) -> ListenerCounts:
        """What it has seen up to now; of all threads, at about one time. Also after `close`."""
        now = self._counts()
        return ListenerCounts(
            accepted=now["accepted"],
            open=now["accepted"] - now["closed"],
            closed=now["closed"],
            resets=now["resets"],
            refused=now["refused"],
            errors=now["accept_errors"] + now["receive_errors"],
            received_bytes=now["received_bytes"],
            sent_bytes=now["sent_bytes"],
            received_datagrams=now["received_datagrams"],
            sent_datagrams=now["sent_datagrams"],
            unsent_datagrams=now["unsent_datagrams"],
            dropped_datagrams=now["dropped_datagrams"],
        )

    def wait_accepted(self, n: int, timeout: float = 30.0) -> None:
        """Wait until n connections were accepted, from the start on.

        Args:
            n: connections.
            timeout: seconds.

        Raises:
            TimeoutError: there were fewer.
            ValueError: the listener was closed before, or is the parent's; or a negative time-out.

        """
        if self._wait_accepted(n, check_timeout(timeout)):
            return
        if self.closed:
            raise ValueError("the listener is closed")
        raise TimeoutError(f"{self.counts.accepted} of {n} connections within {timeout} s")

    def _stopped(self) -> bool:
        return self.closed

    @property
    def closed(self) -> bool:
        """Whether it was closed, or is its parent's, so that there is nothing of it in this one."""
        return self._closed or self._process != os.getpid()

    def close(self) -> None:
        """End the threads and close all sockets, connections as well; twice is no error."""
        self._closed = True
        _live.discard(self)
        self._stop()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_process") and not self.closed:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Listener at {self._address}, {self._type.name}, {self._mode}, {state}>"


def _check_mode(mode: str, discard_after: int, threads: int) -> None:
    if mode not in _MODES:
        raise ValueError(f"mode is one of {', '.join(_MODES)}, not {mode!r}")
    if (mode == "discard") != (discard_after > 0):
        raise ValueError("discard_after, of at least 1 byte, goes with the mode 'discard'")
    if not 1 <= threads <= 256:
        raise ValueError(f"threads is {threads}: not from 1 to 256")


def _family(address: Sequence[Any] | None) -> _socket.AddressFamily:
    host = address[0] if address else ""
    return _socket.AF_INET6 if ":" in str(host) else _socket.AF_INET


def _close_all() -> None:
    for listener in list(_live):
        listener.close()


# Before the interpreter goes: threads that are ended then are not cut off in the middle.
atexit.register(_close_all)
