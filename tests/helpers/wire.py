"""A lab under capture, and what tests do on it.

The capture surrounds the life of every socket: what counts is also what the kernel sends after close().
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from frames import Sniffer, source_of

import wsasec
from wsasec.lab import SA, Capture, Counts, Lab, Namespace, parse

TIMEOUT = 10.0
"""Seconds for anything that takes milliseconds when it works."""

_POLL_STEP = 0.002
_CHUNK = 1 << 16
_LESSONS = 20

# As /proc/net/tcp counts them, from 1.
_TCP_STATES = (
    *("ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"),
    *("CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV"),
)


def wait_for(condition: Callable[[], Any], what: str, timeout: float = TIMEOUT) -> Any:
    """Ask until the answer is true and return it; fail with `what` at the deadline."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(_POLL_STEP)


def wait_for_address(namespace: Namespace, text: str) -> None:
    """Wait until an IPv6 address is in use: the kernel has a work queue put up its own route, later."""
    words = ["ip", "-6", "route", "show", "table", "local"]
    wait_for(lambda: text in namespace.run(words).stdout, "the address is in use")


def tcp_states(namespace: Namespace, port: int | None = None) -> Counter[str]:
    """Count the TCP sockets of a namespace by state, minisockets included; those with a port, or all."""
    found: Counter[str] = Counter()
    with namespace.entered():
        for name in ("tcp", "tcp6"):
            for line in Path(f"/proc/thread-self/net/{name}").read_text().splitlines()[1:]:
                local, remote, state = line.split()[1:4]
                ports = {int(end.rpartition(":")[2], 16) for end in (local, remote)}
                if port is None or port in ports:
                    found[_TCP_STATES[int(state, 16) - 1]] += 1
    return found


def xfrm_stats(namespace: Namespace) -> dict[str, int]:
    """Read the kernel's XFRM error counters (Documentation/networking/xfrm_proc.rst)."""
    with namespace.entered():
        text = Path("/proc/thread-self/net/xfrm_stat").read_text()
    return {key: int(value) for key, value in map(str.split, text.splitlines())}


def xfrm_stat(namespace: Namespace, name: str) -> int:
    """Read one of the kernel's XFRM error counters."""
    return xfrm_stats(namespace)[name]


def net_stat(namespace: Namespace, name: str) -> int:
    """Read a counter of /proc/net/snmp or netstat, like "Tcp.RetransSegs" or "TcpExt.SyncookiesRecv"."""
    group, _, key = name.partition(".")
    with namespace.entered():
        text = "".join(Path(f"/proc/thread-self/net/{file}").read_text() for file in ("snmp", "netstat"))
    rows = [line.split() for line in text.splitlines() if line.startswith(f"{group}:")]
    return int(dict(zip(*rows, strict=True))[key])


