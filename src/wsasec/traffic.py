"""Traffic over many connected sockets, made by threads in C: streams, requests, datagrams.

    with wsasec.SocketBatch(1000) as batch:
        batch.connect([("10.0.0.2", 5000)])
        result = wsasec.traffic.stream(batch, seconds=5)
        print(result.gbit_per_second, json.dumps(result.to_dict()))

The sockets may be blocking or not; their flags are left alone, and they stay open. A socket that fails
takes no part any more, and its errno is in the result's `errors`; the rest goes on. Where all have failed,
the run ends early. Ctrl-C and an exception in `progress` end a run within 100 ms.
"""

from __future__ import annotations

import errno as _errno
import math
import time
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from . import _wsasec
from ._wsasec import Histogram

if TYPE_CHECKING:
    from _typeshed import HasFileno, ReadableBuffer

    _Sockets = ReadableBuffer | Iterable[HasFileno | int]

__all__ = [
    "DatagramResult",
    "RequestResult",
    "StreamResult",
    "TrafficCounts",
    "TrafficResult",
    "datagrams",
    "requests",
    "stream",
]

_STREAM, _REQUESTS, _DATAGRAMS = 1, 2, 3
_PHASES = ("set-up", "warm-up", "measured", "drain", "done")
_MESSAGE_MAX = 1 << 24
_DATAGRAM_MAX = 65507
_THREADS_MAX = 1024
_SECONDS_MAX = 1e8
_RATE_MIN, _RATE_MAX = 0.001, 1e12
_DRAIN_REQUESTS = 1.0
_DRAIN_DATAGRAMS = 0.5
_RECEIVER_STEP = 0.005
_RECEIVER_QUIET = 0.1


