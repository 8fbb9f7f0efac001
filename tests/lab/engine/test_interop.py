"""Traffic between the engine and the kernel's ESP, every packet of it read by a third implementation."""

from __future__ import annotations

import os
import socket
import struct
import threading

import pytest
from esp_packets import echo_request
from wire import TIMEOUT, Stream, is_readable, receive, run_streams

pytestmark = pytest.mark.lab

FOUR_GIGA = 1 << 32


def test_tcp(make_pair, near, encapsulation, algorithm, esn):
    with make_pair(near=near, encapsulation=encapsulation, algorithm=algorithm, esn=esn) as pair:
        for server_at in (pair.lab.a, pair.lab.b):
            client, server = pair.connection(server_at)
            run_streams(Stream(client, server, 100_000), Stream(server, client, 100_000))
        opened = [entry for _, entry in pair.opened()]
        assert {entry.next_header for entry in opened} == {socket.IPPROTO_TCP}
        # RFC 4303 2.4: 1, 2, 3 ..., which whoever receives it should inspect.
        assert all(entry.padding == bytes(range(1, 1 + len(entry.padding))) for entry in opened)


def test_sequence_numbers(make_pair, encapsulation, esn):
    """RFC 4303 2.2: from 1 on, none left out, none twice."""
    with make_pair(encapsulation=encapsulation, esn=esn) as pair:
        first, second = pair.datagrams()
        for number in range(100):
            first.send(struct.pack(">I", number))
            assert second.recv(100) == struct.pack(">I", number)
            second.send(struct.pack(">I", number))
            assert first.recv(100) == struct.pack(">I", number)
        by_source: dict[str, list[int]] = {}
        for outer, opened in pair.opened():
            by_source.setdefault(outer.source, []).append(opened.sequence)
        assert all(numbers == list(range(1, 101)) for numbers in by_source.values())
        assert len(by_source) == 2


def test_udp(make_pair, near, encapsulation, algorithm):
    """Small, as large as the wire takes, and larger: the fragments are ESP's, not the datagram's."""
    with make_pair(near=near, encapsulation=encapsulation, algorithm=algorithm) as pair:
        first, second = pair.datagrams()
        sent = []
        for size in (0, 1, 2, 3, 100, 1300, *range(1390, 1460), 1472, 1500, 4000, 20_000, 60_000):
            for sender, receiver in ((first, second), (second, first)):
                data = os.urandom(size)
                sender.send(data)
                assert receiver.recv(1 << 17) == data
                sent.append(data)
        # What was in the ESP packets is the whole datagrams.
        assert [opened.payload[8:] for _, opened in pair.opened()] == sent


def test_udp_of_many_sizes_at_once(make_pair, encapsulation):
    """Bursts, which are cut and put together in one go where sizes allow it."""
    with make_pair(encapsulation=encapsulation) as pair:
        first, second = pair.datagrams()
        for size in (10, 700, 1200):
            for sender, receiver in ((first, second), (second, first)):
                sent = [os.urandom(size - (number % 3 == 2)) for number in range(60)]
                for data in sent:
                    sender.send(data)
                assert [receiver.recv(2000) for _ in sent] == sent


def _ping(pair, sock: socket.socket, target: str, source: str, number: int, size: int) -> None:
    protocol, message = echo_request(source, target, 0x5757, number, os.urandom(size))
    sock.sendto(message, (target, 0))
    wanted = {1: 0, 58: 129}[protocol]
    while True:
        data = sock.recv(1 << 17)
        if protocol == socket.IPPROTO_ICMP:
            data = data[(data[0] & 15) * 4 :]
        if data[0] == wanted and data[4:] == message[4:]:
            return


def test_ping_the_kernel(make_pair, encapsulation):
    """Its answer comes from no socket."""
    with make_pair(encapsulation=encapsulation) as pair:
        protocol = socket.IPPROTO_ICMP if pair.family == socket.AF_INET else socket.IPPROTO_ICMPV6
        sock = pair.socket(pair.lab.a, socket.SOCK_RAW, protocol)
        for number, size in enumerate((0, 1, 56, 1300, 1400, 4000)):
            _ping(pair, sock, pair.host(pair.lab.b), pair.host(pair.lab.a), number, size)


def test_rekey_under_traffic(make_pair, encapsulation):
    """Nothing is lost, and each association is used."""
    with make_pair(encapsulation=encapsulation, agree=False) as pair:
        client, server = pair.connection(pair.lab.b)
        first, second = pair.datagrams()
        stop = threading.Event()
        sent = {first: 0, second: 0}
        got: dict[socket.socket, list[int]] = {first: [], second: []}

        def exchange() -> None:
            while not stop.is_set():
                for sender, receiver in ((first, second), (second, first)):
                    sender.send(struct.pack(">I", sent[sender]))
                    sent[sender] += 1
                    got[receiver].append(struct.unpack(">I", receiver.recv(100))[0])
                run_streams(Stream(client, server, 20_000), Stream(server, client, 20_000))
                pair.sniffer.frames()  # there is room for so many only

        failure: list[BaseException] = []

        def work() -> None:
            try:
                exchange()
            except BaseException as error:  # noqa: BLE001 - told by the test
                failure.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for _ in range(3):
                pair.lab.rekey()
        finally:
            stop.set()
            thread.join()
        assert not failure, failure
        assert got == {second: list(range(sent[first])), first: list(range(sent[second]))}
        assert pair.strays() == 0
        newest = [spi for spi, (spec, _) in pair.lab.known.items() if spec.family == pair.family][-2:]
        run_streams(Stream(client, server, 20_000), Stream(server, client, 20_000))
        wire = pair.on_wire()
        assert all(wire[spi] > 0 for spi in newest)
        # All of it can be read; an association that is gone has no key that is used again.
        keys = [bytes(key.reveal()) for _, key in pair.lab.known.values()]
        assert len(set(keys)) == len(keys)
        pair.opened()


