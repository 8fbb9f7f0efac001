"""Traffic between the engine and the kernel's ESP, every packet of it read by a third implementation."""

from __future__ import annotations

import os
import socket

import pytest
from wire import Stream, run_streams

pytestmark = pytest.mark.lab


def test_tcp(make_pair, near, encapsulation, algorithm, esn):
    with make_pair(
        engine=near == "engine", encapsulation=encapsulation, algorithm=algorithm, esn=esn
    ) as pair:
        for server_at in (pair.lab.a, pair.lab.b):
            client, server = pair.connection(server_at)
            run_streams(Stream(client, server, 100_000), Stream(server, client, 100_000))
        protocols = {opened.next_header for _, opened in pair.opened()}
        assert protocols == {socket.IPPROTO_TCP}


def test_udp(make_pair, near, encapsulation):
    with make_pair(engine=near == "engine", encapsulation=encapsulation) as pair:
        first, second = pair.datagrams()
        for size in (0, 1, 100, 1300, 1380, 1420, 1472, 1500, 4000, 20_000):
            for sender, receiver in ((first, second), (second, first)):
                data = os.urandom(size)
                sender.send(data)
                assert receiver.recv(1 << 17) == data
