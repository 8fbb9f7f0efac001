"""Listeners and accept() on the wire: under SYN cookies, with the guard flushed, and with load."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from frames import ACK, PSH, Forger, next_seq
from wire import TIMEOUT, Stream, Wire, is_readable, net_stat, receive, run_streams, wait_for, xfrm_stat

import wsasec
from wsasec.lab import Namespace

pytestmark = pytest.mark.lab

STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
HOST_B = {"10.9.0.2", "fd00:9::2"}


def serve(wire: Wire, **options: Any) -> wsasec.Listener:
    with wire.b.entered():
        return wsasec.Listener((wire.host(wire.b), 0), **options)


def flush(*namespaces: Namespace) -> None:
    for namespace in namespaces:
        namespace.run(["ip", "xfrm", "policy", "flush"])


def with_cookies(wire: Wire) -> None:
    wire.b.sysctl("net.ipv4.tcp_syncookies", 2)


def test_the_kernel_alone_leaks(make_wire, family):
    """Held against the tests below: the child of an IPv4 cookie, made without the guard, sends in clear."""
    with make_wire(esp=None, clear_from=HOST_B) as wire:
        with_cookies(wire)
        listener = wire.listener(wire.b)
        # The host forgets its children's routes once, up to a second after its wire is there: when linkwatch
        # (net/core/link_watch.c) has come to the carrier of it. A child that was made just before leaks none.
        for _ in range(2):
            flush(wire.b)
            client = wire.connect(wire.secured(wire.a), listener.getsockname())
            server = wire.accept(listener)
            server.sendall(b"in clear?")
            if family == socket.AF_INET6 or wire.capture.wait(
                lambda counts: counts.clear_by_state["DATA"] >= 1, TIMEOUT
            ):
                break
        # The guard is back, and what is sent now makes the client ask for what it dropped.
        wire.secured(wire.b)
        server.sendall(bytes(5000))
        assert receive(client, 9 + 5000) == b"in clear?" + bytes(5000)
    assert (wire.capture.counts.clear > 0) == (family == socket.AF_INET)


@pytest.mark.parametrize("privileged", [True, False], ids=["privileged", "unprivileged"])
def test_accept_cures(make_wire, without_net_admin, privileged):
    """The same, through wsasec.accept; also by a program that gave its privileges up."""
    with make_wire() as wire:
        with_cookies(wire)
        listener = wire.listener(wire.b)
        flush(wire.b)
        client = wire.connect(wire.secured(wire.a), listener.getsockname())
        if privileged:
            server, address = wsasec.accept(listener)
        else:
            with without_net_admin():
                server, address = wsasec.accept(listener)
        assert address == client.getsockname()
        wire.keep(server)
        assert net_stat(wire.b, "TcpExt.SyncookiesRecv") == 1
        run_streams(Stream(server, client, 1 << 18))
        run_streams(Stream(server, client, 1 << 18), Stream(client, server, 1 << 18))
        assert guard_is_away(wire)
        # The end that has its guard is the one that waits for what may come late.
        client.close()
        assert server.recv(1) == b""
        server.close()


def guard_is_away(wire: Wire) -> bool:
    return wire.b.run(["ip", "xfrm", "policy", "list", "nosock"]).stdout == ""


def test_the_child_of_a_cookie_takes_nothing_in_clear(make_wire):
    """Its inbound policy is its listener's, and need not be set again."""
    with make_wire(integrity_only=True, sniff=True) as wire, Forger(near=wire.a, far=wire.b) as forger:
        with_cookies(wire)
        listener = wire.listener(wire.b)
        client = wire.connect(wire.secured(wire.a), listener.getsockname())
        server, _ = wsasec.accept(listener)
        wire.keep(server)
        for sock, peer in ((client, server), (server, client)):
            sock.sendall(b"x")
            assert receive(peer, 1) == b"x"
        here, there = client.getsockname()[:2], server.getsockname()[:2]
        frames = wire.sniffer.frames()
        seq, ack = next_seq(frames, *here), next_seq(frames, *there)
        forger.send_tcp(here, there, seq, ack, ACK | PSH, b"FORGED")
        wait_for(lambda: xfrm_stat(wire.b, "XfrmInTmplMismatch") == 1, "the forged packet is dropped")
        assert not is_readable(server)
        run_streams(Stream(server, client, 5000), Stream(client, server, 5000))
        wire.expected_clear = {"DATA": 1}