def test_newest_is_used_at_once(make_pair):
    with make_pair() as pair:
        first, second = pair.datagrams()
        for round_ in range(4):
            first.send(b"question")
            assert second.recv(100) == b"question"
            second.send(b"answer")
            assert first.recv(100) == b"answer"
            newest = [spi for spi, (spec, _) in pair.lab.known.items() if spec.family == pair.family][-2:]
            assert [int.from_bytes(outer.esp[:4], "big") for outer in pair.outer()][-2:] == newest, round_
            pair.lab.add_sas()


@pytest.mark.parametrize("algorithm", ["aes-256-gcm", "chacha20-poly1305"])
def test_sequence_numbers_above_32_bits(make_pair, near, encapsulation, algorithm):
    """The kernel's go on from there; the receiver has to find out the upper half by itself (RFC 4303, A2)."""
    # An inbound association of the engine begins at 0, as after a negotiation: the first is beyond it.
    sent = FOUR_GIGA - 1200
    with make_pair(near=near, encapsulation=encapsulation, algorithm=algorithm, sent=sent) as pair:
        first, second = pair.datagrams()
        for start in range(0, 1300, 50):
            for number in range(start, start + 50):
                second.send(struct.pack(">I", number))
            for number in range(start, start + 50):
                assert first.recv(100) == struct.pack(">I", number)
        sequences = [opened.sequence for outer, opened in pair.opened()]
        assert sequences == list(range(sent + 1, sent + 1301))
        first.send(b"and back")
        assert second.recv(100) == b"and back"


def test_replayed_frames(make_pair, near, encapsulation, esn):
    """Each frame a second time, in both directions: no second packet, and the counters know it."""
    with make_pair(near=near, encapsulation=encapsulation, esn=esn, agree=False) as pair:
        first, second = pair.datagrams()
        for number in range(20):
            for sender, receiver in ((first, second), (second, first)):
                sender.send(struct.pack(">I", number))
                assert receiver.recv(100) == struct.pack(">I", number)
        pair.agree()  # an end counts a packet at about the time at which it is received
        for target in (pair.lab.a, pair.lab.b):
            frames = [
                frame
                for frame in pair.sniffer.frames()
                if pair.sent_by(frame) == pair.host(pair.other(target))
            ]
            assert len(frames) == 20
            taken = sum(pair.counted(target).values())
            pair.inject(target, frames)
            pair.wait_refused(target, replayed=len(frames))
            assert sum(pair.counted(target).values()) == taken
        assert not is_readable(first)
        assert not is_readable(second)
        for sender, receiver in ((first, second), (second, first)):
            sender.send(b"the next one")
            assert receiver.recv(100) == b"the next one"


def test_forged_frames(make_pair, near, encapsulation, algorithm):
    """One bit of each byte of ESP is another: none comes through, in either direction."""
    with make_pair(near=near, encapsulation=encapsulation, algorithm=algorithm, agree=False) as pair:
        first, second = pair.datagrams()
        for sender, receiver in ((first, second), (second, first)):
            sender.send(b"x" * 30)
            assert receiver.recv(100) == b"x" * 30
        # A number that has not been seen: what is forged is not even taken for a replay.
        frames = {target: pair.sealed_anew(target, 500) for target in (pair.lab.a, pair.lab.b)}
        for target, frame in frames.items():
            forged = pair.forged(frame)
            pair.inject(target, forged)
            pair.wait_refused(target, forged=len(forged))
            pair.inject(target, [frame])
        for receiver in (first, second):
            assert receiver.recv(100) == b"x" * 30
            assert not is_readable(receiver)
        for sender, receiver in ((first, second), (second, first)):
            sender.send(b"the next one")
            assert receiver.recv(100) == b"the next one"


def test_many_connections(make_pair):
    with make_pair() as pair:
        listener = pair.socket(pair.lab.a)
        listener.listen(200)
        clients = [pair.socket(pair.lab.b) for _ in range(100)]
        for number, client in enumerate(clients):
            client.connect(listener.getsockname())
            client.sendall(struct.pack(">I", number))
        for _ in clients:
            server = pair.sockets.enter_context(listener.accept()[0])
            server.settimeout(TIMEOUT)
            server.sendall(receive(server, 4))
        assert [struct.unpack(">I", receive(client, 4))[0] for client in clients] == list(range(100))
