"""Others on the wire: without protection, or forging packets as well as can be."""

from __future__ import annotations

import errno
import os
import select
import socket
from contextlib import AbstractContextManager

import pytest
from frames import ACK, FIN, PSH, RST, SYN, Forger, next_seq, source_of
from wire import TIMEOUT, Stream, Wire, is_readable, receive, run_streams, wait_for, xfrm_stat

import wsasec
from wsasec.lab import parse

pytestmark = pytest.mark.lab

STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
HOST_A = {"10.9.0.1", "fd00:9::1"}
HOST_B = {"10.9.0.2", "fd00:9::2"}


# --- one side without policy ---


def test_plain_client(make_wire):
    """A secured listener does not answer in clear, not even with a refusal."""
    with make_wire(esp=False, clear_from=HOST_A) as wire:
        listener = wire.listener(wire.b)
        client = wire.plain(wire.a)
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        # The second comes a second after the first: the client has no answer to that.
        wait_for(lambda: xfrm_stat(wire.b, "XfrmInTmplMismatch") >= 2, "two SYNs are dropped")
        assert not is_readable(listener)
        assert not select.select([], [client], [], 0)[1], "the client got an answer"


def test_plain_listener(make_wire):
    """It answers in clear, and a secured client takes no notice of it."""
    # What is left of it at the listener is half a connection, which nobody hears of again.
    with make_wire(esp=None, clear_from=HOST_B, settle=False) as wire:
        listener = wire.listener(wire.b, secured=False)
        client = wire.secured(wire.a)
        with pytest.raises(TimeoutError) as caught:
            wsasec.connect(client, listener.getsockname(), 0.5)
        assert caught.value.errno == errno.ETIMEDOUT
        # Its SYN comes again, if the first one was late.
        wait_for(lambda: xfrm_stat(wire.a, "XfrmInTmplMismatch") >= 1, "the answer is dropped")
        assert not is_readable(listener)
    assert wire.capture.counts.clear_by_state["SYN-ACK"] >= 1
    assert wire.capture.counts.esp >= 1


def test_plain_sender(make_wire):
    """A datagram in clear is neither delivered to a secured socket nor answered."""
    with make_wire(clear_from=HOST_A) as wire:
        receiver = wire.datagram(wire.b)
        plain = wire.bind(wire.plain(wire.a, DGRAM), wire.a)
        plain.sendto(b"in clear", receiver.getsockname())
        wait_for(lambda: xfrm_stat(wire.b, "XfrmInTmplMismatch") == 1, "it is dropped")
        secured = wire.datagram(wire.a)
        secured.sendto(b"protected", receiver.getsockname())
        assert receiver.recv(100) == b"protected"
        receiver.sendto(b"answer", secured.getsockname())
        assert secured.recv(100) == b"answer"
        assert not is_readable(plain)
    assert wire.capture.counts.clear == 1


def test_plain_receiver(make_wire):
    """It reads what came protected; what it answers in clear is not read."""
    with make_wire(esp=None, clear_from=HOST_B) as wire:
        receiver = wire.bind(wire.plain(wire.b, DGRAM), wire.b)
        sender = wire.datagram(wire.a)
        sender.sendto(b"protected", receiver.getsockname())
        data, address = receiver.recvfrom(100)
        assert data == b"protected"
        receiver.sendto(b"in clear", address)
        wait_for(lambda: xfrm_stat(wire.a, "XfrmInTmplMismatch") == 1, "the answer is dropped")
        assert not is_readable(sender)
    assert (wire.capture.counts.esp, wire.capture.counts.clear) == (1, 1)


def test_plain_sockets_are_untouched(make_wire):
    """On the same hosts, beside secured ones."""
    with make_wire(clear_from=HOST_A | HOST_B) as wire:
        client, server, _ = wire.connection()
        plain_listener = wire.listener(wire.b, secured=False)
        plain_client = wire.connect(wire.plain(wire.a), plain_listener.getsockname())
        plain_server = wire.accept(plain_listener)
        run_streams(Stream(client, server, 10_000), Stream(plain_client, plain_server, 10_000))
    assert wire.capture.counts.clear_by_state["SYN"] == 1


# --- forged packets ---