@pytest.mark.parametrize("cookies", [1, 2])
@pytest.mark.parametrize("when", ["before", "after", "never"])
def test_listener_with_the_guard_flushed(make_wire, cookies, when):
    """Before the connections or after them: what a listener sends back is protected."""
    with make_wire() as wire:
        wire.b.sysctl("net.ipv4.tcp_syncookies", cookies)
        with serve(wire, mode="echo", threads=2) as listener:
            if when == "before":
                flush(wire.b)
            clients = [wire.connect(wire.secured(wire.a), listener.address) for _ in range(8)]
            listener.wait_accepted(8, TIMEOUT)
            if when == "after":
                flush(wire.b)
            for client in clients:
                run_streams(Stream(client, client, 20_000))
            # The last bytes may be here before they are counted there.
            counts = wait_for(
                lambda: (now := listener.counts).sent_bytes == 8 * 20_000 and now, "all is counted"
            )
            assert counts.received_bytes == 8 * 20_000
            assert (counts.accepted, counts.refused, counts.errors) == (8, 0, 0)
            expected = 8 if cookies == 2 else 0
            assert net_stat(wire.b, "TcpExt.SyncookiesRecv") == expected
            for client in clients:
                client.close()
            wait_for(lambda: listener.counts.open == 0, "all are closed")


def test_many_connections(make_wire):
    with make_wire() as wire, serve(wire, threads=2) as listener:
        with wire.a.entered():
            batch = wsasec.SocketBatch(200, family=wire.family)
        with batch:
            batch.connect([listener.address], timeout=TIMEOUT)
            listener.wait_accepted(200, TIMEOUT)
            for fd in batch:
                os.write(fd, b"x" * 100)
            wait_for(lambda: listener.counts.received_bytes == 200 * 100, "all of it arrives")
        wait_for(lambda: listener.counts.open == 0, "all are closed")


def test_closed_while_connections_send(make_wire):
    with make_wire() as wire:
        listener = serve(wire)
        client = wire.connect(wire.secured(wire.a), listener.address)
        listener.wait_accepted(1, TIMEOUT)
        client.sendall(b"x" * 10_000)
        listener.close()

        def broken() -> bool:
            try:
                return not os.write(client.fileno(), b"x" * 1000)
            except (ConnectionResetError, BrokenPipeError):
                return True
            except BlockingIOError:
                return False

        wait_for(broken, "the client is told")


@pytest.mark.parametrize("mode", ["sink", "echo"])
def test_datagrams(make_wire, mode):
    with make_wire() as wire, serve(wire, type=DGRAM, mode=mode) as listener:
        sender = wire.connect(wire.secured(wire.a, DGRAM), listener.address)
        for number in range(50):
            sender.send(b"%d" % number)
            if mode == "echo":
                assert sender.recv(100) == b"%d" % number
        echoed = 50 if mode == "echo" else 0
        wait_for(lambda: listener.counts.received_datagrams == 50, "all arrive")
        wait_for(lambda: listener.counts.sent_datagrams == echoed, "all are counted")
        if mode == "sink":
            # The ESP of the other direction is for the check that both hosts used their associations.
            assert wire.connection()


def test_datagrams_without_an_association(make_wire):
    """An echo that cannot be protected is not sent, and counted."""
    with make_wire(settle=False) as wire, serve(wire, type=DGRAM, mode="echo") as listener:
        sender = wire.connect(wire.secured(wire.a, DGRAM), listener.address)
        sender.send(b"first")
        assert sender.recv(100) == b"first"
        outbound = [sa for sa in wire.sas(wire.b) if sa.src == wire.host(wire.b)]
        for sa in outbound:
            where = ["src", sa.src, "dst", sa.dst, "proto", "esp", "spi", hex(sa.spi)]
            wire.b.run(["ip", "xfrm", "state", "delete", *where])
        sender.send(b"second")
        wait_for(lambda: listener.counts.unsent_datagrams == 1, "the echo is held back")
        assert not is_readable(sender)
        wire.lab.remove_sas()
        wire.lab.add_sas()
        sender.send(b"third")
        assert sender.recv(100) == b"third"


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["tcp", "udp"])
def test_the_association_goes_and_comes(make_wire, kind):
    """A connection waits for it, its end as well; datagrams are refused, and the next ones are not."""
    data = os.urandom(20_000)
    with make_wire(esp=None) as wire, serve(wire, mode="echo", type=kind) as listener:
        client = wire.connect(wire.secured(wire.a, kind), listener.address)
        client.sendall(b"before")
        assert client.recv(100) == b"before"
        wire.lab.remove_sas()
        if kind == STREAM:
            client.sendall(data)
        else:
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.send(data)
            client.settimeout(TIMEOUT)
        assert not is_readable(client, 0.5)
        wire.lab.add_sas()
        if kind == DGRAM:
            client.send(data)
        client.settimeout(40)
        assert receive(client, len(data)) == data
        counts = listener.counts
        assert (counts.errors, counts.resets, counts.open) == (0, 0, int(kind == STREAM))


def test_the_association_of_a_connection_that_ends(make_wire):
    """The listener closes while there is none: the end of the connection waits, too."""
    with make_wire(esp=None) as wire:
        listener = serve(wire)
        with listener:
            client = wire.connect(wire.secured(wire.a), listener.address)
            listener.wait_accepted(1, TIMEOUT)
            wire.lab.remove_sas()
        assert not is_readable(client, 0.5)
        wire.lab.add_sas()
        assert is_readable(client, 40)
        assert client.recv(1) == b""
