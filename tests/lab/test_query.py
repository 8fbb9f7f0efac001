"""What a query says of keys that no key daemon has made: what the kernel knows of them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from wire import Wire, receive

import wsasec
from wsasec import SecurityError, Winsock
from wsasec.profiles import DEFAULT

pytestmark = pytest.mark.lab

MakeWire = Callable[..., AbstractContextManager[Wire]]


def test_connections(make_wire: MakeWire) -> None:
    with make_wire() as wire:
        client, server, _ = wire.connection()
        client.sendall(b"x" * 5000)
        receive(server, 5000)
        ends = wsasec.query(client), wsasec.query(server, ipsec2=True)
        installed = {sa.spi for sa in wire.sas(wire.a)}
    for end in ends:
        assert (end.secured, end.encrypted, end.impersonated) == (True, True, False)
        assert (end.peer, end.own, end.certificate) == (None, None, None)
        assert end.profile == DEFAULT.name
        assert end.association is not None
        assert {end.association.spi_in, end.association.spi_out} <= installed
        assert end.association.protocol == 50
        assert end.association.encryption is not None
        assert end.association.encryption_bits in {128, 256}
        assert end.association.integrity_bits == 128
        assert end.association.packets_in > 0 < end.association.packets_out
    here, there = (end.association for end in ends)
    assert here is not None
    assert there is not None
    assert (here.spi_in, here.spi_out) == (there.spi_out, there.spi_in)
    assert here.bytes_out > 5000
    assert (ends[1].mm_sa_id, ends[1].qm_sa_id) == (0, 0)


def test_datagrams(make_wire: MakeWire) -> None:
    with make_wire() as wire:
        first, second = wire.datagram_pair()
        first.send(b"one")
        assert second.recv(9) == b"one"
        second.send(b"two")
        assert first.recv(9) == b"two"
        host = second.getsockname()
        assert wsasec.query(first, peer=host).encrypted
        with pytest.raises(SecurityError) as caught:
            wsasec.query(first, peer=("fd00:9::9" if wire.family == socket.AF_INET6 else "10.9.0.9", 9))
        assert caught.value.winsock is Winsock.WSAENOTCONN


def test_sockets_that_may_go_on_in_clear(make_wire: MakeWire) -> None:
    """Their answers are of the SAs, and say so when there are none."""
    optional = wsasec.Settings(wsasec.SecurityFlags.ALLOW_INSECURE)
    hosts = {"10.9.0.1", "10.9.0.2", "fd00:9::1", "fd00:9::2"}
    with make_wire(clear_from=hosts) as wire:
        client, server, _ = wire.connection(optional)
        client.sendall(b"x")
        receive(server, 1)
        assert wsasec.query(client).encrypted
    assert set(wire.capture.counts.clear_by_state) <= {"ACK"}  # the last ones: there is no guard
    with make_wire(keys=False, esp=False, clear_from=hosts) as wire:
        client, server, _ = wire.connection(optional)
        client.sendall(b"x")
        receive(server, 1)
        answer = wsasec.query(client)
        assert not answer.secured
        assert answer.association is None
