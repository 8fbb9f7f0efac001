"""The guard: put up, found, flushed, spoiled and mended, while sockets live."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from wire import TIMEOUT, Stream, Wire, run_streams, tcp_states, wait_for

import wsasec
from wsasec.lab import Namespace
from wsasec.lab.keys import AEAD_KEY_BYTES, Key, draw_spi
from wsasec.lab.xfrm import AssociationSpec, XfrmSocket
from wsasec.profiles import DEFAULT

pytestmark = pytest.mark.lab

STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
MARK = ["mark", hex(DEFAULT.mark), "mask", hex(DEFAULT.mask)]
# Seconds. The guard looks ten times a second at what nobody reports; a machine may be busy.
NOTICED = 5.0


def guard(namespace: Namespace) -> str:
    """Return the system's policies, without those of sockets."""
    return namespace.run(["ip", "xfrm", "policy", "list", "nosock"]).stdout


def selector(family: socket.AddressFamily) -> list[str]:
    anywhere = "0.0.0.0/0" if family == socket.AF_INET else "::/0"
    return ["src", anywhere, "dst", anywhere, "dir", "out", *MARK]


def reflect(wire: Wire, namespace: Namespace, value: int | None = None) -> str:
    version = "ipv4" if wire.family == socket.AF_INET else "ipv6"
    return namespace.sysctl(f"net.{version}.fwmark_reflect", value)


def exchange(
    client: socket.socket, server: socket.socket, first: socket.socket, second: socket.socket
) -> None:
    """Move data over a connection and a pair of datagram sockets, both ways."""
    run_streams(Stream(client, server, 50_000), Stream(server, client, 50_000))
    for sender, receiver in ((first, second), (second, first)):
        sender.send(b"datagram")
        assert receiver.recv(100) == b"datagram"


def refused(wire: Wire, namespace: Namespace, kind: int = STREAM) -> wsasec.SecurityError:
    """See a socket refused, and that it cannot send either; return the error."""
    sock = wire.plain(namespace, kind)
    with pytest.raises(wsasec.SecurityError) as caught:
        wsasec.secure(sock)
    sock.setblocking(False)
    address = (wire.host(wire.b if namespace is wire.a else wire.a), 4711)
    # Not EINPROGRESS, and not EAGAIN, which an association would end: it is bound to a device that isn't.
    nowhere = (errno.ENODEV, errno.ENETUNREACH)
    assert sock.connect_ex(address) in nowhere
    if kind == DGRAM:
        with pytest.raises(OSError) as unsent:
            sock.sendto(b"in clear?", address)
        assert unsent.value.errno in nowhere
    return caught.value


def test_up_with_the_first_socket(make_wire):
    with make_wire(esp=False) as wire:
        assert guard(wire.a) == ""
        assert reflect(wire, wire.a) == "0"
        wire.secured(wire.a)
        once = guard(wire.a)
        assert f"mark {DEFAULT.mark:#x}/{DEFAULT.mask:#x}" in once
        assert f"proto esp reqid {DEFAULT.reqid} mode transport" in once
        assert reflect(wire, wire.a) == "1"
        for _ in range(20):
            wire.secured(wire.a)
        assert guard(wire.a) == once
        assert guard(wire.b) == ""


def test_flushed_while_sockets_live(make_wire):
    """What the sockets carry can't be flushed; what the guard does comes back with the next socket."""
    with make_wire() as wire:
        ends = (*wire.connection()[:2], *wire.datagram_pair())
        exchange(*ends)
        before = [guard(namespace) for namespace in (wire.a, wire.b)]
        for namespace in (wire.a, wire.b):
            namespace.run(["ip", "xfrm", "policy", "flush"])
            assert guard(namespace) == ""
        exchange(*ends)
        assert [guard(namespace) for namespace in (wire.a, wire.b)] == ["", ""]
        for namespace in (wire.a, wire.b):
            wire.secured(namespace)
        assert [guard(namespace) for namespace in (wire.a, wire.b)] == before
        exchange(*ends)


def test_flushed_and_back_it_does_its_work(make_wire):
    """RST from a closed port and the last ACK are the guard's: both come protected again."""
    with make_wire() as wire:
        client, server, port = wire.connection()
        for namespace in (wire.a, wire.b):
            namespace.run(["ip", "xfrm", "policy", "flush"])
            wire.secured(namespace)
        client.close()
        assert server.recv(1) == b""
        server.close()
        wait_for(lambda: not tcp_states(wire.b, port)["LAST_ACK"], "LAST_ACK ends", NOTICED)
        gone = wire.listener(wire.b)
        address = gone.getsockname()
        gone.close()
        with pytest.raises(ConnectionRefusedError):
            wire.connect(wire.secured(wire.a), address)


def test_deleted(make_wire):
    with make_wire() as wire:
        wire.connection()
        before = guard(wire.a)
        wire.a.run(["ip", "xfrm", "policy", "delete", *selector(wire.family)])
        assert guard(wire.a) == ""
        wire.secured(wire.a)
        assert guard(wire.a) == before


@pytest.mark.parametrize("kind", [STREAM, DGRAM], ids=["tcp", "udp"])
def test_foreign_policy(make_wire, kind):
    """Another's policy under the guard's mark is neither used nor overwritten."""
    with make_wire() as wire:
        foreign = ["tmpl", "proto", "esp", "mode", "transport", "reqid", "9"]
        wire.a.run(["ip", "xfrm", "policy", "add", *selector(wire.family), *foreign])
        before = guard(wire.a)
        error = refused(wire, wire.a, kind)
        assert (error.winsock, error.step) == (wsasec.Winsock.WSAENETDOWN, "guard")
        assert "another policy has the mark" in str(error)
        assert guard(wire.a) == before
        wire.a.run(["ip", "xfrm", "policy", "delete", *selector(wire.family)])
        exchange(*wire.connection()[:2], *wire.datagram_pair())


