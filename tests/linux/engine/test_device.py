"""The TUN device of a profile: made, taken again, made again with its number, removed."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import uuid
from pathlib import Path

import pytest

from wsasec.engine import Device, missing, tun
from wsasec.engine.device import gso_size, queue_length
from wsasec.kernel.links import LinkSocket
from wsasec.lab import Namespace
from wsasec.profiles import DEFAULT, Profile

SO_BINDTOIFINDEX = 62
IFF_NO_PI, IFF_TUN = 0x1000, 0x0001
TUNSETIFF = 0x400454CA
NAME = f"ws{DEFAULT.reqid}"


def details(realm: Namespace) -> str:
    return realm.run(["ip", "-d", "link", "show", NAME]).stdout


def test_it_is_made_as_the_engine_needs_it(realm: Namespace) -> None:
    device = Device.create(DEFAULT, 3, mtu=1458)
    length = queue_length(6, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        shown = details(realm)
        for words in (
            *("tun type tun", "vnet_hdr on", "multi_queue", "numqueues 6", "persist on", "addrgenmode none"),
            *("mtu 1458", f"qlen {length}", f"gso_max_size {gso_size(1458)}"),
        ):
            assert words in shown
        assert "UP" not in shown.split(">")[0]
        assert len(device.queues) == 6
        for fd in device.queues:
            assert not os.get_blocking(fd)
            assert not os.get_inheritable(fd)
        assert device.ifindex == socket.if_nametoindex(NAME)
    finally:
        device.remove()
    assert NAME not in realm.run(["ip", "link"]).stdout


def test_it_has_no_address_of_its_own(realm: Namespace) -> None:
    device = Device.create(DEFAULT)
    try:
        device.set_up()
        assert "inet" not in realm.run(["ip", "addr", "show", NAME]).stdout
    finally:
        device.remove()


def test_large_packets_are_handed_out_as_they_are(realm: Namespace) -> None:
    device = Device.create(DEFAULT, bulk=False)
    try:
        # The bits of NETIF_F_: what ethtool shows is in no file, so by what the kernel gives a socket.
        realm.run(["ip", "addr", "add", "192.0.2.1/24", "dev", NAME])
        device.set_up()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(17, 103, 1000)  # UDP_SEGMENT
            sock.connect(("192.0.2.2", 9))
            sock.send(bytes(8000))
        sizes = []
        while True:
            try:
                sizes.append(len(os.read(device.queues[0], 70000)))
            except BlockingIOError:
                break
        # One of all eight where the kernel can (since 6.2), else one each.
        assert 10 + 20 + 8 + 8000 in sizes or sizes.count(10 + 20 + 8 + 1000) == 8
    finally:
        device.remove()


def test_it_stays_when_its_queues_are_closed_and_is_taken_again(realm: Namespace) -> None:
    device = Device.create(DEFAULT, 2)
    index = device.ifindex
    device.close()
    assert device.queues == []
    again = Device.create(DEFAULT, 2)
    try:
        assert again.ifindex == index
        assert "numqueues 4" in details(realm)
    finally:
        again.remove()
        again.remove()  # nothing to do


def test_made_again_it_has_its_number_and_its_sockets(realm: Namespace) -> None:
    device = Device.create(DEFAULT, bulk=False)
    try:
        device.set_up()
        realm.run(["ip", "route", "add", "192.0.2.0/24", "dev", NAME])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, device.ifindex)
            sock.sendto(b"one", ("192.0.2.2", 9))
            realm.run(["ip", "link", "del", NAME])
            with pytest.raises(OSError, match="No such device"):
                sock.sendto(b"two", ("192.0.2.2", 9))
            device.recreate()
            device.set_up()
            realm.run(["ip", "route", "add", "192.0.2.0/24", "dev", NAME])
            sock.sendto(b"three", ("192.0.2.2", 9))
            assert os.read(device.queues[0], 2000).endswith(b"three")
    finally:
        device.remove()


def test_the_number_of_another_device_is_not_taken(realm: Namespace) -> None:
    device = Device.create(DEFAULT)
    try:
        realm.run(["ip", "link", "del", NAME])
        realm.run(["ip", "link", "add", "other", "index", str(device.ifindex), "type", "veth"])
        with pytest.raises(OSError, match=NAME):
            device.recreate()
        assert device.queues == []
        assert NAME not in realm.run(["ip", "link"]).stdout
    finally:
        device.remove()


def test_a_device_of_another_kind_is_left_alone(realm: Namespace) -> None:
    realm.run(["ip", "link", "add", NAME, "type", "veth"])
    with pytest.raises(OSError, match="rename it"):
        Device.create(DEFAULT)
    assert "veth" in details(realm)


def test_a_tun_device_that_cannot_be_used_is_replaced(realm: Namespace) -> None:
    realm.run(["ip", "tuntap", "add", NAME, "mode", "tun"])  # one queue, no headers of packets
    device = Device.create(DEFAULT, 2)
    try:
        assert "multi_queue" in details(realm)
    finally:
        device.remove()


def test_a_tun_device_that_another_program_uses_is_left_alone(realm: Namespace) -> None:
    fd = os.open(tun.CONTROL, os.O_RDWR)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("=16sH22x", NAME.encode(), IFF_TUN | IFF_NO_PI))
        with pytest.raises(OSError, match="another program uses") as caught:
            Device.create(DEFAULT)
        assert caught.value.errno == errno.EBUSY
        assert tun.is_of(fd, NAME)
    finally:
        os.close(fd)


def test_two_profiles_have_a_device_each(realm: Namespace) -> None:
    other = Profile("other", uuid.UUID(int=5), 7, 0x58000000, 0xFF000000)
    one, two = Device.create(DEFAULT), Device.create(other)
    try:
        with LinkSocket() as links:
            assert {link.name for link in links.links()} == {"lo", NAME, "ws7"}
        assert one.ifindex != two.ifindex
    finally:
        one.remove()
        two.remove()


def test_without_tun_the_error_names_the_remedy(realm: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tun, "CONTROL", Path("/dev/net/nothing"))
    with pytest.raises(FileNotFoundError, match="modprobe tun"):
        Device.create(DEFAULT)
    assert any("modprobe tun" in reason for reason in missing())
