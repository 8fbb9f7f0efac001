"""SocketBatch: thousands of sockets, made and secured in one C call."""

from __future__ import annotations

import errno
import socket as _socket
import sys
import warnings
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, overload

from . import _wsasec
from .addresses import pack_address
from .descriptor_limit import descriptor_limits, raise_descriptor_limit
from .errors import BatchError, SecurityError
from .ranges import check_range
from .settings import SettingsBase

if TYPE_CHECKING:
    from .connections import Address, ConnectReport

__all__ = ["SocketBatch"]

_PLAIN = 1
_NODELAY = 2

_I32 = 0x7FFFFFFF

Source = str | tuple[str, int]


def _sources(family: int, bind: Source | Sequence[Source] | None) -> tuple[bytes, int] | None:
    """Make the sockaddrs that the sockets are bound to in turn."""
    if bind is None:
        return None
    # A pair of a host and a port is one address, not two.
    single = isinstance(bind, str) or (len(bind) == 2 and isinstance(bind[1], int))
    many: Sequence[Any] = [bind] if single else bind
    if not many:
        raise ValueError("bind is empty: leave it out for no source address")
    packed = [pack_address(family, (each, 0) if isinstance(each, str) else each) for each in many]
    return b"".join(packed), len(packed)


class SocketBatch(_wsasec.Descriptors):
    """Sockets that are made, secured and bound in one C call without the GIL.

    It is a sequence of descriptors (ints) and a read-only buffer of C ints of shape (n,), so that it goes
    wherever a buffer of descriptors does. A slice is a view: it shares the sockets, and does not close them.
    The sockets are non-blocking and close-on-exec; a socket that could not be made is -1.

    Use it in a `with` block, or close it: one that is forgotten closes its sockets with a ResourceWarning.
    """

    codes: array[int]
    """One Winsock code a socket, by index; 0 for success."""
    error: SecurityError | None = None
    """The first failure, by index, in words; None if there was none. A view has that of its batch."""
    results: ConnectReport | None = None
    """What came of the last connect()."""

    def __init__(
        self,
        n: int,
        *,
        family: int = _socket.AF_INET,
        type: int = _socket.SOCK_STREAM,  # noqa: A002 - as socket.socket() has it
        settings: SettingsBase | None = None,
        secure: bool = True,
        bind: Source | Sequence[Source] | None = None,
        nodelay: bool = False,
        send_buffer: int = 0,
        receive_buffer: int = 0,
        raise_limit: bool = False,
        errors: Literal["raise", "return"] = "raise",
        method: str = "auto",
        threads: int = 0,
        progress: Callable[[int, int], object] | None = None,
    ) -> None:
        """Make the sockets.

        Args:
            n: how many.
            family: AF_INET or AF_INET6.
            type: SOCK_STREAM or SOCK_DGRAM.
            settings: as for `secure`, the same for all.
            secure: False for plain sockets, as a baseline to compare with.
            bind: source addresses, taken in turn: "10.0.0.1" or ("10.0.0.1", port), or a sequence of those.
                Numbers, no names.
            nodelay: set TCP_NODELAY.
            send_buffer: SO_SNDBUF in bytes; 0 for the system's default.
            receive_buffer: SO_RCVBUF in bytes; 0 for the system's default.
            raise_limit: raise RLIMIT_NOFILE's soft limit to the hard one first.
            errors: "raise": all or none, at the first failure every socket is closed again; "return": every
                socket is tried, what was made is kept, `codes` says what failed, and `error` why the first
                of them did.
            method: as for `secure_many`, but for "overlapped". Sockets that are not secured are made plainly
                by "auto".
            threads: as for `secure_many`.
            progress: called as progress(done, n), at most 10 times a second. What it raises ends the call, as
                Ctrl-C does within 100 ms; then all that was made is closed.

        Raises:
            BatchError: a socket failed, and errors is "raise"; ``index`` is that of the first,
                ``winsock`` WSAEMFILE at the descriptor limit, WSAEADDRINUSE or WSAEADDRNOTAVAIL where it
                could not be bound, else as `secure`.
            SecurityError: nothing could be begun: wrong settings, or the method is not to be had here.
            OSError: bind names a network interface that there is not ("fe80::1%eth7").
            TypeError, ValueError: wrong arguments.

        """
        if errors not in ("raise", "return"):
            raise ValueError(f"errors is 'raise' or 'return', not {errors!r}")
        for name, number in ("n", n), ("send_buffer", send_buffer), ("receive_buffer", receive_buffer):
            check_range(name, number, 0, _I32)
        if raise_limit:
            raise_descriptor_limit()
        self._family = _socket.AddressFamily(family)
        self._type = _socket.SocketKind(type)
        self._closed = True  # until there are sockets
        self._secured = secure
        flags = (0 if secure else _PLAIN) | (_NODELAY if nodelay else 0)
        self.codes, error, made = self._create(
            n,
            family,
            type,
            settings,
            _sources(family, bind),
            flags,
            send_buffer,
            receive_buffer,
            errors == "raise",
            method,
            threads,
            progress,
        )
        self._closed = False
        if error is None:
            return
        self.error = _explained(error, made, n)
        if errors == "raise":
            self.close()
            index = next(i for i, code in enumerate(self.codes) if code)
            raise BatchError(self.error, self.codes, index)

    @property
    def family(self) -> _socket.AddressFamily:
        """The address family of all sockets."""
        return self._family

    @property
    def type(self) -> _socket.SocketKind:
        """SOCK_STREAM or SOCK_DGRAM."""
        return self._type

    @property
    def closed(self) -> bool:
        """Whether the sockets were closed or given away, or, for a view, those of its owner."""
        owner = self.owner
        return self._closed if owner is None else owner.closed

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> SocketBatch: ...
    def __getitem__(self, index: int | slice) -> int | SocketBatch:
        """Return a descriptor, or a view of several: batch[100:200]."""
        if not isinstance(index, slice):
            return self._number(index)
        start, stop, step = index.indices(len(self))
        if step != 1:
            raise ValueError("a view has a step of 1")
        view = SocketBatch.__new__(SocketBatch)
        stop = max(start, stop)
        view._view(start, stop, self)
        view._family, view._type, view._secured, view._closed = self._family, self._type, self._secured, False
        view.codes, view.error = self.codes[start:stop], self.error
        return view

    def __iter__(self) -> Iterator[int]:
        """Iterate over the descriptors."""
        return iter(memoryview(self))

    def connect(
        self,
        addresses: Address | Sequence[Address],
        *,
        timeout: float = 30.0,
        concurrency: int = 0,
        errors: Literal["raise", "return"] = "raise",
        progress: Callable[[int, int], object] | None = None,
    ) -> ConnectReport:
        """Connect all sockets at once, in C, waiting for their security associations.

        A socket that is refused for the want of an association is tried again, after 1 to 50 ms, on behalf
        of all that go to the same address. No socket is closed, and the call can be made again: those that
        had no answer yet are still in progress then. Datagram sockets are connected without an answer; those
        that were refused for the want of an association have a port of their own from then on.

        Above half of the local ports (14,116 by default) for one source address and one address to connect
        to, the kernel's search for a port takes twenty times as long as everything else: give several.

        Args:
            addresses: (host, port) or several, taken in turn by index; a port may be a range, which
                stands for as many addresses. Numbers, no names.
            timeout: seconds for all of it.
            concurrency: at most so many in progress (up to 2**32-1), an equal share for each address; 0 for
                128 for each address, and at most 4,096: no more than the backlog of most listeners.
            errors: "raise", or "return" for the report only.
            progress: called as progress(done, n), at most 10 times a second. What it raises ends the call, as
                Ctrl-C does within 100 ms; the sockets stay as they are then.

        Returns:
            The report, also in `results`.

        Raises:
            ConnectError: some failed, or there was no socket (-1), and errors is "raise".
            SecurityError: nothing could be begun: no descriptor is left (it takes one), or no memory.
            OSError: an address names a network interface that there is not.
            TypeError, ValueError: wrong arguments, or the batch is closed.

        """
        from .connections import connect_batch

        return connect_batch(
            self, addresses, timeout=timeout, concurrency=concurrency, errors=errors, progress=progress
        )

    def _own(self) -> None:
        if self.owner is not None:
            raise ValueError("a view does not own its sockets: call this on the batch")
        if self._closed:
            raise ValueError("the batch is closed")

    def detach(self) -> array[int]:
        """Give the descriptors to the caller, who closes them; the batch is closed then.

        Returns:
            An ``array('i')``, -1 where there is no socket.

        Raises:
            ValueError: the batch is closed, is a view, or is in use by a call of another thread.

        """
        self._own()
        taken = self._take()
        self._closed = True
        return taken

    def sockets(self) -> list[_socket.socket]:
        """Turn the batch into socket objects that own their descriptors; the batch is closed then.

        Their time-out is socket.getdefaulttimeout(), as of new ones. Sockets that could not be made are left
        out.
        """
        numbers = self.detach()
        timeout = _socket.getdefaulttimeout()
        made: list[_socket.socket] = []
        try:
            for number in numbers:
                if number < 0:
                    continue
                # Listed before it has its descriptor: so it is known who closes that, whenever Ctrl-C comes.
                sock = _socket.socket.__new__(_socket.socket)
                made.append(sock)
                sock.__init__(self._family, self._type, 0, number)  # type: ignore[misc]
                sock.settimeout(timeout)
        except BaseException:
            for sock in made:
                with suppress(AttributeError, OSError):  # gevent's, where it was not made to its end
                    sock.detach()
            for number in numbers:
                if number >= 0:
                    with suppress(OSError):
                        _socket.close(number)
            raise
        return made

    def close(self) -> None:
        """Close all sockets; twice is no error. A view cannot be closed.

        A call that uses them, in another thread or the one from whose callback this is called, ends with a
        ValueError first; the sockets are closed when it has.
        """
        if self.owner is not None:
            raise ValueError("a view does not own its sockets: close the batch")
        self._closed = True
        self._close()

    def __enter__(self) -> SocketBatch:
        return self

    def __exit__(self, *_: object) -> None:
        if self.owner is None:
            self.close()

    def __del__(self) -> None:
        if self.owner is None and not getattr(self, "_closed", True):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "view" if self.owner is not None else "open"
        return f"<SocketBatch of {len(self)} {self._family.name} {self._type.name}, {state}>"


def _explained(error: SecurityError, made: int, wanted: int) -> SecurityError:
    """Say at the descriptor limit how many sockets there were, and what to set."""
    if error.winsock.name != "WSAEMFILE" or error.errno != errno.EMFILE:
        return error
    soft, hard = descriptor_limits()
    unit = "descriptors a process (RLIMIT_NOFILE)"
    if sys.platform == "win32":
        unit = "handles a process"
        remedy = "take several processes"
    elif soft < hard:
        remedy = f"raise_limit=True raises it to the hard limit of {hard}"
    else:
        remedy = "raise the hard limit (ulimit -Hn, systemd's LimitNOFILE=), or take several processes"
    return SecurityError(
        f"no file descriptor left after {made} of {wanted} sockets",
        winsock=error.winsock,
        errno=error.errno,
        hint=f"the limit is {soft} {unit}: {remedy}",
        step=error.step,
        profile=error.profile,
    )
