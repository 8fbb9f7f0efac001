"""Two hosts with a secure device each: what goes by it, and that nothing goes by the wire beside it."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import select
import socket
import struct
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from disconnected import disconnect
from secure_device import pair, run

import wsasec
from wsasec import IpsecSettings, Profile, _wsasec, profiles
from wsasec.lab import Namespace

SO_BINDTOIFINDEX = 62
IP_PKTINFO, IPV6_PKTINFO = 8, 50
ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
PATIENCE = 20.0
PROFILE = Profile("carried", uuid.UUID(int=0xDE51CE), 0x77, 0x60000000, 0xFF000000, carrier="device")
ON_DEVICE = IpsecSettings(qm_policy=PROFILE.guid)


class Wire:
    """What is seen on the wire that is clear."""

    def __init__(self, namespace: Namespace) -> None:
        with namespace.entered():
            self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self._sock.bind(("wire", 0))
        self._sock.setblocking(False)

    def wait_for(self, *payloads: bytes) -> None:
        """Wait until packets with these were seen."""
        missing = set(payloads)
        while missing:
            assert select.select([self._sock], [], [], PATIENCE)[0], f"not seen: {missing}"
            seen = self.packets()
            missing = {payload for payload in missing if not any(payload in packet for packet in seen)}

    def packets(self) -> list[bytes]:
        """TCP, UDP and ICMP, without the neighbour discovery of the wire's own ends."""
        found = []
        while True:
            try:
                frame = self._sock.recv(65535)
            except BlockingIOError:
                return found
            (kind,) = struct.unpack_from(">H", frame, 12)
            if kind == ETH_P_IP or (
                kind == ETH_P_IPV6 and frame[20] in (socket.IPPROTO_TCP, socket.IPPROTO_UDP)
            ):
                found.append(frame[14:])

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def hosts(realm: Namespace) -> Iterator[tuple[Namespace, Namespace, Wire]]:
    profiles.use(profiles.Profiles({"default": profiles.DEFAULT, PROFILE.name: PROFILE}, profiles.DEFAULT))
    with pair(PROFILE) as (left, right):
        wire = Wire(left)
        yield left, right, wire
        clear = wire.packets()
        wire.close()
        assert not clear, f"in clear: {[packet.hex() for packet in clear]}"


def secured(family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(family, kind)
    sock.settimeout(PATIENCE)
    try:
        wsasec.secure(sock, ON_DEVICE)
    except BaseException:
        sock.close()
        raise
    return sock


ADDRESSES = {socket.AF_INET: "10.9.0.2", socket.AF_INET6: "fd09::2"}
FAMILIES = [socket.AF_INET, socket.AF_INET6]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection(hosts: tuple[Namespace, Namespace, Wire], family: int) -> None:
    left, right, _ = hosts
    with ExitStack() as stack:
        with right.entered():
            listener = stack.enter_context(secured(family))
            listener.bind((ADDRESSES[family], 0))
            listener.listen()
        with left.entered():
            client = stack.enter_context(secured(family))
            client.connect(listener.getsockname()[:2])
        accepted, _ = wsasec.accept(listener)
        stack.enter_context(accepted)
        accepted.settimeout(PATIENCE)
        for sock in (client, accepted):
            found = wsasec.query(sock)
            assert found.secured
            assert found.encrypted
            assert found.profile == PROFILE.name
            assert found.association is None  # there is no daemon that knows it
        assert accepted.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX)
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == PROFILE.mark
        client.sendall(bytes(100_000))
        got = 0
        while got < 100_000:
            got += len(accepted.recv(65536))
        # Both ways of ending a connection: in order, and with a reset of what nobody has read.
        accepted.sendall(b"unread")
        select.select([client], [], [], PATIENCE)


def test_a_peer_of_ipv4_with_a_socket_of_ipv6(hosts: tuple[Namespace, Namespace, Wire]) -> None:
    left, right, _ = hosts
    with ExitStack() as stack:
        with right.entered():
            listener = stack.enter_context(secured(socket.AF_INET6))
            listener.bind(("::", 0))
            listener.listen()
        port = listener.getsockname()[1]
        with left.entered():
            mapped = stack.enter_context(secured(socket.AF_INET6))
            mapped.connect(("::ffff:10.9.0.2", port))
            plain = stack.enter_context(secured(socket.AF_INET))
            plain.connect(("10.9.0.2", port))
        for _ in range(2):
            accepted, peer = wsasec.accept(listener)
            stack.enter_context(accepted)
            assert peer[0] == "::ffff:10.9.0.1"
            accepted.sendall(b"x")
        assert mapped.recv(1) == plain.recv(1) == b"x"


