"""Connecting the sockets of a batch, all at once, and what came of it."""

from __future__ import annotations

import errno as _errno
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from . import _wsasec
from ._wsasec import Histogram
from .addresses import pack_address
from .constants import Winsock
from .errors import _ERRNO, BatchError, SecurityError, errno_of, text_of
from .ranges import U32, check_range
from .sockets import check_timeout, no_association

if TYPE_CHECKING:
    from .batch import SocketBatch

__all__ = ["Address", "ConnectError", "ConnectReport", "connect_batch"]

Address = tuple[str, int] | tuple[str, range] | tuple[str, int, int, int]
"""(host, port), (host, range of ports), or (host, port, flow info, scope id); hosts are numbers, no names."""

NO_ASSOCIATION: Final = _errno.EWOULDBLOCK
"""EAGAIN, but on Windows Winsock's, as all errnos of sockets are there."""

_WINSOCK: Final[dict[int, Winsock]] = {
    **{number: code for code, number in _ERRNO.items()},
    NO_ASSOCIATION: Winsock.WSAETIMEDOUT,
    _errno.EBADF: Winsock.WSAENOTSOCK,
    _errno.EPERM: Winsock.WSAEACCES,
    _errno.ENOMEM: Winsock.WSAENOBUFS,
    _errno.ENOSPC: Winsock.WSAENOBUFS,
}

_NOT_MADE = "the socket was not made, or was closed: see the batch's codes"

if sys.platform == "win32":
    _ROUTES = _SOCKETS_ROUTES = "`route print`"
    _NEIGHBOURS = "`netsh interface ipv4 show neighbors`"
    _PORTS = "range of ports (`netsh interface ipv4 show dynamicport tcp`)"
    _MANUAL = "see errno among Winsock's error codes"
else:
    _ROUTES = "`ip route`"
    _SOCKETS_ROUTES = "`ip route` in the sockets' network namespace"
    _NEIGHBOURS = "`ip neighbour`"
    _PORTS = "net.ipv4.ip_local_port_range"
    _MANUAL = "see errno in connect(2)"

_HINTS: Final[dict[int, str]] = {
    _errno.EACCES: f"look at the firewall and at {_ROUTES}",
    _errno.EADDRNOTAVAIL: "no local port is left for this address: take more ports or hosts to connect to, "
    f"more source addresses (bind=), or a wider {_PORTS}",
    _errno.EAFNOSUPPORT: "connect to an address of the batch's family",
    _errno.EBADF: _NOT_MADE,
    _errno.ENOTSOCK: _NOT_MADE,
    _errno.ECONNREFUSED: "nobody listens there: start the server first, or look at the port",
    _errno.ECONNRESET: "the server closed it at once: look at its log, and at its backlog",
    _errno.EHOSTUNREACH: f"look at {_ROUTES} and {_NEIGHBOURS}",
    _errno.EINVAL: "the socket must be non-blocking, as a batch makes it",
    _errno.EISCONN: "a batch is connected once; make a new one",
    _errno.ENOBUFS: "the kernel has no memory: close sockets, or connect fewer at a time (concurrency=)",
    _errno.ENOMEM: "the kernel has no memory: close sockets, or connect fewer at a time (concurrency=)",
    _errno.ENETUNREACH: f"look at {_SOCKETS_ROUTES}",
    _errno.EPERM: "look at the firewall",
    _errno.ETIMEDOUT: "no answer until the deadline, or not its turn: look at the server and its backlog, at "
    "whether both ends are secured, or give more time",
}


