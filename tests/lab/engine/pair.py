"""Two hosts with different ESP, what is sent between them, and what both ends and the wire say of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from esp_packets import Association, Opened, Outer, outer_packets
from frames import Sniffer
from wire import TIMEOUT

from wsasec.lab import Namespace, parse
from wsasec.lab.mixed import MixedLab
from wsasec.lab.xfrm import CHACHA20_POLY1305


class Pair:
    """A mixed lab, seen from one address family; every frame on the wire is kept.

    Attributes:
        lab: the hosts.
        family: AF_INET or AF_INET6.
        sniffer: keeps the frames that pass b's end of the wire.
    """

    def __init__(self, lab: MixedLab, family: socket.AddressFamily, sniffer: Sniffer) -> None:
        self.lab = lab
        self.family = family
        self.sniffer = sniffer
        self.sockets = ExitStack()

    def host(self, namespace: Namespace) -> str:
        """Return a host's address in this family."""
        return namespace.v4 if self.family == socket.AF_INET else namespace.v6

    def socket(self, namespace: Namespace, kind: int = socket.SOCK_STREAM, proto: int = 0) -> socket.socket:
        """Make a socket whose traffic is that host's ESP, bound to an address and a port of its own."""
        sock = self.sockets.enter_context(self.lab.socket(namespace, self.family, kind, proto))
        sock.settimeout(TIMEOUT)
        sock.bind((self.host(namespace), 0))
        return sock

    def connection(self, server_at: Namespace) -> tuple[socket.socket, socket.socket]:
        """Make a connection; return its client and its server."""
        client_at = self.lab.a if server_at is self.lab.b else self.lab.b
        listener = self.socket(server_at)
        listener.listen(4)
        client = self.socket(client_at)
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
        """Open all ESP packets up to now, with our own reading of the RFCs."""
        return [
            (outer, self.association(int.from_bytes(outer.esp[:4], "big")).open(outer.esp))
            for outer in self.outer()
        ]


@contextmanager
def open_pair(family: socket.AddressFamily, **options: Any) -> Iterator[Pair]:
    """Make a mixed lab under capture; everything in it is ESP, both ends say the same of it.

    Args:
        family: the address family the test is about.
        options: of MixedLab.
    """
    with MixedLab(remember=True, **options) as lab, Sniffer(lab.b) as sniffer:
        pair = Pair(lab, family, sniffer)
        with pair.sockets:
            yield pair
        pair.outer()