class Target:
    """A connection, and everything that an attacker beside the server can know of it."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        self.wire = wire
        self.client = client
        self.server = server
        self.there = (wire.host(wire.b), server.getsockname()[1])
        self.here = (wire.host(wire.a), client.getsockname()[1])

    def numbers(self) -> tuple[int, int]:
        """Return the next sequence numbers of server and client, read off the wire."""
        for sock, peer in ((self.client, self.server), (self.server, self.client)):
            sock.sendall(b"x")
            assert receive(peer, 1) == b"x"
        assert self.wire.sniffer is not None
        frames = self.wire.sniffer.frames()
        return next_seq(frames, *self.there), next_seq(frames, *self.here)


def _forger(wire: Wire) -> AbstractContextManager[Forger]:
    return Forger(near=wire.b, far=wire.a)


# Flags and data, and the state by which the capture counts it.
FORGED = {
    "data": (ACK | PSH, b"FORGED", "DATA"),
    "reset": (RST, b"", "RST"),
    "reset-ack": (RST | ACK, b"", "RST"),
    "end": (FIN | ACK, b"", "FIN"),
    "syn": (SYN, b"", "SYN"),
}


@pytest.mark.parametrize("what", FORGED)
def test_forged_segment(make_wire, what):
    """With the exact sequence number it is dropped all the same, and the connection lives on."""
    flags, data, state = FORGED[what]
    with make_wire(integrity_only=True, sniff=True) as wire, _forger(wire) as forger:
        target = Target(wire, *wire.connection()[:2])
        seq, ack = target.numbers()
        forger.send_tcp(target.there, target.here, seq, ack if flags & ACK else 0, flags, data)
        wait_for(lambda: xfrm_stat(wire.a, "XfrmInTmplMismatch") == 1, "the forged packet is dropped")
        assert not is_readable(target.client)
        run_streams(Stream(target.server, target.client, 5000), Stream(target.client, target.server, 5000))
        wire.expected_clear = {state: 1}


@pytest.mark.parametrize("what", ["data", "reset"])
def test_forged_segment_would_harm(make_wire, what):
    """Held against the test above: without protection, the same packet does its work."""
    flags, data, _ = FORGED[what]
    with make_wire(esp=False, clear_from=HOST_A | HOST_B) as wire, _forger(wire) as forger:
        listener = wire.listener(wire.b, secured=False)
        client = wire.connect(wire.plain(wire.a), listener.getsockname())
        target = Target(wire, client, wire.accept(listener))
        seq, ack = target.numbers()
        forger.send_tcp(target.there, target.here, seq, ack if flags & ACK else 0, flags, data)
        assert is_readable(client, TIMEOUT)
        if what == "data":
            assert client.recv(100) == b"FORGED"
        else:
            with pytest.raises(ConnectionResetError):
                client.recv(100)
        # The ends no longer agree on sequence numbers: a proper end would take its time.
        for sock in (client, target.server):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_forged_syn_for_listener(make_wire):
    """A clear SYN draws no answer: neither a SYN-ACK, nor a cookie, nor a RST."""
    with make_wire(esp=False) as wire, Forger(near=wire.a, far=wire.b) as forger:
        listener = wire.listener(wire.b)
        for cookies in (1, 2):
            wire.b.sysctl("net.ipv4.tcp_syncookies", cookies)
            source = (wire.host(wire.a), 40_000 + cookies)
            forger.send_tcp(source, listener.getsockname()[:2], 1000, 0, SYN)
        wait_for(lambda: xfrm_stat(wire.b, "XfrmInTmplMismatch") == 2, "both are dropped")
        assert not is_readable(listener)
        wire.expected_clear = {"SYN": 2}


@pytest.mark.parametrize("connected", [False, True], ids=["unconnected", "connected"])
def test_forged_datagram(make_wire, connected):
    with make_wire() as wire, _forger(wire) as forger:
        first, second = wire.datagram_pair() if connected else (wire.datagram(wire.a), wire.datagram(wire.b))
        here, there = first.getsockname()[:2], second.getsockname()[:2]
        forger.send_udp(there, here, b"FORGED")
        wait_for(lambda: xfrm_stat(wire.a, "XfrmInTmplMismatch") == 1, "the forged datagram is dropped")
        first.sendto(b"question", second.getsockname())
        assert second.recv(100) == b"question"
        second.sendto(b"true answer", first.getsockname())
        assert first.recv(100) == b"true answer"
        assert not is_readable(first)
        wire.expected_clear = {"UDP": 1}


def test_replayed_and_changed_packets(make_wire):
    """A copy of a protected packet is dropped; so is one of which a bit has changed."""
    with make_wire(sniff=True) as wire, _forger(wire) as forger:
        first, second = wire.datagram_pair()
        first.send(b"hello")
        assert second.recv(100) == b"hello"
        second.send(b"once")
        assert first.recv(100) == b"once"
        assert wire.sniffer is not None
        frame = next(
            frame
            for frame in wire.sniffer.frames()
            if parse(frame).group == "esp" and source_of(frame) == wire.host(wire.b)
        )
        forger.send(frame)
        forger.send(frame[:-1] + bytes([frame[-1] ^ 1]))
        # A sequence number ahead of all: not for the replay check to find.
        at = 14 + (20 if wire.family == socket.AF_INET else 40) + 4
        forger.send(frame[:at] + (99).to_bytes(4, "big") + frame[at + 4 :])
        dropped = ("XfrmInStateSeqError", "XfrmInStateProtoError")
        wait_for(lambda: sum(xfrm_stat(wire.a, name) for name in dropped) == 3, "all three are dropped")
        second.send(b"twice")
        assert first.recv(100) == b"twice"
        assert not is_readable(first)
        inbound = next(sa for sa in wire.sas(wire.a) if sa.dst == wire.host(wire.a))
        assert (inbound.replayed, inbound.integrity_failed) == (2, 1)


# --- IPv4 behind the back of an IPv6 socket ---


IPV6 = pytest.mark.parametrize("family", [socket.AF_INET6], indirect=True, ids=["v6"])


@IPV6
@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["tcp", "udp"])
def test_dual_stack_output(make_wire, kind):
    """A mapped address leads nowhere: one policy serves one family."""
    with make_wire(esp=False) as wire:
        sock = wire.secured(wire.a, kind)
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        mapped = ("::ffff:10.9.0.2", 4711)
        sock.setblocking(False)
        with pytest.raises(OSError) as caught:
            sock.connect(mapped)
        assert caught.value.errno == errno.ENETUNREACH
        if kind == DGRAM:
            with pytest.raises(OSError) as caught:
                sock.sendto(b"in clear?", mapped)
            assert caught.value.errno == errno.ENETUNREACH


@IPV6
def test_dual_stack_listener(make_wire):
    """A clear IPv4 client finds nothing at the port of a secured "any" listener."""
    with make_wire(esp=False, clear_from={"10.9.0.1", "10.9.0.2"}) as wire:
        listener = wire.secured(wire.b)
        listener.bind(("::", 0))
        listener.listen()
        client = wire.keep(wire.a.socket(socket.AF_INET))
        with pytest.raises(ConnectionRefusedError):
            client.connect((wire.b.v4, listener.getsockname()[1]))
        assert not is_readable(listener)
    assert wire.capture.counts.clear_by_state == {"SYN": 1, "RST": 1}


@IPV6
def test_dual_stack_receiver(make_wire):
    with make_wire(esp=False, clear_from={"10.9.0.1", "10.9.0.2"}) as wire:
        receiver = wire.secured(wire.b, DGRAM)
        receiver.bind(("::", 0))
        sender = wire.keep(wire.a.socket(socket.AF_INET, DGRAM))
        sender.connect((wire.b.v4, receiver.getsockname()[1]))
        sender.send(b"in clear")
        assert is_readable(sender, TIMEOUT)
        with pytest.raises(ConnectionRefusedError):
            sender.recv(100)
        assert not is_readable(receiver)
    assert wire.capture.counts.clear_by_state == {"UDP": 1, "ICMP": 1}


@IPV6
def test_dual_stack_switched_on_again(make_wire):
    """A program may undo IPV6_V6ONLY before bind(): what it sends to mapped addresses still isn't clear."""
    with make_wire(esp=None) as wire:
        # The guard of IPv4, which a host has that secures IPv4 sockets, too.
        wsasec.secure(wire.keep(wire.a.socket(socket.AF_INET)))
        for kind in (STREAM, DGRAM):
            sock = wire.secured(wire.a, kind)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.setblocking(False)
            if kind == STREAM:
                sock.connect_ex(("::ffff:10.9.0.2", 4711))
                sock.close()  # one SYN, and no second one that gets another answer
            else:
                sock.sendto(os.urandom(10), ("::ffff:10.9.0.2", 4711))
        assert wire.capture.wait(lambda counts: counts.esp >= 2, TIMEOUT)
        assert wire.capture.wait(lambda counts: counts.clear_by_state.keys() >= {"RST", "ICMP"}, TIMEOUT)
        wire.expected_clear = {"RST": 1, "ICMP": 1}  # of b, where nobody has put up a guard