@dataclass(frozen=True)
class TrafficCounts:
    """What has been done since the beginning of a run, warm-up and drain included.

    Attributes:
        phase: "set-up", "warm-up", "measured", "drain" or "done".
        seconds: since the beginning.
        sent_bytes: taken by the kernel.
        received_bytes: of responses and echoes.
        sent_messages: requests or datagrams; of streams, calls of send().
        received_messages: whole responses, or echoes.
        without_sa: attempts to send datagrams that failed for the want of a security association. (TCP
            fills its buffers and waits.)
        stale: datagrams received that this run did not send.
        open: sockets that take part.
        failed: sockets that do not any more.

    """

    phase: str
    seconds: float
    sent_bytes: int
    received_bytes: int
    sent_messages: int
    received_messages: int
    without_sa: int
    stale: int
    open: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class TrafficResult:
    """What every run has.

    Attributes:
        seconds: how long was measured: as asked for, or less where all sockets had failed.
        message_bytes: size of a call of send(), of a request, of a datagram.
        threads: that were asked for.
        rate: that was asked for, or None.
        total: the counts at the end, warm-up and drain included.
        errors: array('i') of one errno a socket, by index; 0: it did not fail. EPIPE also stands for a peer
            that ended the connection, EPROTOTYPE for a socket of the wrong type, EBADF for a -1;
            on Windows WSAEDISCON, EPROTOTYPE and ENOTSOCK.

    """

    kind: ClassVar[str]

    seconds: float
    message_bytes: int
    threads: int
    rate: float | None
    total: TrafficCounts
    errors: array[int]

    @property
    def failed(self) -> int:
        """How many sockets failed."""
        return len(self.errors) - self.errors.count(0)

    def _per_second(self, amount: float) -> float:
        return amount / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON; errors are {"index": "name of the errno"} of those that failed."""
        return {
            "kind": self.kind,
            "sockets": len(self.errors),
            "threads": self.threads,
            "seconds": self.seconds,
            "message_bytes": self.message_bytes,
            "rate": self.rate,
            "failed": self.failed,
            "errors": {
                str(i): _errno.errorcode.get(code, str(code)) for i, code in enumerate(self.errors) if code
            },
            "without_sa": self.total.without_sa,
            "total": dict(vars(self.total)),
        }


@dataclass(frozen=True, kw_only=True)
class StreamResult(TrafficResult):
    """What `stream` measured.

    Attributes:
        bytes: that the peers' kernels acknowledged in the measured time.
        bytes_by_stream: the same, an array('Q') by index.

    """

    kind = "stream"

    bytes: int
    bytes_by_stream: array[int]

    @property
    def gbit_per_second(self) -> float:
        """Acknowledged, of all streams together, in 10**9 bits a second."""
        return self._per_second(self.bytes * 8 / 1e9)

    @property
    def fairness(self) -> float:
        """Bytes of the slowest stream by those of the fastest, of those that did not fail; 0.0 to 1.0."""
        moved = self._moved()
        fastest = max(moved, default=0)
        return min(moved) / fastest if fastest else 0.0

    @property
    def stalled(self) -> int:
        """How many streams did not fail, and moved nothing."""
        return self._moved().count(0)

    def _moved(self) -> list[int]:
        return [count for count, error in zip(self.bytes_by_stream, self.errors, strict=True) if not error]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            **super().to_dict(),
            "bytes": self.bytes,
            "gbit_per_second": self.gbit_per_second,
            "fairness": self.fairness,
            "stalled": self.stalled,
            "bytes_by_stream": self.bytes_by_stream.tolist(),
        }


@dataclass(frozen=True, kw_only=True)
class RequestResult(TrafficResult):
    """What `requests` measured.

    Attributes:
        requests: that were answered in the measured time.
        requests_by_socket: the same, an array('Q') by index.
        latency: in microseconds, of the requests that were due in the measured time and were answered, in
            the drain at the latest. Without a rate, a request is due when it is sent.
        unanswered: requests that were due in the measured time and have no response.
        unsent: with a rate, requests that were due in the measured time, and were held up by the one before
            them beyond its end. They and `unanswered` are missing in `latency`: where there are many of
            them, its upper percentiles are too low.
        unclean: indices of sockets that still wait for a response: of no use for another run.

    """

    kind = "requests"

    requests: int
    requests_by_socket: array[int]
    latency: Histogram
    unanswered: int
    unsent: int
    unclean: tuple[int, ...]

    @property
    def requests_per_second(self) -> float:
        """Answered, of all sockets together."""
        return self._per_second(self.requests)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            **super().to_dict(),
            "requests": self.requests,
            "requests_per_second": self.requests_per_second,
            "latency": self.latency.to_dict(),
            "unanswered": self.unanswered,
            "unsent": self.unsent,
            "unclean": list(self.unclean),
            "requests_by_socket": self.requests_by_socket.tolist(),
        }


@dataclass(frozen=True, kw_only=True)
class DatagramResult(TrafficResult):
    """What `datagrams` measured.

    Attributes:
        datagrams: that were sent in the measured time.
        datagrams_by_socket: the same, an array('Q') by index.
        sent: all, warm-up included.
        echoed: of these, those that came back.
        received: of these, those that the receiver counted; None without one.
        latency: of the echoes, in microseconds from the making of a datagram to its echo.

    """

    kind = "datagrams"

    datagrams: int
    datagrams_by_socket: array[int]
    sent: int
    echoed: int
    received: int | None
    latency: Histogram

    @property
    def datagrams_per_second(self) -> float:
        """Sent, of all sockets together."""
        return self._per_second(self.datagrams)

    @property
    def lost(self) -> int | None:
        """How many of `sent` did not arrive.

        By the receiver's counts; without one, how many had no echo (there or back); None if there were no
        echoes either, as then nobody knows.
        """
        if self.received is not None:
            return max(0, self.sent - self.received)
        return max(0, self.sent - self.echoed) if self.echoed else None

    @property
    def loss(self) -> float | None:
        """The same as a fraction, 0.0 to 1.0."""
        lost = self.lost
        return None if lost is None or not self.sent else lost / self.sent

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            **super().to_dict(),
            "datagrams": self.datagrams,
            "datagrams_per_second": self.datagrams_per_second,
            "sent": self.sent,
            "echoed": self.echoed,
            "received": self.received,
            "lost": self.lost,
            "loss": self.loss,
            "latency": self.latency.to_dict(),
            "datagrams_by_socket": self.datagrams_by_socket.tolist(),
        }


class _Counts(Protocol):
    @property
    def received_datagrams(self) -> int: ...


class Receiver(Protocol):
    """What counts datagrams where they arrive: a `wsasec.Listener`."""

    @property
    def counts(self) -> _Counts: ...


Progress = Callable[[TrafficCounts], object]


def _nanoseconds(name: str, seconds: float, *, zero: bool) -> int:
    if not math.isfinite(seconds) or not 0 <= seconds <= _SECONDS_MAX or (not zero and seconds < 1e-9):
        raise ValueError(f"{name} is {seconds}, not a number of seconds{'' if zero else ' above 0'}")
    return round(seconds * 1e9)


def _within(name: str, value: int, most: int) -> int:
    if not 1 <= value <= most:
        raise ValueError(f"{name} is {value}, not from 1 to {most}")
    return value


def _told(progress: Progress | None) -> Callable[[dict[str, Any]], object] | None:
    return None if progress is None else lambda counts: progress(_counts(counts))


def _counts(counts: dict[str, Any]) -> TrafficCounts:
    return TrafficCounts(**counts | {"phase": _PHASES[counts["phase"]]})


def _run(
    kind: int,
    sockets: _Sockets,
    message: tuple[str, int, int],
    *,
    seconds: float,
    warm_up: float,
    drain: float,
    threads: int,
    rate: float | None,
    progress: Progress | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run it; return what all results have, and the rest."""
    if rate is not None and not _RATE_MIN <= rate <= _RATE_MAX:
        raise ValueError(f"rate is {rate}, not from 0.001 to 1e12; None is for no limit")
    size = _within(*message)
    total, found = _wsasec.run_traffic(
        sockets,
        kind,
        threads=_within("threads", threads, _THREADS_MAX),
        message_bytes=size,
        warm_up=_nanoseconds("warm_up", warm_up, zero=True),
        run=_nanoseconds("seconds", seconds, zero=False),
        drain=_nanoseconds("drain", drain, zero=True),
        rate=rate or 0.0,
        progress=_told(progress),
    )
    common = {
        "seconds": found["seconds"],
        "message_bytes": size,
        "threads": threads,
        "rate": rate,
        "total": _counts(total),
        "errors": found["errors"],
    }
    return common, found


