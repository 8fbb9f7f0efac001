"""What the engine makes of packets and what the kernel does, on a real TUN device: each takes the other's."""

from __future__ import annotations

import os
import random
import select
import socket
from collections.abc import Callable, Iterator

import pytest
from engine_packets import UDP_L4, Frame, Packets
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw
from wire import wait_for_address

from wsasec.engine import Device
from wsasec.lab import Namespace
from wsasec.profiles import DEFAULT

NAME = f"ws{DEFAULT.reqid}"
OWN = {4: "192.0.2.2", 6: "2001:db8::2"}
PEER = {4: "192.0.2.1", 6: "2001:db8::1"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
UDP_SEGMENT = 103
# IP_MTU_DISCOVER and IP_MTU, and the same of IPv6: level, option.
MTU_DISCOVER = {4: (0, 10), 6: (41, 23)}
MTU = {4: (0, 14), 6: (41, 24)}
DONT, DO = 0, 2
SECONDS = 10.0

versions = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> Packets:
    return Packets(tmp_path_factory.mktemp("packets"))


@pytest.fixture
def queue(realm: Namespace) -> Iterator[int]:
    device = Device.create(DEFAULT, mtu=1458, bulk=False)
    try:
        realm.run(["ip", "addr", "add", "192.0.2.2/24", "dev", NAME])
        realm.run(["ip", "addr", "add", "2001:db8::2/64", "dev", NAME, "nodad"])
        device.set_up()
        wait_for_address(realm, "2001:db8::2")
        yield device.queues[0]
    finally:
        device.remove()


def ip_to_here(version: int) -> Packet:
    return (IP if version == 4 else IPv6)(src=PEER[version], dst=OWN[version])


def bound(version: int) -> socket.socket:
    sock = socket.socket(FAMILY[version], socket.SOCK_DGRAM)
    sock.settimeout(SECONDS)
    sock.bind((OWN[version], 9))
    return sock


def connected(version: int, discover: int) -> socket.socket:
    sock = socket.socket(FAMILY[version], socket.SOCK_DGRAM)
    sock.setsockopt(*MTU_DISCOVER[version], discover)
    sock.connect((PEER[version], 9))
    return sock


def next_frame(queue: int, wanted: Callable[[Frame], bool]) -> Frame:
    """The next frame from the device that is wanted; others are the kernel's own."""
    while True:
        assert select.select([queue], [], [], SECONDS)[0]
        frame = Frame.of(os.read(queue, 70_000))
        if wanted(frame):
            return frame


@versions
@pytest.mark.parametrize("anew", [False, True], ids=["verified", "translated"])
def test_merged_datagrams_arrive_one_by_one(queue: int, packets: Packets, version: int, anew: bool) -> None:
    sent = [random.Random(i).randbytes(1200 if i < 9 else 500) for i in range(10)]
    raw = [bytes(ip_to_here(version) / UDP(sport=77, dport=9) / Raw(data)) for data in sent]
    (frame,) = packets.receive(raw, anew=anew)
    assert (frame.gso, frame.size) == (UDP_L4, 1200)
    with bound(version) as sock:
        try:
            os.write(queue, bytes(frame))
        except OSError:
            pytest.skip("the kernel takes no USO from a TUN device: Linux 6.2")
        assert [sock.recv(4000) for _ in sent] == sent


@versions
def test_a_wrong_checksum_is_seen(queue: int, packets: Packets, version: int) -> None:
    raw = bytearray(bytes(ip_to_here(version) / UDP(sport=77, dport=9) / Raw(b"wrong")))
    raw[-1] ^= 1
    right = bytes(ip_to_here(version) / UDP(sport=77, dport=9) / Raw(b"right"))
    with bound(version) as sock:
        for frame in packets.receive([bytes(raw), right]):
            os.write(queue, bytes(frame))
        assert sock.recv(100) == b"right"


@versions
def test_a_large_datagram_in_and_its_fragments_out(queue: int, packets: Packets, version: int) -> None:
    data = random.Random(version).randbytes(60_000)
    (frame,) = packets.receive([bytes(ip_to_here(version) / UDP(sport=77, dport=9) / Raw(data))], anew=True)
    with bound(version) as sock:
        os.write(queue, bytes(frame))
        assert sock.recv(70_000) == data

    at, protocol = (9, 17) if version == 4 else (6, 44)
    with connected(version, DONT) as sock:
        sock.send(data)
        parts: list[tuple[int, bytes]] = []
        while sum(len(part) - (20 if version == 4 else 48) for _, part in parts) < len(data) + 8:
            part = next_frame(
                queue, lambda frame: frame.packet[0] >> 4 == version and frame.packet[at] == protocol
            )
            parts.append((0, part.packet))
    ((number, whole),), lost = packets.reassemble(parts)
    assert (number, lost) == (len(parts) - 1, 0)
    assert whole[-len(data) :] == data


@versions
def test_a_super_packet_is_cut(queue: int, packets: Packets, version: int) -> None:
    data = random.Random(version).randbytes(8500)
    with connected(version, DO) as sock:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        sock.send(data)
        found = b""
        while len(found) < len(data):
            frame = next_frame(queue, lambda frame: len(frame.packet) > 500)
            for packet in packets.cut(frame):
                read = (IP if version == 4 else IPv6)(packet)
                found += bytes(read[UDP].payload)
                read[UDP].delfieldval("chksum")
                assert bytes(read) == packet
    assert found == data


@versions
def test_the_kernel_believes_what_is_too_big(queue: int, packets: Packets, version: int) -> None:
    with connected(version, DO) as sock:
        sock.send(bytes(1400))
        frame = next_frame(queue, lambda frame: len(frame.packet) > 1000)
        said = packets.too_big(frame, 1300)
        assert said
        os.write(queue, bytes(said))  # what is written has been dealt with on return
        assert sock.getsockopt(*MTU[version]) == 1300