@pytest.mark.parametrize("family", FAMILIES)
def test_datagrams(hosts: tuple[Namespace, Namespace, Wire], family: int) -> None:
    left, right, _ = hosts
    with ExitStack() as stack:
        with right.entered():
            server = stack.enter_context(secured(family, socket.SOCK_DGRAM))
            server.bind((ADDRESSES[family], 0))
        with left.entered():
            client = stack.enter_context(secured(family, socket.SOCK_DGRAM))
        client.sendto(b"ask", server.getsockname()[:2])
        data, address = server.recvfrom(100)
        assert data == b"ask"
        server.sendto(b"answer", address)
        assert client.recv(100) == b"answer"


@pytest.mark.parametrize("family", FAMILIES)
def test_clear_input_is_not_delivered(hosts: tuple[Namespace, Namespace, Wire], family: int) -> None:
    left, right, wire = hosts
    with ExitStack() as stack:
        with right.entered():
            server = stack.enter_context(secured(family, socket.SOCK_DGRAM))
            server.bind((ADDRESSES[family], 0))
            listener = stack.enter_context(secured(family))
            listener.bind((ADDRESSES[family], 0))
            listener.listen()
        with left.entered():
            clear = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            clear.sendto(b"in clear", server.getsockname()[:2])
            wire.wait_for(b"in clear")
            with socket.socket(family, socket.SOCK_STREAM) as stream:
                stream.setblocking(False)
                stream.connect_ex(listener.getsockname()[:2])
                wire.wait_for(struct.pack(">HH", stream.getsockname()[1], listener.getsockname()[1]))
            # Behind them comes what is to arrive: then they have not been delivered.
            client = stack.enter_context(secured(family, socket.SOCK_DGRAM))
            client.sendto(b"secured", server.getsockname()[:2])
        assert server.recv(100) == b"secured"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def in_clear(wire: Wire, payload: bytes) -> bool:
    return any(payload in packet for packet in wire.packets())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_binding_that_is_left_by_disconnecting(
    hosts: tuple[Namespace, Namespace, Wire], family: int
) -> None:
    """The kernel forgets the device; by the mark it goes there all the same, or nowhere."""
    left, right, _ = hosts
    with ExitStack() as stack:
        with right.entered():
            server = stack.enter_context(secured(family, socket.SOCK_DGRAM))
            server.bind((ADDRESSES[family], 0))
        with left.entered():
            sock = stack.enter_context(secured(family, socket.SOCK_DGRAM))
            sock.connect(server.getsockname()[:2])
            disconnect(sock)
            assert sock.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX) == 0
            sock.sendto(b"after it", server.getsockname()[:2])
        assert server.recv(100) == b"after it"


