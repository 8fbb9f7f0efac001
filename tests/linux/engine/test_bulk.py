"""What sends much waits in queues of its own, so that nothing else waits behind it."""

from __future__ import annotations

import os
import signal
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from engine_packets import Frame
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

import wsasec
from wsasec import profiles
from wsasec.lab import EngineLab, Namespace
from wsasec.profiles import DEFAULT, Profile

PATIENCE = 30.0
PROFILE = Profile("apart", uuid.UUID(int=0xB01C), 0x79, 0x62000000, 0xFF000000, carrier="device")
EACH = 8  # connections of a kind
MUCH = bytes(2_000_000)

Pair = tuple[socket.socket, socket.socket]  # the ends of a connection: here and there


@pytest.fixture
def engines(realm: Namespace) -> Iterator[EngineLab]:
    profiles.use(profiles.Profiles({"default": DEFAULT, PROFILE.name: PROFILE}, PROFILE))
    with EngineLab(PROFILE) as made:
        yield made


def secured(stack: ExitStack, host: Namespace, family: socket.AddressFamily) -> socket.socket:
    with host.entered():
        sock = stack.enter_context(socket.socket(family))
    sock.settimeout(PATIENCE)
    wsasec.secure(sock)
    return sock


def connections(stack: ExitStack, engines: EngineLab, family: socket.AddressFamily) -> list[Pair]:
    listener = secured(stack, engines.b, family)
    listener.bind((engines.b.v4 if family == socket.AF_INET else engines.b.v6, 0))
    listener.listen()
    pairs = []
    for _ in range(2 * EACH):
        here = secured(stack, engines.a, family)
        here.connect(listener.getsockname()[:2])
        there = stack.enter_context(listener.accept()[0])
        there.settimeout(PATIENCE)
        pairs.append((here, there))
    return pairs


def take(sock: socket.socket, size: int) -> None:
    while size:
        data = sock.recv(min(size, 1 << 20))
        assert data, "the connection ended"
        size -= len(data)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        os.waitid(os.P_PID, pid, os.WSTOPPED)  # until all of its threads are
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def senders(queue: int) -> set[int]:
    """Take what waits in a queue; return the ports that data are sent from."""
    found = set()
    while True:
        try:
            packet = Frame.of(os.read(queue, 70_000)).packet
        except BlockingIOError:
            return found
        parsed = (IP if packet[0] >> 4 == 4 else IPv6)(packet)
        if TCP in parsed and parsed[TCP].payload:
            found.add(parsed[TCP].sport)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def test_streams_and_requests_wait_apart(engines: EngineLab, family: socket.AddressFamily) -> None:
    end = engines.ends["a"]
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        pairs = connections(stack, engines, family)
        streams, requests = pairs[:EACH], pairs[EACH:]
        for here, there in streams:
            sent = pool.submit(here.sendall, MUCH)
            take(there, len(MUCH))
            sent.result()
        for here, there in requests:
            here.sendall(b"?")
            take(there, 1)
            there.sendall(b"!")
            take(here, 1)
        ports = [{here.getsockname()[1] for here, _ in some} for some in (requests, streams)]
        assert end.engine.pid
        with stopped(end.engine.pid):
            for here, _ in pairs:
                here.sendall(bytes(100))
            found = [senders(queue) for queue in end.device.queues]
    # Two flows may be counted together; by chance so many would be in the right queue once in 800 times.
    assert all(len(some & wanted) >= EACH - 1 for some, wanted in zip(found, ports, strict=True))
