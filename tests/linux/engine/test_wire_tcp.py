"""TCP by secure devices: in each state of a connection there is nothing on the wire but ESP."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from device_wire import PROFILE, DeviceWire, device_wire
from wire import Stream, is_readable, net_stat, receive, run_streams, tcp_states, wait_for

import wsasec

PATIENCE = 60.0
SO_MARK = 36
SO_BINDTOIFINDEX = 62
FAMILIES = [socket.AF_INET, socket.AF_INET6]


@pytest.fixture(params=FAMILIES, ids=["v4", "v6"])
def family(request: pytest.FixtureRequest) -> socket.AddressFamily:
    return socket.AddressFamily(request.param)


def linger(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("encapsulation", ["udp", "raw"])
def test_data_both_ways(realm, family, encapsulation):
    with device_wire(family, encapsulation=encapsulation) as wire:
        client, server, _ = wire.connection()
        run_streams(Stream(client, server, 1 << 20), Stream(server, client, 1 << 20), timeout=PATIENCE)
    # No cipher makes it smaller: all of it was in those packets.
    assert wire.capture.counts.esp_bytes > 2 << 20


def test_half_closed(realm, family):
    with device_wire(family) as wire:
        client, server, _ = wire.connection()
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        run_streams(Stream(server, client, 1 << 18), timeout=PATIENCE)


@pytest.mark.parametrize("first", ["client", "server"])
def test_either_side_closes_first(realm, family, first):
    """The last ACK comes from a minisocket; if it is lost, the other side stays in LAST_ACK for long."""
    with device_wire(family) as wire:
        client, server, port = wire.connection()
        run_streams(Stream(client, server, 1000), Stream(server, client, 1000))
        early, late, near, far = (
            (client, server, wire.a, wire.b) if first == "client" else (server, client, wire.b, wire.a)
        )
        early.close()
        assert late.recv(1) == b""
        wait_for(lambda: tcp_states(near, port)["FIN_WAIT2"], "the first FIN is acknowledged", PATIENCE)
        late.close()
        wait_for(lambda: not tcp_states(far, port)["LAST_ACK"], "LAST_ACK ends", PATIENCE)
        assert tcp_states(near, port)["TIME_WAIT"] == 1
        assert not set(tcp_states(far, port)) - {"LISTEN"}


def test_time_wait_answers_again(realm, family):
    """The last ACK is lost: the FIN comes again, and TIME_WAIT answers it."""
    with device_wire(family) as wire:
        client, server, port = wire.connection()
        client.close()
        assert server.recv(1) == b""
        wait_for(lambda: tcp_states(wire.a, port)["FIN_WAIT2"], "the client's FIN is acknowledged", PATIENCE)
        with wire.lost(wire.a):
            server.close()
            wait_for(lambda: tcp_states(wire.a, port)["TIME_WAIT"], "the server's FIN arrives", PATIENCE)
            assert tcp_states(wire.b, port)["LAST_ACK"] == 1
        wait_for(lambda: not tcp_states(wire.b, port)["LAST_ACK"], "LAST_ACK ends", PATIENCE)


@pytest.mark.parametrize("who", ["client", "server"])
def test_reset_by_linger(realm, family, who):
    with device_wire(family) as wire:
        client, server, port = wire.connection()
        rude, other = (client, server) if who == "client" else (server, client)
        linger(rude)
        rude.close()
        assert is_readable(other, PATIENCE)
        with pytest.raises(ConnectionResetError):
            other.recv(1)
        for namespace in (wire.a, wire.b):
            assert not set(tcp_states(namespace, port)) - {"LISTEN"}


def test_reset_from_closed_port(realm, family):
    """The kernel answers by itself, without a socket."""
    with device_wire(family) as wire:
        listener = wire.listener(wire.b)
        address = listener.getsockname()
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            wire.connect(wire.secured(wire.a), address)


def test_peer_sends_to_vanished_socket(realm, family):
    """Not even a minisocket is left: a RST out of nothing."""
    with device_wire(family) as wire:
        client, server, port = wire.connection()
        linger(client)
        with wire.lost(wire.a):
            client.close()
            wait_for(lambda: not tcp_states(wire.a, port), "the client's socket is gone", PATIENCE)
            wire.capture.wait(lambda counts: False, 0.1)
        server.sendall(b"is anybody there?")
        assert is_readable(server, PATIENCE)
        with pytest.raises(ConnectionResetError):
            server.recv(1)


def test_peer_sends_after_close(realm, family):
    with device_wire(family) as wire:
        client, server, port = wire.connection()
        client.close()
        assert server.recv(1) == b""
        wait_for(lambda: tcp_states(wire.a, port)["FIN_WAIT2"], "the FIN is acknowledged", PATIENCE)
        server.sendall(b"too late")
        wait_for(lambda: not tcp_states(wire.b, port)["CLOSE_WAIT"], "it is reset", PATIENCE)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            server.sendall(b"much too late")


def test_syn_cookies(realm, family):
    """A connection that the kernel made from a cookie has no request socket to inherit from."""
    with device_wire(family) as wire:
        wire.b.sysctl("net.ipv4.tcp_syncookies", 2)
        client, server, _ = wire.connection()
        assert net_stat(wire.b, "TcpExt.SyncookiesRecv") == 1
        # The accepted side first: nothing of the client's can have protected it.
        run_streams(Stream(server, client, 1 << 18), timeout=PATIENCE)
        run_streams(Stream(server, client, 1 << 18), Stream(client, server, 1 << 18), timeout=PATIENCE)


@contextmanager
def without_last_acks(wire: DeviceWire, port: int) -> Iterator[None]:
    """Have the server's host not take what completes a handshake, for a while; a SYN it takes."""
    name = wire.engines.end(wire.b).device.name
    wire.b.run(
        ["nft", "-f", "-"],
        input="table inet held { chain in { type filter hook prerouting priority raw;"
        f' iifname "{name}" tcp dport {port} tcp flags & (syn | ack) == ack drop; }}; }}',
    )
    try:
        yield
    finally:
        wire.b.run(["nft", "delete", "table", "inet", "held"])