def stream(
    sockets: _Sockets,
    *,
    seconds: float,
    warm_up: float = 0.2,
    message_bytes: int = 131072,
    threads: int = 1,
    rate: float | None = None,
    progress: Progress | None = None,
) -> StreamResult:
    """Send as much as the sockets take, and count what the peers acknowledge.

    What the peers send back is read and thrown away. The sockets take turns, one message each. Without a
    security association TCP fills its buffers and waits: the run ends in time, and the stream has moved less.

    Args:
        sockets: connected stream sockets: a `SocketBatch`, another buffer of C ints, or an iterable of
            sockets.
        seconds: how long is measured.
        warm_up: seconds before that, which do not count.
        message_bytes: handed to the kernel at once, up to 16 MiB.
        threads: how many; the sockets are dealt out to them in turn.
        rate: bytes a second of all streams together, from 0.001 to 1e12; None for no limit. What could not be
            sent for more than 100 ms is not made up for.
        progress: called as progress(TrafficCounts) at most 10 times a second.

    Raises:
        ValueError: a number is out of range, or there are no sockets.
        TypeError: not sockets.
        SecurityError: no memory, descriptors or threads left.
        RuntimeError: the process was forked meanwhile, and this is the child, which has none of the threads.

    """
    common, found = _run(
        _STREAM,
        sockets,
        ("message_bytes", message_bytes, _MESSAGE_MAX),
        seconds=seconds,
        warm_up=warm_up,
        drain=0,
        threads=threads,
        rate=rate,
        progress=progress,
    )
    return StreamResult(**common, bytes=found["bytes"], bytes_by_stream=found["bytes_by_socket"])


