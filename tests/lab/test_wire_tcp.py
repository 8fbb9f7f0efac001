"""TCP: connections and their data, with the kernel's help and against its obstacles."""

from __future__ import annotations

import resource
import select
import socket
import time

import pytest
from wire import TIMEOUT, Stream, Wire, net_stat, receive, run_streams, tcp_states, wait_for

import wsasec

pytestmark = pytest.mark.lab

MANY = 1000


def test_handshake(make_wire):
    """Every step of it is inside ESP: the wire is only authenticated here, so that it can be read."""
    with make_wire(integrity_only=True) as wire:
        client, server, _ = wire.connection()
        assert client.getpeername() == server.getsockname()
        assert wire.capture.wait(lambda counts: counts.inner["ACK"] >= 1, TIMEOUT)
        inner = wire.capture.snapshot().inner
        assert (inner["SYN"], inner["SYN-ACK"]) == (1, 1)
    assert set(wire.capture.counts.inner) <= {"SYN", "SYN-ACK", "ACK", "FIN"}


def test_data_both_ways(make_wire):
    with make_wire() as wire:
        client, server, _ = wire.connection()
        run_streams(Stream(client, server, 1 << 20), Stream(server, client, 1 << 20))
    # No cipher makes it smaller: all of it was in those packets.
    assert wire.capture.counts.esp_bytes > 2 << 20


def test_half_closed(make_wire):
    """One side has said its last word, the other still speaks."""
    with make_wire() as wire:
        client, server, _ = wire.connection()
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        run_streams(Stream(server, client, 1 << 18))


def test_accepted_sockets(make_wire):
    """They are protected like their listener, also after it is gone, and cannot be secured again."""
    with make_wire() as wire:
        listener = wire.listener(wire.b)
        clients = [wire.connect(wire.secured(wire.a), listener.getsockname()) for _ in range(5)]
        servers = [wire.accept(listener) for _ in clients]
        with pytest.raises(wsasec.SecurityError) as caught:
            wsasec.secure(servers[0])
        assert caught.value.winsock == wsasec.Winsock.WSAEISCONN
        listener.close()
        by_name = {client.getsockname(): client for client in clients}
        # The accepted side speaks first: nothing of the client's can have protected it.
        run_streams(*(Stream(server, by_name[server.getpeername()], 20_000) for server in servers))
        run_streams(*(Stream(by_name[server.getpeername()], server, 20_000) for server in servers))


def test_syn_cookies(make_wire):
    """A connection that the kernel made from a cookie has no request socket to inherit from."""
    with make_wire() as wire:
        wire.b.sysctl("net.ipv4.tcp_syncookies", 2)
        client, server, _ = wire.connection()
        assert net_stat(wire.b, "TcpExt.SyncookiesRecv") == 1
        # The accepted side first: this is what leaves in clear without the guard.
        run_streams(Stream(server, client, 1 << 18))
        run_streams(Stream(server, client, 1 << 18), Stream(client, server, 1 << 18))


def leave_half_connections(wire: Wire, listener: socket.socket, count: int) -> None:
    """Have a listener wait for the last word of a host that is gone."""
    address = wire.a.v4, wire.a.v6
    wire.a.v4, wire.a.v6 = "10.9.0.7", "fd00:9::7"
    host = wire.host(wire.a)
    of_host = [f"{host}/{24 if wire.family == socket.AF_INET else 64}", "dev", wire.a.device]
    wire.a.run(["ip", "addr", "add", *of_host, *["nodad"] * (wire.family == socket.AF_INET6)])
    wire.lab.add_sas()
    with wire.broken(wire.b):
        for number in range(1, count + 1):
            with wire.secured(wire.a) as waiting:
                waiting.bind((host, 0))
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
                wait_for(lambda number=number: tcp_states(wire.b)["SYN_RECV"] == number, "its SYN arrives")
        wire.a.run(["ip", "addr", "del", *of_host])
    wire.a.v4, wire.a.v6 = address


def test_syn_cookies_of_a_full_queue(make_wire):
    """Under the default setting, too, when the backlog is small."""
    # The half connections last for a minute.
    with make_wire(settle=False) as wire:
        wire.connection()  # the hosts know each other's hardware addresses from now on
        listener = wire.listener(wire.b, backlog=1)
        leave_half_connections(wire, listener, 2)
        client = wire.connect(wire.secured(wire.a), listener.getsockname())
        server = wire.accept(listener)
        assert server.getpeername() == client.getsockname()
        assert net_stat(wire.b, "TcpExt.SyncookiesRecv") == 1
        # The accepted side first: this is what leaves in clear without the guard.
        run_streams(Stream(server, client, 1 << 18))
        run_streams(Stream(server, client, 1 << 18), Stream(client, server, 1 << 18))


def test_retransmissions(make_wire):
    """Of one packet in twenty, each way."""
    with make_wire() as wire:
        client, server, _ = wire.connection()
        with wire.netem(wire.a, "loss", "5%"), wire.netem(wire.b, "loss", "5%"):
            run_streams(Stream(client, server, 1 << 20), Stream(server, client, 1 << 20))
        for namespace in (wire.a, wire.b):
            assert net_stat(namespace, "Tcp.RetransSegs") > 0


def test_lost_handshake(make_wire):
    """The SYN and its answer are repeated by timers of their own, the answer by one of no socket."""
    with make_wire(integrity_only=True) as wire:
        wire.connection()  # the hosts know each other's hardware addresses from now on
        listener = wire.listener(wire.b)
        client = wire.secured(wire.a)
        client.setblocking(False)
        with wire.broken(wire.b):
            client.connect_ex(listener.getsockname())
            assert wire.capture.wait(lambda counts: counts.inner["SYN"] >= 3, TIMEOUT)
        client.settimeout(TIMEOUT)
        server = wire.accept(listener)
        server.sendall(b"arrived")
        assert receive(client, 7) == b"arrived"


def test_thousand_connections_at_once(make_wire):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft > 2 * MANY + 100
    with make_wire() as wire:
        listener = wire.listener(wire.b, backlog=2 * MANY)
        wire.b.sysctl("net.core.somaxconn", 2 * MANY)
        listener.listen(2 * MANY)
        listener.setblocking(False)
        clients = [wire.plain(wire.a) for _ in range(MANY)]
        wsasec.secure_many(clients)
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        for client in clients:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            poll.register(client, select.POLLOUT)
        by_fd = {client.fileno(): client for client in clients}
        servers: dict[int, socket.socket] = {}
        connected: set[int] = set()
        answered: set[int] = set()
        deadline = time.monotonic() + 45
        while len(answered) < MANY:
            assert time.monotonic() < deadline, f"{len(connected)} connected, {len(answered)} answered"
            for fd, _ in poll.poll(100):
                if fd == listener.fileno():
                    server = wire.keep(listener.accept()[0])
                    servers[server.fileno()] = server
                    poll.register(server, select.POLLIN)
                elif fd in servers:
                    servers[fd].sendall(receive(servers[fd], 4))
                    poll.unregister(fd)
                elif fd not in connected:
                    client = by_fd[fd]
                    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                    client.settimeout(TIMEOUT)
                    client.sendall(fd.to_bytes(4, "big"))
                    connected.add(fd)
                    poll.modify(fd, select.POLLIN)
                else:
                    assert receive(by_fd[fd], 4) == fd.to_bytes(4, "big")
                    answered.add(fd)
                    poll.unregister(fd)
    assert wire.capture.counts.esp > 7 * MANY
