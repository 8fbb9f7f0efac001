"""Two hosts with different ESP, what is sent between them, and what both ends and the wire say of it."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from esp_packets import (
    NO_NEXT_HEADER,
    Association,
    Opened,
    Outer,
    esp_offset,
    outer_packets,
    with_udp_checksum,
)
from frames import Forger, RingSniffer, source_of
from wire import TIMEOUT, wait_for, xfrm_stat

from wsasec.lab import Namespace, parse
from wsasec.lab.mixed import MixedLab
from wsasec.lab.xfrm import CHACHA20_POLY1305


class Pair:
    """A mixed lab, seen from one address family; every frame on the wire is kept.

    Attributes:
        lab: the hosts.
        family: AF_INET or AF_INET6.
        sniffer: keeps the frames that pass b's end of the wire.
        sockets: are closed while the wire is still looked at.
    """

    def __init__(self, lab: MixedLab, family: socket.AddressFamily, sniffer: RingSniffer) -> None:
        self.lab = lab
        self.family = family
        self.sniffer = sniffer
        self.sockets = ExitStack()

    def host(self, namespace: Namespace) -> str:
        """Return a host's address in this family."""
        return namespace.v4 if self.family == socket.AF_INET else namespace.v6

    def other(self, namespace: Namespace) -> Namespace:
        """Return the other host."""
        return self.lab.a if namespace is self.lab.b else self.lab.b

    def socket(self, namespace: Namespace, kind: int = socket.SOCK_STREAM, proto: int = 0) -> socket.socket:
        """Make a socket whose traffic is that host's ESP, bound to an address and a port of its own."""
        sock = self.sockets.enter_context(self.lab.socket(namespace, self.family, kind, proto))
        sock.settimeout(TIMEOUT)
        sock.bind((self.host(namespace), 0))
        return sock

    def connection(self, server_at: Namespace) -> tuple[socket.socket, socket.socket]:
        """Make a connection; return its client and its server."""
        listener = self.socket(server_at)
        listener.listen(4)
        client = self.socket(self.other(server_at))
        client.connect(listener.getsockname())
        server = self.sockets.enter_context(listener.accept()[0])
        server.settimeout(TIMEOUT)
        return client, server

    def datagrams(self) -> tuple[socket.socket, socket.socket]:
        """Make two datagram sockets, at a and at b, connected to each other."""
        ends = [self.socket(end, socket.SOCK_DGRAM) for end in (self.lab.a, self.lab.b)]
        for one, other in (ends, ends[::-1]):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            one.connect(other.getsockname())
        return ends[0], ends[1]

    # --- the wire ---

    def outer(self) -> list[Outer]:
        """Return the ESP packets up to now; anything else between the hosts is an error."""
        hosts = {self.host(self.lab.a), self.host(self.lab.b)}
        found, others = outer_packets(self.sniffer.frames())
        others = [frame for frame in others if parse(frame).group != "neighbour"]
        assert not others, f"not ESP: {[frame.hex() for frame in others]}"
        for outer in found:
            assert {outer.source, outer.target} == hosts
            assert (outer.ports is not None) == (self.lab.encapsulation == "udp")
        return found

    def association(self, spi: int) -> Association:
        """Return the association of an SPI with its key, for reading the wire."""
        spec, key = self.lab.known[spi]
        return Association(spi, bytes(key.reveal()), chacha=spec.aead == CHACHA20_POLY1305, esn=spec.esn)

    def opened(self) -> list[tuple[Outer, Opened]]:
        """Open all ESP packets up to now that carry something, with our own reading of the RFCs.

        Dummy packets (RFC 4303 section 2.6), by which an engine looks at a path, are left out.
        The upper half of a sequence number is what it began with, and one more where the lower half starts
        again.
        """
        found = []
        highest: dict[int, int] = {}
        for outer in self.outer():
            spi, low = (int.from_bytes(outer.esp[at : at + 4], "big") for at in (0, 4))
            last = highest.get(spi, self.lab.known[spi][0].sent)
            high = last >> 32
            if self.association(spi).esn and low + (1 << 31) < last & 0xFFFFFFFF:
                high += 1
            opened = self.association(spi).open(outer.esp, high)
            highest[spi] = max(last, opened.sequence)
            if opened.next_header != NO_NEXT_HEADER:
                found.append((outer, opened))
        return found

    @staticmethod
    def forged(frame: bytes) -> list[bytes]:
        """Return what differs from a frame by one bit, in each byte of ESP behind its SPI."""
        start = esp_offset(frame) + 4
        return [frame[:at] + bytes([frame[at] ^ 0x40]) + frame[at + 1 :] for at in range(start, len(frame))]

    def sealed_anew(self, target: Namespace, sequence: int) -> bytes:
        """Return the last frame towards a host, sealed in Python with another sequence number."""
        sender = self.host(self.other(target))
        frame = [frame for frame in self.sniffer.frames() if source_of(frame) == sender][-1]
        outer, opened = [entry for entry in self.opened() if entry[0].source == sender][-1]
        at = esp_offset(frame)
        association = self.association(int.from_bytes(outer.esp[:4], "big"))
        return frame[:at] + association.seal(sequence, opened.payload, opened.next_header)

    @staticmethod
    def sent_by(frame: bytes) -> str:
        """Return who sent a frame."""
        return source_of(frame)

    def inject(self, target: Namespace, frames: list[bytes]) -> None:
        """Put frames on the wire towards a host, with checksums that are right."""
        with Forger(self.other(target), target) as forger:
            for frame in frames:
                forger.send(with_udp_checksum(frame))

    # --- what the ends say ---

    def refused(self, namespace: Namespace) -> tuple[int, int]:
        """Return how many packets a host's associations took for replays, and how many for forged."""
        if namespace in self.lab.kernel_ends():
            sas = [sa for sa in namespace.sas() if (":" in sa.src) == (self.family == socket.AF_INET6)]
            return sum(sa.replayed for sa in sas), sum(sa.integrity_failed for sa in sas)
        states = self.lab.end.engine.control.sas()
        return sum(sa.replayed for sa in states), sum(sa.forged for sa in states)

    def strays(self) -> int:
        """Return how many ESP packets came for associations that a host does not have."""
        found = sum(xfrm_stat(end, "XfrmInNoStates") for end in self.lab.kernel_ends())
        if self.lab.near == "engine":
            found += self.lab.end.engine.control.totals().unknown_spi
        return found

    def wait_refused(self, namespace: Namespace, *, replayed: int = 0, forged: int = 0) -> None:
        """Wait until a host has refused so many packets, no more and no less."""
        wanted = (replayed, forged)
        try:
            wait_for(lambda: self.refused(namespace) == wanted, "packets are refused")
        except AssertionError as error:
            raise AssertionError(f"refused {self.refused(namespace)}, not {wanted}") from error

    def counted(self, namespace: Namespace) -> dict[int, int]:
        """Return how many packets each association of this family has counted at a host."""
        spis = {spi for spi, (spec, _) in self.lab.known.items() if spec.family == self.family}
        return {spi: n for spi, n in self.lab.packets(namespace).items() if spi in spis}

    def on_wire(self) -> Counter[int]:
        """Return how many ESP packets passed that carry something, by SPI."""
        return Counter(int.from_bytes(outer.esp[:4], "big") for outer, _ in self.opened())

    def agree(self) -> None:
        """Wait until both ends have counted what passed the wire, no more and no less."""

        def same() -> bool:
            wire = {spi: n for spi, n in self.on_wire().items() if n}
            return all(
                {spi: n for spi, n in self.counted(end).items() if n} == wire
                for end in (self.lab.a, self.lab.b)
            )

        try:
            wait_for(same, "both ends count what passed the wire")
        except AssertionError as error:
            ends = [self.counted(end) for end in (self.lab.a, self.lab.b)]
            raise AssertionError(f"a {ends[0]}, b {ends[1]}, wire {dict(self.on_wire())}") from error


@contextmanager
def open_pair(family: socket.AddressFamily, *, agree: bool = True, **options: Any) -> Iterator[Pair]:
    """Make a mixed lab under capture; everything in it is ESP, both ends say the same of it.

    Args:
        family: the address family the test is about.
        agree: whether all that passed the wire must have been sent and taken by associations that are still
            there.
        options: of MixedLab.
    """
    with MixedLab(remember=True, **options) as lab, RingSniffer(lab.b) as sniffer:
        pair = Pair(lab, family, sniffer)
        with pair.sockets:
            yield pair
        pair.outer()
        if agree:
            pair.agree()