def requests(
    sockets: _Sockets,
    *,
    seconds: float,
    warm_up: float = 0.2,
    request_bytes: int = 64,
    threads: int = 1,
    rate: float | None = None,
    drain: float = _DRAIN_REQUESTS,
    progress: Progress | None = None,
) -> RequestResult:
    """Send requests to peers that answer each with as many bytes (echo it), one at a time on each socket.

    Without a rate, the next request goes when the response is there: a slow response then also delays the
    requests that would have met the same slowness, and they are missing in the percentiles ("coordinated
    omission"). With a rate, every socket has a schedule that does not wait for responses, and a latency
    counts from the time at which the request was due, so that nothing is missing. A socket that fails takes
    its share of the rate with it.

    Sockets without TCP_NODELAY may wait for acknowledgments where a request is larger than a segment.

    Args:
        sockets: connected stream sockets: a `SocketBatch`, another buffer of C ints, or an iterable of
            sockets.
        seconds: how long is measured.
        warm_up: seconds before that, which do not count.
        request_bytes: size of a request, and of a response, up to 16 MiB.
        threads: how many; the sockets are dealt out to them in turn.
        rate: requests a second of all sockets together, from 0.001 to 1e12; None for as many as can be.
        drain: seconds at most that responses are waited for at the end. What has none then is in the result's
            `unclean`.
        progress: called as progress(TrafficCounts) at most 10 times a second.

    Raises:
        ValueError: a number is out of range, or there are no sockets.
        TypeError: not sockets.
        SecurityError: no memory, descriptors or threads left.
        RuntimeError: the process was forked meanwhile, and this is the child, which has none of the threads.

    """
    common, found = _run(
        _REQUESTS,
        sockets,
        ("request_bytes", request_bytes, _MESSAGE_MAX),
        seconds=seconds,
        warm_up=warm_up,
        drain=drain,
        threads=threads,
        rate=rate,
        progress=progress,
    )
    return RequestResult(
        **common,
        requests=found["messages"],
        requests_by_socket=found["messages_by_socket"],
        latency=found["latency"],
        unanswered=found["unanswered"],
        unsent=found["unsent"],
        unclean=found["unclean"],
    )


def _received(receiver: Receiver, before: int, sent: int, drain: float) -> int:
    """Wait until all that was sent has arrived, or for a while nothing more does."""
    now = time.monotonic()
    deadline = now + drain
    changed, last = now, -1
    while True:
        count = receiver.counts.received_datagrams - before
        now = time.monotonic()
        if count != last:
            changed, last = now, count
        if count >= sent or now >= deadline or now - changed >= _RECEIVER_QUIET:
            return count
        time.sleep(_RECEIVER_STEP)


def datagrams(
    sockets: _Sockets,
    *,
    seconds: float,
    warm_up: float = 0.2,
    datagram_bytes: int = 1024,
    threads: int = 1,
    rate: float | None = None,
    receiver: Receiver | None = None,
    drain: float = _DRAIN_DATAGRAMS,
    progress: Progress | None = None,
) -> DatagramResult:
    """Send datagrams, many with one system call, and count the lost ones.

    Each of at least 16 bytes begins with its number on its socket, from 0, and the time at which it was
    made in nanoseconds of CLOCK_MONOTONIC, both 8 bytes in network byte order. Echoes are counted, and
    those of an earlier run are told apart. A socket without a security association tries again after 1 ms,
    then less often, up to 50 ms; such attempts are counted as `without_sa`. Loss counts over the whole run,
    warm-up included.

    Args:
        sockets: connected datagram sockets: a `SocketBatch`, another buffer of C ints, or an iterable of
            sockets.
        seconds: how long is measured.
        warm_up: seconds before that, which do not count.
        datagram_bytes: from 1 to 65507.
        threads: how many; the sockets are dealt out to them in turn.
        rate: datagrams a second of all sockets together, from 0.001 to 1e12; None for as many as can be. What
            could not be sent for more than 100 ms is not made up for.
        receiver: whose ``counts.received_datagrams`` tells what has arrived: a `wsasec.Listener` that
            nobody else sends to. None: loss is known where the peer echoes.
        drain: seconds at most that echoes, and then the receiver, are waited for at the end.
        progress: called as progress(TrafficCounts) at most 10 times a second.

    Raises:
        ValueError: a number is out of range, or there are no sockets.
        TypeError: not sockets.
        SecurityError: no memory, descriptors or threads left.
        RuntimeError: the process was forked meanwhile, and this is the child, which has none of the threads.

    """
    before = 0 if receiver is None else receiver.counts.received_datagrams
    common, found = _run(
        _DATAGRAMS,
        sockets,
        ("datagram_bytes", datagram_bytes, _DATAGRAM_MAX),
        seconds=seconds,
        warm_up=warm_up,
        drain=drain,
        threads=threads,
        rate=rate,
        progress=progress,
    )
    total: TrafficCounts = common["total"]
    return DatagramResult(
        **common,
        datagrams=found["messages"],
        datagrams_by_socket=found["messages_by_socket"],
        sent=total.sent_messages,
        echoed=total.received_messages,
        received=None if receiver is None else _received(receiver, before, total.sent_messages, drain),
        latency=found["latency"],
    )