@dataclass(frozen=True, slots=True)
class ConnectReport:
    """What came of connecting a batch.

    Attributes:
        errnos: array('i') of one errno a socket, by index: 0 for connected; EAGAIN: no security association
            until the deadline, or the key daemon said that there will be none; EPERM: also a peer that is
            another than the socket's name; ETIMEDOUT: no answer, or not its turn, until the deadline; EBADF:
            there is no socket; else what connect() ended with (ECONNREFUSED, EADDRNOTAVAIL: no port left,
            EISCONN, ...).
            On Windows ENOTSOCK where there is no socket, and no EAGAIN: the system waits for an association.
        connected: how many are connected.
        failed: how many are not.
        seconds: how long all of it took.
        latency: microseconds of each connection, from the call of connect() that was not refused for the
            want of a security association to the moment when the connection was known to stand. Waiting for
            an association, or for its turn (concurrency), is not in it.
        waited_for_sa: how many sockets were held back because their address had no security association.
        sa_wait: microseconds of those among them whose address then had one: for how long it had none.

    """

    errnos: array[int]
    connected: int
    failed: int
    seconds: float
    latency: Histogram
    waited_for_sa: int
    sa_wait: Histogram

    @property
    def rate(self) -> float:
        """Connections a second; 0.0 where no time passed."""
        return self.connected / self.seconds if self.seconds else 0.0

    @property
    def without_sa(self) -> int:
        """How many sockets had no security association until the deadline."""
        return self.errnos.count(NO_ASSOCIATION)

    @property
    def errors(self) -> dict[str, int]:
        """How many sockets failed with which errno, by name, the most frequent first."""
        counts = Counter(self.errnos)
        del counts[0]
        return {_errno.errorcode.get(error, str(error)): count for error, count in counts.most_common()}

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the errno of each socket, for JSON."""
        return {
            "connected": self.connected,
            "failed": self.failed,
            "errors": self.errors,
            "seconds": self.seconds,
            "rate": self.rate,
            "latency": self.latency.to_dict(),
            "waited_for_sa": self.waited_for_sa,
            "without_sa": self.without_sa,
            "sa_wait": self.sa_wait.to_dict(),
        }


class ConnectError(BatchError):
    """Some sockets of a batch could not be connected; the others are.

    Attributes:
        codes: array('i') of one Winsock code a socket, by index; 0 for success.
        index: index of the first failure.
        report: the `ConnectReport`, with the errno of each.

    """

    def __init__(self, first: SecurityError, codes: array[int], index: int, report: ConnectReport) -> None:
        super().__init__(first, codes, index)
        self.report = report

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._state(), self.codes, self.index, self.report)


def _rebuild(state: dict[str, Any], codes: array[int], index: int, report: ConnectReport) -> ConnectError:
    return ConnectError(SecurityError(**state), codes, index, report)


def _winsock(error: int) -> int:
    return _WINSOCK.get(error, Winsock.WSAENETDOWN) if error else 0


def _each(address: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the address, or one for each port of a range."""
    if not isinstance(address, Sequence) or isinstance(address, str) or not 2 <= len(address) <= 4:
        raise ValueError(f"an address is (host, port) or (host, range of ports), not {address!r}")
    host, port, *rest = address
    for each in port if isinstance(port, range) else (port,):
        if isinstance(each, bool) or not isinstance(each, int):
            raise TypeError(f"a port is an int, or a range, not {type(each).__name__}")
        if not 1 <= each <= 0xFFFF:
            raise ValueError(f"port {each} is not from 1 to 65535")
        yield (host, each, *rest)


def unfold(addresses: Address | Sequence[Address]) -> list[tuple[Any, ...]]:
    """Make a list of single addresses of what `SocketBatch.connect` takes.

    Raises:
        ValueError: no address, or not of that form.
        TypeError: a port that is no number.

    """
    # A host and a port are one address, not two.
    single = bool(addresses) and isinstance(addresses[0], str)
    many: Sequence[Any] = [addresses] if single else addresses
    found = [one for address in many for one in _each(address)]
    if not found:
        raise ValueError("there is no address to connect to")
    return found


def _pack(family: int, address: tuple[Any, ...]) -> bytes:
    try:
        return pack_address(family, address)
    except ValueError as error:
        raise ValueError(f"{error}; a name is resolved first, by socket.getaddrinfo()") from None


def _failure(
    batch: SocketBatch,
    report: ConnectReport,
    addresses: list[tuple[Any, ...]],
    verdicts: dict[int, SecurityError],
) -> ConnectError:
    def verdict_on(index: int) -> SecurityError | None:
        """Return what the key daemon said, where that is why a socket is not connected."""
        refused = report.errnos[index] in (NO_ASSOCIATION, _errno.EPERM)
        return verdicts.get(index % len(addresses)) if refused else None

    def code_of(index: int) -> int:
        verdict = verdict_on(index)
        return _winsock(report.errnos[index]) if verdict is None else verdict.winsock

    index = next(i for i, error in enumerate(report.errnos) if error)
    error = report.errnos[index]
    address = addresses[index % len(addresses)]
    number = batch[index]
    verdict = verdict_on(index)
    if error == NO_ASSOCIATION or verdict is not None:
        first = no_association(number, address, verdict)
    else:
        first = SecurityError(
            f"cannot connect to {address[0]}:{address[1]}: {text_of(error)}",
            winsock=_winsock(error),
            errno=errno_of(error),
            hint=_HINTS.get(error, _MANUAL),
            socket=number,
            step="connect",
        )
    return ConnectError(first, array("i", map(code_of, range(len(report.errnos)))), index, report)


def connect_batch(
    batch: SocketBatch,
    addresses: Address | Sequence[Address],
    *,
    timeout: float,
    concurrency: int,
    errors: Literal["raise", "return"],
    progress: Callable[[int, int], object] | None,
) -> ConnectReport:
    """Do what `SocketBatch.connect` says."""
    if errors not in ("raise", "return"):
        raise ValueError(f"errors is 'raise' or 'return', not {errors!r}")
    if batch.closed:
        raise ValueError("the batch is closed")
    check_timeout(timeout)
    check_range("concurrency", concurrency, 0, U32)
    single = unfold(addresses)
    packed = b"".join(_pack(batch.family, address) for address in single)
    errnos, connected, waited, seconds, latency, wait, verdicts = _wsasec.connect_many(
        batch, packed, len(single), timeout, concurrency, progress
    )
    report = ConnectReport(errnos, connected, len(errnos) - connected, seconds, latency, waited, wait)
    batch.results = report
    if errors == "raise" and report.failed:
        raise _failure(batch, report, single, verdicts)
    return report