@pytest.mark.parametrize("setting", [1, 2], ids=["overflow", "always"])
def test_syn_cookies_and_a_full_queue(realm, family, setting):
    """Connections that were begun by cookies, and for which the listener had no room at first.

    While nothing is accepted no SYN is taken beyond that room, with cookies or without: all are there before
    the first handshake is complete.
    """
    with device_wire(family) as wire:
        wire.b.sysctl("net.ipv4.tcp_syncookies", setting)
        listener = wire.listener(wire.b, backlog=1)  # room for two
        clients = [wire.secured(wire.a) for _ in range(5)]
        # With 1 a cookie is for who comes when as many are half open as there is room for.
        cookies = len(clients) - (2 if setting == 1 else 0)
        with without_last_acks(wire, listener.getsockname()[1]):
            for client in clients:
                wire.connect(client, listener.getsockname())
            assert net_stat(wire.b, "TcpExt.SyncookiesSent") >= cookies
            assert not is_readable(listener)
        for client in clients:
            client.sendall(b"hello")
        wait_for(lambda: net_stat(wire.b, "TcpExt.ListenOverflows"), "there is no room for some", PATIENCE)
        servers = [wire.accept(listener) for _ in clients]
        assert net_stat(wire.b, "TcpExt.SyncookiesRecv") >= cookies
        by_name = {client.getsockname(): client for client in clients}
        device = wire.engines.end(wire.b).device
        for server in servers:
            assert receive(server, 5) == b"hello"
            assert server.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX) == device.ifindex
            assert server.getsockopt(socket.SOL_SOCKET, SO_MARK) == PROFILE.mark
        run_streams(
            *(Stream(server, by_name[server.getpeername()], 50_000) for server in servers),
            *(Stream(by_name[server.getpeername()], server, 50_000) for server in servers),
            timeout=PATIENCE,
        )


def test_retransmissions(realm, family):
    with device_wire(family) as wire:
        client, server, _ = wire.connection()
        with wire.lost(wire.a):
            client.sendall(b"again")
            wait_for(lambda: net_stat(wire.a, "Tcp.RetransSegs") > 1, "it is sent again", PATIENCE)
        assert receive(server, 5) == b"again"