def is_readable(sock: socket.socket, timeout: float = 0.0) -> bool:
    """Whether there is data, a connection, an end or an error."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def receive(sock: socket.socket, size: int) -> bytes:
    """Receive exactly so much, less only at the end of the stream."""
    parts = []
    while size and (part := sock.recv(min(size, _CHUNK))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _despite_news(call: Callable[[], Any]) -> Any:
    """Call again where the kernel had to say first that the path got narrower, which it says once."""
    try:
        return call()
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        return call()


# One that was late is sent twice; its second copy may come after all that belongs to a call.
_sent_to: WeakKeyDictionary[socket.socket, set[bytes]] = WeakKeyDictionary()


def exchange_datagrams(first: socket.socket, second: socket.socket, sizes: Iterable[int]) -> None:
    """Send datagrams of each size both ways. The first may be lost for teaching its sender how much fits."""
    for sender, receiver in ((first, second), (second, first)):
        receiver.settimeout(1.0)
        before = _sent_to.setdefault(receiver, set())
        for size in sizes:
            data = os.urandom(size)
            for _ in range(_LESSONS):
                _despite_news(partial(sender.send, data))
                try:
                    while (got := _despite_news(partial(receiver.recv, 1 << 17))) in before and got != data:
                        pass
                except TimeoutError:
                    continue
                break
            else:
                raise AssertionError(f"no datagram of {size} bytes arrived")
            assert got == data
            before.add(data)


class Stream:
    """Random bytes on their way from one end of a connection to the other."""

    def __init__(self, source: socket.socket, sink: socket.socket, size: int) -> None:
        for sock in (source, sink):
            # Such a descriptor does not block, whatever is done with it.
            assert sock.gettimeout() is not None
        self.source = source
        self.sink = sink
        self.data = os.urandom(size)
        self.sent = 0
        self.received = bytearray()

    @property
    def done(self) -> bool:
        return len(self.received) >= len(self.data)

    def push(self) -> int:
        """Send what the socket takes at once; return how much that was."""
        try:
            # Not send(): with a time-out it waits, and where there is no association it spins.
            count = os.write(self.source.fileno(), self.data[self.sent : self.sent + _CHUNK])
        except BlockingIOError:
            return 0
        self.sent += count
        return count

    def pull(self) -> int:
        """Receive what is there; return how much that was."""
        try:
            part = os.read(self.sink.fileno(), _CHUNK)
        except BlockingIOError:
            return 0
        assert part, f"the stream ended after {len(self.received)} of {len(self.data)} bytes"
        self.received += part
        return len(part)

    @property
    def held_back(self) -> bool:
        """Whether the kernel has tried to send again, or to probe, and had no answer yet."""
        # struct tcp_info: state, ca_state, retransmits, probes.
        info = self.source.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 4)
        return info[2] + info[3] > 0


def run_streams(*streams: Stream, until: Callable[[], bool] | None = None, timeout: float = 45.0) -> None:
    """Move the streams, all at once, to their ends (or as far as `until` says) and compare every byte."""
    deadline = time.monotonic() + timeout
    while not all(stream.done for stream in streams) and not (until and until()):
        poll = select.poll()
        # A socket may be the source of one stream and the sink of another.
        wanted: Counter[int] = Counter()
        for stream in streams:
            if stream.sent < len(stream.data):
                wanted[stream.source.fileno()] |= select.POLLOUT
            if not stream.done:
                wanted[stream.sink.fileno()] |= select.POLLIN
        for fd, events in wanted.items():
            poll.register(fd, events)
        ready = dict(poll.poll(100))
        for stream in streams:
            if ready.get(stream.source.fileno(), 0) & ~select.POLLIN and stream.sent < len(stream.data):
                stream.push()
            if ready.get(stream.sink.fileno(), 0) & ~select.POLLOUT and not stream.done:
                stream.pull()
        assert time.monotonic() < deadline, (
            f"not within {timeout} s: received, sent, of: "
            f"{[(len(stream.received), stream.sent, len(stream.data)) for stream in streams]}"
        )
    for stream in streams:
        assert stream.received == stream.data[: len(stream.received)], "other bytes arrived than were sent"


class Wire:
    """Two hosts under capture, seen from one address family.

    Attributes:
        lab: the hosts and their associations.
        a, b: the hosts; the capture is at a.
        family: AF_INET or AF_INET6.
        capture: counts every frame.
        sniffer: keeps every frame, or None.
        expected_clear: how many packets in clear the test itself sends, by state; nothing else may be clear.
        sas_at_end: the associations with their counters, of both hosts, after all.
    """

    def __init__(
        self, lab: Lab, family: socket.AddressFamily, capture: Capture, sniffer: Sniffer | None
    ) -> None:
        self.lab = lab
        self.a = lab.a
        self.b = lab.b
        self.family = family
        self.capture = capture
        self.sniffer = sniffer
        self.expected_clear: Mapping[str, int] = {}
        self.sas_at_end: list[SA] = []
        self._sockets = ExitStack()

    # --- sockets; all are closed while the capture still runs ---

    def host(self, namespace: Namespace) -> str:
        """Return a host's address in this family."""
        return namespace.v4 if self.family == socket.AF_INET else namespace.v6

    def keep(self, sock: socket.socket) -> socket.socket:
        """Give a socket a time-out, and close it at the end."""
        sock.settimeout(TIMEOUT)
        return self._sockets.enter_context(sock)

    def plain(self, namespace: Namespace, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """Make a socket that nobody secures."""
        return self.keep(namespace.socket(self.family, kind))

    def secured(
        self, namespace: Namespace, kind: int = socket.SOCK_STREAM, settings: Any = None
    ) -> socket.socket:
        """Make a secured socket."""
        sock = self.plain(namespace, kind)
        wsasec.secure(sock, settings)
        return sock

    def bind(self, sock: socket.socket, namespace: Namespace) -> socket.socket:
        sock.bind((self.host(namespace), 0))
        return sock

    def listener(
        self, namespace: Namespace, backlog: int = 16, *, secured: bool = True, settings: Any = None
    ) -> socket.socket:
        """Make a listener on a port of the kernel's choice."""
        sock = self.secured(namespace, settings=settings) if secured else self.plain(namespace)
        self.bind(sock, namespace).listen(backlog)
        return sock

    def datagram(self, namespace: Namespace, settings: Any = None) -> socket.socket:
        """Make a secured datagram socket with a port."""
        return self.bind(self.secured(namespace, socket.SOCK_DGRAM, settings), namespace)

    def connect(self, sock: socket.socket, address: Any) -> socket.socket:
        """Connect a socket; never by its own connect(), which spins where there is no association."""
        wsasec.connect(sock, address, TIMEOUT)
        return sock

    def accept(self, listener: socket.socket) -> socket.socket:
        return self.keep(listener.accept()[0])

    def connection(self, settings: Any = None) -> tuple[socket.socket, socket.socket, int]:
        """Make a connection between secured sockets: the client at a, the server at b, the server's port."""
        listener = self.listener(self.b, settings=settings)
        client = self.connect(self.secured(self.a, settings=settings), listener.getsockname())
        return client, self.accept(listener), listener.getsockname()[1]

    def datagram_pair(self, settings: Any = None) -> tuple[socket.socket, socket.socket]:
        """Make two secured datagram sockets, at a and at b, connected to each other."""
        first, second = self.datagram(self.a, settings), self.datagram(self.b, settings)
        self.connect(first, second.getsockname())
        self.connect(second, first.getsockname())
        return first, second

    # --- the wire itself ---

    @contextmanager
    def netem(self, namespace: Namespace, *what: str) -> Iterator[None]:
        """Disturb what a host sends, as tc-netem(8) says, for a while."""
        namespace.run(["tc", "qdisc", "add", "dev", namespace.device, "root", "netem", *what])
        yield
        namespace.run(["tc", "qdisc", "del", "dev", namespace.device, "root"])

    def broken(self, namespace: Namespace) -> AbstractContextManager[None]:
        """Lose everything that a host sends, for a while."""
        return self.netem(namespace, "loss", "100%")

    # --- what the kernel says ---

    def sas(self, namespace: Namespace) -> list[SA]:
        """Return the associations of this family."""
        return [sa for sa in namespace.sas() if (":" in sa.src) == (self.family == socket.AF_INET6)]

    def close_sockets(self) -> None:
        self._sockets.close()

    def settle(self) -> None:
        """Wait until no connection of the two hosts has anything left to say."""
        for end in (self.a, self.b):
            deadline = time.monotonic() + TIMEOUT
            while states := set(tcp_states(end)) - {"LISTEN", "TIME_WAIT"}:
                assert time.monotonic() < deadline, f"connections of {end.name} do not end: {states}"
                time.sleep(_POLL_STEP)


def _check_associations(wire: Wire, *, moved: bool) -> None:
    for namespace in (wire.a, wire.b):
        sas = wire.sas(namespace)
        if moved:
            host, name = wire.host(namespace), namespace.name
            assert any(sa.packets for sa in sas if sa.src == host), f"nothing sent from {name}: {sas}"
            assert any(sa.packets for sa in sas if sa.dst == host), f"nothing received at {name}: {sas}"
        else:
            assert not any(sa.packets for sa in sas), f"traffic under an association: {sas}"


def _check(counts: Counts, wire: Wire, *, esp: bool | None, ike: bool, clear_from: frozenset[str]) -> None:
    clear = f"{dict(counts.clear_by_state)}: {[frame.hex() for frame in counts.first_clear]}"
    assert counts.dropped == 0, "the capture missed frames: its counts prove nothing"
    assert ike or counts.ike == 0
    if clear_from:
        assert wire.sniffer is not None
        frames = [frame for frame in wire.sniffer.frames() if parse(frame).group == "clear"]
        assert len(frames) == counts.clear, f"the two captures differ: {len(frames)} and {clear}"
        sources = {source_of(frame) for frame in frames}
        assert sources <= clear_from, f"clear packets of a secured host, of {sources}: {clear}"
    else:
        assert counts.clear_by_state == Counter(wire.expected_clear), f"clear packets: {clear}"
    if esp is not None:
        assert (counts.esp > 0) == esp, f"{counts.esp} ESP packets"


@contextmanager
def open_wire(
    family: socket.AddressFamily,
    *,
    esp: bool | None = True,
    ike: bool = False,
    clear_from: frozenset[str] | set[str] = frozenset(),
    settle: bool = True,
    sniff: bool = False,
    prepare: Callable[[Lab], None] | None = None,
    **lab_options: Any,
) -> Iterator[Wire]:
    """Make a lab under capture, and hold what passed the wire against what may pass it.

    Args:
        family: the address family the test is about.
        esp: whether ESP packets must have passed, both ways, and been counted by associations; False: none
            may have; None: either.
        ike: whether IKE may have passed, too.
        clear_from: addresses of hosts without protection, which may send in clear; nobody else may.
            Empty: nobody but what `expected_clear` says.
        settle: wait for the ends of all connections before the capture stops. Off where some cannot end.
        sniff: keep all frames, too (implied by clear_from).
        prepare: called with the lab before the capture starts.
        lab_options: of Lab.
    """
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(**lab_options))
        if prepare is not None:
            prepare(lab)
        sniffer = stack.enter_context(Sniffer(lab.a)) if sniff or clear_from else None
        with lab.capture() as capture:
            wire = Wire(lab, family, capture, sniffer)
            with wire._sockets:
                yield wire
            if settle:
                wire.settle()
        wire.sas_at_end = [sa for namespace in (lab.a, lab.b) for sa in wire.sas(namespace)]
        if esp is not None:
            _check_associations(wire, moved=esp)
        _check(capture.counts, wire, esp=esp, ike=ike, clear_from=frozenset(clear_from))