@pytest.mark.parametrize("family", FAMILIES)
def test_another_device_by_packet_information(hosts: tuple[Namespace, Namespace, Wire], family: int) -> None:
    left, _, wire = hosts
    with left.entered(), secured(family, socket.SOCK_DGRAM) as sock:
        index = socket.if_nametoindex("wire")
        if family == socket.AF_INET:
            ancillary = (socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=i8x", index))
        else:
            ancillary = (socket.IPPROTO_IPV6, IPV6_PKTINFO, struct.pack("=16xi", index))
        with pytest.raises(OSError) as caught:
            sock.sendmsg([b"by the wire"], [ancillary], 0, (ADDRESSES[family], 9))
        assert caught.value.errno in (errno.EPERM, errno.EINVAL, errno.EHOSTUNREACH, errno.ENETUNREACH)
    assert not in_clear(wire, b"by the wire")


def test_an_address_with_a_scope(hosts: tuple[Namespace, Namespace, Wire]) -> None:
    left, _, wire = hosts
    with left.entered(), secured(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        index = socket.if_nametoindex("wire")
        for address in ("ff02::1", "fe80::1"):
            with pytest.raises(OSError) as caught:
                sock.sendto(b"scoped", (address, 9, 0, index))
            assert caught.value.errno in (errno.EPERM, errno.EINVAL, errno.EHOSTUNREACH, errno.ENETUNREACH)
    assert not in_clear(wire, b"scoped")


def test_a_listener_of_the_library(hosts: tuple[Namespace, Namespace, Wire]) -> None:
    left, right, _ = hosts
    with ExitStack() as stack:
        with right.entered():
            sock = stack.enter_context(secured())
            sock.bind(("10.9.0.2", 0))
            address = sock.getsockname()
            listener = stack.enter_context(wsasec.Listener(sock=sock, mode="echo"))
        with left.entered():
            batch = stack.enter_context(wsasec.SocketBatch(40, settings=ON_DEVICE))
            report = batch.connect(address, timeout=PATIENCE)
        assert report.connected == 40
        for fd in batch:
            with socket.socket(fileno=socket.dup(fd)) as client:
                client.settimeout(PATIENCE)
                client.setblocking(True)
                client.sendall(b"there and back")
                assert client.recv(100) == b"there and back"
        assert listener.counts.accepted == 40


def test_a_query_after_the_rules_changed(hosts: tuple[Namespace, Namespace, Wire]) -> None:
    """What is no more in force is not said to be."""
    left, right, _ = hosts
    with right.entered(), secured() as listener, ExitStack() as stack:
        listener.bind(("10.9.0.2", 0))
        listener.listen()
        with left.entered():
            client = stack.enter_context(secured())
            client.connect(listener.getsockname())
            assert wsasec.query(client).encrypted
            run("nft", "add", "table", "inet", "another")
            with pytest.raises(wsasec.SecurityError, match="nftables changed"):
                wsasec.query(client)


CAP_NET_ADMIN, CAP_NET_RAW = 12, 13


@contextmanager
def without_privileges(*which: int) -> Iterator[None]:
    """Take CAP_NET_ADMIN and CAP_NET_RAW, or those that are named, from this thread for a while."""
    libc = ctypes.CDLL(None)
    header = struct.pack("=Ii", 0x20080522, 0)
    before = ctypes.create_string_buffer(24)
    assert libc.capget(header, before) == 0
    effective, *rest = struct.unpack("=6I", before.raw)
    for number in which or (CAP_NET_ADMIN, CAP_NET_RAW):
        effective &= ~(1 << number)
    assert libc.capset(header, struct.pack("=6I", effective, *rest)) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_holding_one_without_any_privilege(
    hosts: tuple[Namespace, Namespace, Wire], kind: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It cannot be bound elsewhere then; it sends nothing all the same."""
    left, right, _ = hosts
    monkeypatch.setenv("WSASEC_RUN", str(tmp_path))  # there is no daemon
    with ExitStack() as stack:
        with right.entered():
            server = stack.enter_context(secured(kind=kind))
            server.bind(("10.9.0.2", 0))
            if kind == socket.SOCK_STREAM:
                server.listen()
        with left.entered():
            sock = stack.enter_context(secured(kind=kind))
            with without_privileges():
                _wsasec.hold(sock, bytes(16))
                bound = sock.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX)
                assert socket.if_indextoname(bound) == PROFILE.device
                if kind == socket.SOCK_STREAM:
                    sock.settimeout(0.2)  # where it takes nothing in, it is never connected
                    with suppress(TimeoutError):
                        sock.connect(server.getsockname())
                with pytest.raises(OSError) as caught:
                    sock.sendto(b"to the wrong peer", server.getsockname())
                assert caught.value.errno == errno.EPIPE
            other = stack.enter_context(secured(kind=kind))
            other.connect(server.getsockname())
            other.send(b"of another")
        if kind == socket.SOCK_DGRAM:
            assert server.recv(100) == b"of another"


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_one_that_cannot_be_taken_off_another_interface(
    hosts: tuple[Namespace, Namespace, Wire], kind: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It has the mark by then, but it is not on the secure device: that is said. And the rules hold it."""
    left, _, wire = hosts
    monkeypatch.setenv("WSASEC_RUN", str(tmp_path))  # there is no daemon
    with left.entered(), socket.socket(socket.AF_INET, kind) as sock:
        sock.setblocking(False)
        index = socket.if_nametoindex("wire")
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, index)
        with without_privileges(CAP_NET_RAW):
            with pytest.raises(wsasec.SecurityError, match="close it at once") as caught:
                wsasec.secure(sock, ON_DEVICE)
            assert caught.value.step == "secure device"
            assert sock.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX) == index
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == PROFILE.mark
            sock.connect_ex(("10.9.0.2", 9))
            with pytest.raises(OSError) as sent:
                sock.send(b"beside it")
            assert sent.value.errno in (errno.EAGAIN, errno.EPIPE)  # it goes on connecting, in vain
    assert not in_clear(wire, b"beside it")


def test_asyncio(hosts: tuple[Namespace, Namespace, Wire]) -> None:
    left, right, _ = hosts

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async def talk() -> bytes:
        with right.entered():
            server = await wsasec.aio.start_server(answer, "10.9.0.2", 0, settings=ON_DEVICE)
        async with server:
            with left.entered():
                opening = wsasec.aio.open_connection(
                    "10.9.0.2", server.sockets[0].getsockname()[1], settings=ON_DEVICE
                )
                reader, writer = await opening
            writer.write(b"quietly\n")
            found = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return found

    assert asyncio.run(talk()) == b"QUIETLY\n"