def test_lost_handshake(realm, family):
    """The SYN and its answer are repeated by timers of their own, the answer by one of no socket."""
    with device_wire(family) as wire:
        wire.connection()  # the hosts know each other's hardware addresses from now on
        listener = wire.listener(wire.b)
        client = wire.secured(wire.a)
        client.setblocking(False)
        with wire.lost(wire.b):
            client.connect_ex(listener.getsockname())
            wait_for(lambda: tcp_states(wire.b)["SYN_RECV"], "its SYN arrives", PATIENCE)
            wait_for(lambda: net_stat(wire.b, "TcpExt.TCPSynRetrans") > 0, "the answer again", PATIENCE)
        client.settimeout(PATIENCE)
        server = wire.accept(listener)
        server.sendall(b"arrived")
        assert receive(client, 7) == b"arrived"


def test_accepted_sockets(realm, family):
    """They are on the device as their listener is, also after it is gone."""
    with device_wire(family) as wire:
        listener = wire.listener(wire.b)
        clients = [wire.connect(wire.secured(wire.a), listener.getsockname()) for _ in range(5)]
        servers = [wire.accept(listener) for _ in clients]
        listener.close()
        by_name = {client.getsockname(): client for client in clients}
        run_streams(
            *(Stream(server, by_name[server.getpeername()], 20_000) for server in servers), timeout=PATIENCE
        )


def test_a_plain_peer_is_refused(realm, family):
    """Neither a plain client reaches a secured listener, nor a secured client a plain listener."""
    with device_wire(family, settle=False) as wire:
        secured = wire.listener(wire.b)
        plain = wire.listener(wire.b, secured=False)
        stranger = wire.plain(wire.a)
        with pytest.raises(ConnectionRefusedError):
            stranger.connect(secured.getsockname())
        assert not is_readable(secured)
        stranger.close()
        client = wire.secured(wire.a)
        with pytest.raises(ConnectionRefusedError):
            wire.connect(client, plain.getsockname())
        assert not is_readable(plain)
        # The stranger is told, in clear, that there is nobody.
        wire.capture.wait(lambda counts: counts.clear_by_state["RST"] > 0, PATIENCE)
        wire.expected_clear = {"SYN": 1, "RST": 1}


@pytest.mark.parametrize("side", ["client", "server"])
def test_dual_stack_socket(realm, side):
    """A socket of IPv6 with a peer of IPv4: its binding and its mark are for both families."""
    with device_wire(socket.AF_INET) as wire:
        ends = {}
        for name, namespace in (("client", wire.a), ("server", wire.b)):
            family = socket.AF_INET6 if name == side else socket.AF_INET
            ends[name] = wire.keep(namespace.socket(family))
            if name == side:
                ends[name].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            wsasec.secure(ends[name])
        client, listener = ends["client"], ends["server"]
        listener.bind((wire.b.v4, 0) if side == "client" else ("::", 0))
        listener.listen(4)
        port = listener.getsockname()[1]
        address = (f"::ffff:{wire.b.v4}" if side == "client" else wire.b.v4, port)
        wire.connect(client, address)
        server = wire.accept(listener)
        run_streams(Stream(server, client, 50_000), Stream(client, server, 50_000), timeout=PATIENCE)


_CHILD = """
import os, socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
sock.settimeout(60)
sock.sendall(b"from a child")
print(sock.recv(100).decode())
"""


def test_descriptors_of_other_processes(realm, family):
    """A connection goes on in a child that was forked, and in a program that was executed."""
    with device_wire(family) as wire:
        client, server, _ = wire.connection()
        child = os.fork()
        if not child:
            try:
                client.sendall(b"forked")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert receive(server, 6) == b"forked"
        os.set_inheritable(client.fileno(), True)
        with subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(client.fileno())],
            pass_fds=[client.fileno()],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert receive(server, 12) == b"from a child"
            server.sendall(b"to a child")
            assert process.communicate(timeout=PATIENCE)[0] == "to a child\n"


def test_many_connections_at_once(realm, family):
    with device_wire(family) as wire:
        listener = wire.listener(wire.b, backlog=300)
        clients = [wire.plain(wire.a) for _ in range(100)]
        wsasec.secure_many(clients)
        for number, client in enumerate(clients):
            client.connect(listener.getsockname())
            client.sendall(struct.pack(">I", number))
        for _ in clients:
            server = wire.accept(listener)
            server.sendall(receive(server, 4))
        assert [struct.unpack(">I", receive(client, 4))[0] for client in clients] == list(range(100))
