r"""Two hosts with secure devices, and two routers between them.

a                        r                                   s                        b
10.9.1.1 --- a0 ra --- 10.9.1.254    10.9.3.1 --- rs sr --- 10.9.3.2    10.9.2.254 --- sb b0 --- 10.9.2.1
fd00:9:1::1        fd00:9:1::254    fd00:9:3::1        fd00:9:3::2    fd00:9:2::254        fd00:9:2::1
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Self

import pytest
from device_wire import PROFILE
from esp_packets import is_fragment, outer_packets
from frames import RingSniffer, source_of
from wire import TIMEOUT

import wsasec
from wsasec import profiles
from wsasec.engine import EngineStartError, missing
from wsasec.kernel.links import LinkSocket
from wsasec.lab import EngineLab, Lab, Namespace, parse
from wsasec.lab.keys import Key
from wsasec.lab.xfrm import AssociationSpec

PATIENCE = TIMEOUT * 6
ETHERNET = 14
NETLINK_NETFILTER = 12
CONNTRACK_DELETE = 1 << 8 | 2
NLM_F_REQUEST, NLM_F_ACK = 1, 4


def join(near: Namespace, device: str, far: Namespace, other: str, mtu: int) -> None:
    """Make a wire between two namespaces."""
    with near.entered(), LinkSocket() as links:
        links.add_veth(device, other, far.fd, mtu)


def give(namespace: Namespace, device: str, v4: str, v6: str) -> None:
    """Give a device its addresses, and set it up."""
    namespace.sysctl(f"net.ipv6.conf.{device}.accept_dad", 0)
    namespace.sysctl(f"net.ipv6.conf.{device}.router_solicitations", 0)
    with namespace.entered(), LinkSocket() as links:
        links.add_address(device, v4, 24)
        links.add_address(device, v6, 64)
        # The frames are those that pass a wire, whoever cuts them.
        links.set_single_segments(device)
        links.set_up(device)


def route(namespace: Namespace, where: str, v4: str, v6: str) -> None:
    """Have a host send by a router; `where` is a network's number, or "default"."""
    for version, via, to in (
        ("-4", v4, where if where == "default" else f"10.9.{where}.0/24"),
        ("-6", v6, where if where == "default" else f"fd00:9:{where}::/64"),
    ):
        namespace.run(["ip", version, "route", "add", to, "via", via])