def test_spoiled_while_sockets_live(make_wire):
    """Somebody lets the marked packets pass: noticed by the next socket; the others don't depend on it."""
    with make_wire() as wire:
        ends = (*wire.connection()[:2], *wire.datagram_pair())
        before = guard(wire.a)
        wire.a.run(["ip", "xfrm", "policy", "update", *selector(wire.family), "action", "allow"])
        error = refused(wire, wire.a)
        assert (error.winsock, error.step) == (wsasec.Winsock.WSAENETDOWN, "guard")
        exchange(*ends)
        wire.a.run(["ip", "xfrm", "policy", "delete", *selector(wire.family)])
        wire.secured(wire.a)
        assert guard(wire.a) == before


@contextmanager
def unmarked_association(wire: Wire, namespace: Namespace) -> Iterator[None]:
    """Give a host an inbound association that does not set the mark, for a while."""
    spec = AssociationSpec(
        wire.host(wire.a if namespace is wire.b else wire.b),
        wire.host(namespace),
        wire.family,
        draw_spi(),
        DEFAULT.reqid,
        mark=0,
        mask=0,
    )
    key = Key(AEAD_KEY_BYTES)
    try:
        with namespace.entered(), XfrmSocket() as xfrm:
            xfrm.add(spec, key)
    finally:
        key.wipe()
    yield
    with namespace.entered(), XfrmSocket() as xfrm:
        xfrm.remove(spec)


@pytest.mark.parametrize("when", ["before", "after"])
def test_unmarked_association(make_wire, when):
    """What came in under it would be answered without a mark; before and after the guard is known."""
    with make_wire() as wire:
        if when == "after":
            wire.secured(wire.b)
        with unmarked_association(wire, wire.b):
            error = refused(wire, wire.b)
            assert (error.winsock, error.step) == (wsasec.Winsock.WSAENETDOWN, "guard")
            assert "does not set the mark" in str(error)
            # The other host has nothing to do with it.
            wire.secured(wire.a)
        exchange(*wire.connection()[:2], *wire.datagram_pair())


def test_unmarked_association_replaced(make_wire):
    """A rekey by a daemon that forgot the mark, and then did not."""
    with make_wire() as wire:
        wire.connection()
        wire.lab.remove_sas()
        with unmarked_association(wire, wire.a):
            refused(wire, wire.a)
        wire.lab.add_sas()
        exchange(*wire.connection()[:2], *wire.datagram_pair())


def test_reflection_switched_off(make_wire):
    """Nobody reports a sysctl: it is looked at ten times a second, where sockets are secured."""
    with make_wire(esp=False) as wire:
        wire.secured(wire.a)
        reflect(wire, wire.a, 0)
        deadline = time.monotonic() + NOTICED
        while reflect(wire, wire.a) != "1":
            assert time.monotonic() < deadline, "fwmark_reflect stays off"
            with wire.a.socket(wire.family) as sock:
                wsasec.secure(sock)


def test_reflection_back_it_does_its_work(make_wire):
    with make_wire(integrity_only=True) as wire:
        gone = wire.datagram(wire.b)
        address = gone.getsockname()
        gone.close()
        reflect(wire, wire.b, 0)

        def mended() -> bool:
            with wire.b.socket(wire.family) as sock:
                wsasec.secure(sock)
            return reflect(wire, wire.b) == "1"

        wait_for(mended, "it is on again", NOTICED)
        sender = wire.connect(wire.secured(wire.a, DGRAM), address)
        sender.send(b"nobody listens")
        state = "ICMP" if wire.family == socket.AF_INET else "ICMPV6"
        assert wire.capture.wait(lambda counts: counts.inner[state] == 1, TIMEOUT)


_CHILD = """
import socket, sys, wsasec
from wsasec import _wsasec
family = int(sys.argv[1])
before = _wsasec.guard_state("default", family)
with socket.socket(family) as sock:
    wsasec.secure(sock)
    print(before, _wsasec.guard_state("default", family))
"""


@pytest.mark.parametrize("first", ["this", "other"])
def test_shared_by_processes(make_wire, first):
    """Whoever comes second finds it, and does not put up another."""
    with make_wire(esp=False) as wire:
        if first == "this":
            wire.secured(wire.a)
        before = guard(wire.a)
        done = wire.a.run([sys.executable, "-c", _CHILD, str(int(wire.family))])
        # 1: the policy is missing; 4: fwmark_reflect is off.
        assert done.stdout.split() == (["0", "0"] if first == "this" else ["5", "0"])
        after = guard(wire.a)
        assert after.count("dir out") == 1
        if first == "this":
            assert after == before
        wire.secured(wire.a)
        assert guard(wire.a) == after


def test_raised_by_many_processes_at_once(make_wire):
    with make_wire(esp=False) as wire:
        command = [sys.executable, "-c", _CHILD, str(int(wire.family))]
        children = [wire.a.popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        for child in children:
            with child:
                assert child.communicate(timeout=30)[0].split()[1] == "0"
            assert child.returncode == 0
        assert guard(wire.a).count("dir out") == 1
