"""The ends of connections: what the kernel sends without a socket, or with only the shadow of one."""

from __future__ import annotations

import socket
import struct
import time

import pytest
from wire import TIMEOUT, Stream, is_readable, receive, run_streams, tcp_states, wait_for

pytestmark = pytest.mark.lab

# Seconds. Without the guard it is 40 to 115; a machine that is only busy does not take this long.
AT_ONCE = 20.0


def _set_linger(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("first", ["client", "server"])
def test_either_side_closes_first(make_wire, first):
    """The last ACK comes from a minisocket; if it is lost, the other side stays in LAST_ACK for long."""
    with make_wire(integrity_only=True) as wire:
        client, server, port = wire.connection()
        run_streams(Stream(client, server, 1000), Stream(server, client, 1000))
        early, late, near, far = (
            (client, server, wire.a, wire.b) if first == "client" else (server, client, wire.b, wire.a)
        )
        early.close()
        assert late.recv(1) == b""
        wait_for(lambda: tcp_states(near, port)["FIN_WAIT2"], "the first FIN is acknowledged")
        late.close()
        wait_for(lambda: not tcp_states(far, port)["LAST_ACK"], "LAST_ACK ends", AT_ONCE)
        assert tcp_states(near, port)["TIME_WAIT"] == 1
        assert not set(tcp_states(far, port)) - {"LISTEN"}
    assert wire.capture.counts.inner["RST"] == 0


def test_time_wait_answers_again(make_wire):
    """The last ACK is lost: the FIN comes again, and TIME_WAIT answers it."""
    with make_wire() as wire:
        client, server, port = wire.connection()
        client.close()
        assert server.recv(1) == b""
        wait_for(lambda: tcp_states(wire.a, port)["FIN_WAIT2"], "the client's FIN is acknowledged")
        with wire.broken(wire.a):
            server.close()
            wait_for(lambda: tcp_states(wire.a, port)["TIME_WAIT"], "the server's FIN arrives")
            assert tcp_states(wire.b, port)["LAST_ACK"] == 1
        wait_for(lambda: not tcp_states(wire.b, port)["LAST_ACK"], "LAST_ACK ends", AT_ONCE)


@pytest.mark.parametrize("who", ["client", "server"])
def test_reset_by_linger(make_wire, who):
    with make_wire(integrity_only=True) as wire:
        client, server, port = wire.connection()
        rude, other = (client, server) if who == "client" else (server, client)
        _set_linger(rude)
        rude.close()
        assert is_readable(other, TIMEOUT)
        with pytest.raises(ConnectionResetError):
            other.recv(1)
        for namespace in (wire.a, wire.b):
            assert not set(tcp_states(namespace, port)) - {"LISTEN"}
    assert wire.capture.counts.inner["RST"] == 1


def test_reset_for_unread_data(make_wire):
    with make_wire(integrity_only=True) as wire:
        client, server, _ = wire.connection()
        client.sendall(b"never read")
        assert is_readable(server, TIMEOUT)
        server.close()
        assert is_readable(client, TIMEOUT)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert wire.capture.counts.inner["RST"] == 1


def test_reset_from_closed_port(make_wire):
    """The kernel answers by itself; in clear, the client would drop the answer and wait for a time-out."""
    with make_wire(integrity_only=True) as wire:
        listener = wire.listener(wire.b)
        address = listener.getsockname()
        listener.close()
        client = wire.secured(wire.a)
        start = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            wire.connect(client, address)
        assert time.monotonic() - start < AT_ONCE
    assert wire.capture.counts.inner["RST"] == 1


def test_reset_of_listener_that_never_accepted(make_wire):
    with make_wire(integrity_only=True) as wire:
        listener = wire.listener(wire.b)
        clients = [wire.connect(wire.secured(wire.a), listener.getsockname()) for _ in range(3)]
        assert is_readable(listener, TIMEOUT)
        listener.close()
        for client in clients:
            assert is_readable(client, TIMEOUT)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    assert wire.capture.counts.inner["RST"] == 3


@pytest.mark.parametrize("who", ["client", "server"])
def test_peer_sends_after_close(make_wire, who):
    """Data for a socket that is gone draws a RST from its minisocket."""
    with make_wire(integrity_only=True) as wire:
        client, server, port = wire.connection()
        near, far = (wire.a, wire.b) if who == "client" else (wire.b, wire.a)
        closed, open_ = (client, server) if who == "client" else (server, client)
        closed.close()
        assert open_.recv(1) == b""
        wait_for(lambda: tcp_states(near, port)["FIN_WAIT2"], "the FIN is acknowledged")
        open_.sendall(b"too late")
        assert wire.capture.wait(lambda counts: counts.inner["RST"] == 1, TIMEOUT)
        wait_for(lambda: not tcp_states(far, port)["CLOSE_WAIT"], "it is reset")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            open_.sendall(b"much too late")
        for namespace in (wire.a, wire.b):
            assert not set(tcp_states(namespace, port)) - {"LISTEN"}


def test_peer_sends_to_destroyed_socket(make_wire):
    """Not even a minisocket is left: a RST out of nothing."""
    with make_wire(integrity_only=True) as wire:
        client, server, port = wire.connection()
        # The client is reset, but the server does not hear of it.
        _set_linger(client)
        with wire.broken(wire.a):
            client.close()
            wait_for(lambda: not tcp_states(wire.a, port), "the client's socket is gone")
        server.sendall(b"is anybody there?")
        assert is_readable(server, TIMEOUT)
        with pytest.raises(ConnectionResetError):
            server.recv(1)


def test_simultaneous_close(make_wire):
    with make_wire() as wire:
        client, server, port = wire.connection()
        # Held back at one end, so that each FIN is sent before the other arrives.
        with wire.netem(wire.a, "delay", "500ms"):
            client.close()
            server.close()
            states = {"LISTEN", "TIME_WAIT"}
            for end in (wire.a, wire.b):
                wait_for(lambda end=end: not set(tcp_states(end, port)) - states, "both are closed", AT_ONCE)
        # Only then is each the one that waits for what may still come.
        assert tcp_states(wire.a, port)["TIME_WAIT"] == tcp_states(wire.b, port)["TIME_WAIT"] == 1


def test_data_left_behind_arrives(make_wire):
    """close() right after send(): the kernel delivers without the program."""
    with make_wire() as wire:
        client, server, port = wire.connection()
        data = bytes(range(256)) * 500
        client.sendall(data)
        client.close()
        assert receive(server, len(data) + 1) == data
        server.close()
        wait_for(lambda: not tcp_states(wire.b, port)["LAST_ACK"], "LAST_ACK ends", AT_ONCE)