class Routed(Lab):
    """A lab whose hosts are in networks of their own.

    Attributes:
        r: the router at a.
        s: the router at b.
        narrow: MTU of the wire between the routers.
    """

    def __init__(self, *arguments: Any, narrow: int = 1500, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.narrow = narrow
        self._routers = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.r = stack.enter_context(Namespace("r", v4="10.9.3.1", v6="fd00:9:3::1", device="rs"))
            self.s = stack.enter_context(Namespace("s", v4="10.9.3.2", v6="fd00:9:3::2", device="sr"))
            super().__enter__()
            self._routers = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._routers:
            super().__exit__(*exception)

    def _join(self) -> None:
        self.a.v4, self.a.v6 = "10.9.1.1", "fd00:9:1::1"
        self.b.v4, self.b.v6 = "10.9.2.1", "fd00:9:2::1"
        join(self.a, "a0", self.r, "ra", self.mtu)
        join(self.r, "rs", self.s, "sr", self.narrow)
        join(self.s, "sb", self.b, "b0", self.mtu)
        for router, device, v4, v6 in (
            (self.r, "ra", "10.9.1.254", "fd00:9:1::254"),
            (self.s, "sb", "10.9.2.254", "fd00:9:2::254"),
        ):
            router.sysctl("net.ipv4.ip_forward", 1)
            router.sysctl("net.ipv6.conf.all.forwarding", 1)
            give(router, device, v4, v6)
            give(router, router.device, router.v4, router.v6)
        for host in (self.a, self.b):
            give(host, host.device, host.v4, host.v6)
        route(self.a, "default", "10.9.1.254", "fd00:9:1::254")
        route(self.b, "default", "10.9.2.254", "fd00:9:2::254")
        route(self.r, "2", self.s.v4, self.s.v6)
        route(self.s, "1", self.r.v4, self.r.v6)

    def translate(self, ports: str) -> None:
        """Have what a sends come from r's address and one of these ports from now on (NAT)."""
        self.r.run(["nft", "-f", "-"], input=_translating(self.r.device, ports))
        forget_connections(self.r)


def _translating(device: str, ports: str) -> str:
    return "".join(
        f"table {family} translate {{}}\nflush table {family} translate\n"
        f"table {family} translate {{ chain out {{ type nat hook postrouting priority srcnat;"
        f' oifname "{device}" meta l4proto udp masquerade to :{ports}; }}; }}\n'
        for family in ("ip", "ip6")
    )


def cannot_translate(namespace: Namespace) -> str:
    """Say what the kernel lacks for `translate`; "" if it can."""
    done = namespace.run(["nft", "-f", "-"], input=_translating("nowhere", "6000-6999"), check=False)
    return f"no NAT by nftables: {done.stderr.strip()}" if done.returncode else ""


class RoutedLab(Routed, EngineLab):
    """With the engine's ESP at both ends."""

    def __init__(self, **options: Any) -> None:
        super().__init__(PROFILE, **options)


class TranslatedLab(RoutedLab):
    """A RoutedLab whose router r has b see its own address instead of a's, and ports of its choice."""

    def _prepare(self, stack: ExitStack) -> None:
        super()._prepare(stack)
        self.translate("6000-6999")

    def _add(self, namespace: Namespace, spec: AssociationSpec, key: Key) -> None:
        super()._add(namespace, self._as_seen(namespace, spec), key)

    def _remove(self, namespace: Namespace, spec: AssociationSpec) -> None:
        super()._remove(namespace, self._as_seen(namespace, spec))

    def _as_seen(self, namespace: Namespace, spec: AssociationSpec) -> AssociationSpec:
        """Return it with the addresses that this host knows."""
        if namespace is self.a:
            return spec
        other = {self.a.v4: self.r.v4, self.a.v6: self.r.v6}
        return replace(spec, src=other.get(spec.src, spec.src), dst=other.get(spec.dst, spec.dst))


def forget_connections(namespace: Namespace) -> None:
    """Have a router forget whose packets it translates how, as when it restarts."""
    with namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as sock:
        sock.settimeout(TIMEOUT)
        # struct nlmsghdr, struct nfgenmsg: of all families.
        sock.send(struct.pack("=IHHII", 20, CONNTRACK_DELETE, NLM_F_REQUEST | NLM_F_ACK, 1, 0) + bytes(4))
        (error,) = struct.unpack_from("=i", sock.recv(4096), 16)
        assert error == 0, os.strerror(-error)


class RoutedWire:
    """A routed lab, seen from one address family.

    Attributes:
        lab: the hosts and the routers.
        family: AF_INET or AF_INET6.
        middle: what passes between the routers.
        edges: what passes the wires of the hosts, by their names.
    """

    def __init__(
        self,
        lab: RoutedLab,
        family: socket.AddressFamily,
        middle: RingSniffer,
        edges: dict[str, RingSniffer],
    ) -> None:
        self.lab = lab
        self.a, self.b = lab.a, lab.b
        self.family = family
        self.middle = middle
        self.edges = edges
        self.sockets = ExitStack()

    def host(self, namespace: Namespace) -> str:
        """Return a host's address in this family."""
        return namespace.v4 if self.family == socket.AF_INET else namespace.v6

    def secured(self, namespace: Namespace, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """Make a secured socket, bound to an address and a port of its own."""
        sock = self.sockets.enter_context(namespace.socket(self.family, kind))
        sock.settimeout(PATIENCE)
        wsasec.secure(sock)
        sock.bind((self.host(namespace), 0))
        return sock

    def connection(self) -> tuple[socket.socket, socket.socket]:
        """Make a connection; return its client, at a, and its server, at b."""
        listener = self.secured(self.b)
        listener.listen(4)
        client = self.secured(self.a)
        client.connect(listener.getsockname())
        server = self.sockets.enter_context(listener.accept()[0])
        server.settimeout(PATIENCE)
        return client, server

    def datagrams(self) -> tuple[socket.socket, socket.socket]:
        """Make two datagram sockets, at a and at b, connected to each other."""
        first, second = (self.secured(end, socket.SOCK_DGRAM) for end in (self.a, self.b))
        for one, other in ((first, second), (second, first)):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            one.connect(other.getsockname())
        return first, second

    def check(self) -> None:
        """All that passed one of the wires is ESP, or a piece of it, or about ESP."""
        spis = {state.name.spi for end in self.lab.ends.values() for state in end.engine.control.sas()}
        routers = {r.v4 for r in (self.lab.r, self.lab.s)} | {"10.9.1.254", "10.9.2.254"}
        routers |= {r.v6 for r in (self.lab.r, self.lab.s)} | {"fd00:9:1::254", "fd00:9:2::254"}
        sent: list[bytes] = []
        come: list[list[bytes]] = [self.middle.frames()]
        for host in (self.a, self.b):
            own = {host.v4, host.v6}
            frames = self.edges[host.name].frames()
            sent += [frame for frame in frames if source_of(frame) in own]
            come.append([frame for frame in frames if source_of(frame) not in own])
        found, others = outer_packets(sent)
        assert found
        assert {int.from_bytes(outer.esp[:4], "big") for outer in found} <= spis
        assert all(parse(frame).group == "neighbour" for frame in others), [each.hex() for each in others]
        header = ETHERNET + (20 if self.family == socket.AF_INET else 40)
        pieces = {frame[header:] for frame in sent if is_fragment(frame)}
        for frames in come:
            found, others = outer_packets(frames)
            assert {int.from_bytes(outer.esp[:4], "big") for outer in found} <= spis
            for frame in others:
                if parse(frame).group == "neighbour":
                    continue
                if parse(frame).state in ("ICMP", "ICMPV6"):
                    # A router's, about a packet that it did not take: it quotes ESP.
                    quote = frame[2 * header - ETHERNET + 8 :]
                    assert source_of(frame) in routers
                    assert any(each[header : header + len(quote)] == quote for each in sent), frame.hex()
                else:
                    # A piece of a packet of which the router did not take all pieces.
                    assert is_fragment(frame), frame.hex()
                    assert frame[header:] in pieces, frame.hex()


@contextmanager
def routed_wire(
    family: socket.AddressFamily, kind: type[RoutedLab] = RoutedLab, **options: Any
) -> Iterator[RoutedWire]:
    """Make the lab, with the profile as the default one, and look at all three wires."""
    if lack := missing(PROFILE):
        pytest.skip("; ".join(lack))
    profiles.use(profiles.Profiles({PROFILE.name: PROFILE}, PROFILE))
    with ExitStack() as stack:
        try:
            lab = stack.enter_context(kind(**options))
        except EngineStartError as error:
            pytest.skip(f"{error}")
        middle = stack.enter_context(RingSniffer(lab.r))
        edges = {host.name: stack.enter_context(RingSniffer(host)) for host in (lab.a, lab.b)}
        wire = RoutedWire(lab, family, middle, edges)
        with wire.sockets:
            yield wire
        wire.check()


__all__ = [
    *("ETHERNET", "PATIENCE", "Routed", "RoutedLab", "RoutedWire", "TranslatedLab"),
    *("cannot_translate", "routed_wire"),
]
