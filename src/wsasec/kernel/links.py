"""Network devices and their addresses, over netlink: no tool to start, which is slow in a guest."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Final

from .netlink import CREATE, Message, NetlinkSocket, attribute, attributes
from .notifications import NETLINK_ROUTE

__all__ = ["InterfaceAddress", "Link", "LinkSocket"]

_MSG_NEWLINK: Final = 16
_MSG_DELLINK: Final = 17
_MSG_GETLINK: Final = 18
_MSG_NEWADDR: Final = 20
_MSG_DELADDR: Final = 21
_MSG_GETADDR: Final = 22
_MSG_NEWNEIGH: Final = 28

_LINK_NAME: Final = 3
_LINK_MTU: Final = 4
_LINK_TXQLEN: Final = 13
_LINK_INFO: Final = 18
_LINK_ALIAS: Final = 20
_LINK_AF_SPEC: Final = 26
_LINK_NETNS_FD: Final = 28
_LINK_CARRIER: Final = 33
_LINK_GSO_MAX_SEGS: Final = 40
_LINK_GSO_MAX_SIZE: Final = 41
_INFO_KIND: Final = 1
_INFO_DATA: Final = 2
_VETH_PEER: Final = 1
_TUN_QUEUES: Final = 8
_TUN_DISABLED_QUEUES: Final = 9
_INET6_ADDR_GEN_MODE: Final = 8
_ADDR_GEN_NONE: Final = 1
_IFF_UP: Final = 1

_ADDR_ADDRESS: Final = 1
_ADDR_LOCAL: Final = 2
_ADDR_FLAGS: Final = 8
_ADDR_NODAD: Final = 2
_ADDR_TENTATIVE: Final = 0x40
_ADDR_DADFAILED: Final = 0x08

_NEIGHBOUR_ADDRESS: Final = 1
_NEIGHBOUR_HARDWARE: Final = 2
_NEIGHBOUR_PERMANENT: Final = 0x80

# struct ifinfomsg, struct ifaddrmsg, struct ndmsg.
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_NEIGHBOUR: Final = struct.Struct("=B3xiHBB")


@dataclass(frozen=True, slots=True)
class Link:
    """A network device.

    Attributes:
        index: its number in the namespace.
        name: its name.
        up: whether it is set up (IFF_UP).
        mtu: bytes.
        kind: "veth", "tun" ...; "" of one that the kernel gives no kind.
        alias: what somebody wrote there (ifalias); at most 255 bytes.
        queues: of a TUN device with several: how many of them processes hold.
        carrier: whether there is somebody at the other end; of a TUN device a process.
    """

    index: int
    name: str
    up: bool
    mtu: int
    kind: str
    alias: str
    queues: int = 0
    carrier: bool = False


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of a device; not `usable` while it is not known, or known, to be another host's, too."""

    index: int
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    prefix: int
    usable: bool


def _end(name: str, mtu: int) -> bytes:
    return attribute(_LINK_NAME, name.encode() + b"\0") + attribute(_LINK_MTU, struct.pack("=I", mtu))


def _text(value: memoryview) -> str:
    return os.fsdecode(bytes(value).split(b"\0", 1)[0])


def _take_link(kind: int, payload: memoryview) -> Link | None:
    if kind != _MSG_NEWLINK or len(payload) < _LINK.size:
        return None
    family, _, index, flags, _ = _LINK.unpack_from(payload)
    if family != socket.AF_UNSPEC:
        return None
    nothing = memoryview(b"")
    values = dict(attributes(payload[_LINK.size :]))
    info = dict(attributes(values.get(_LINK_INFO, nothing)))
    device_kind = _text(info.get(_INFO_KIND, nothing))
    return Link(
        index,
        _text(values.get(_LINK_NAME, nothing)),
        bool(flags & _IFF_UP),
        int.from_bytes(values.get(_LINK_MTU, nothing), sys.byteorder),
        device_kind,
        _text(values.get(_LINK_ALIAS, nothing)),
        _held_queues(info.get(_INFO_DATA, nothing)) if device_kind == "tun" else 0,
        bytes(values.get(_LINK_CARRIER, nothing)) == b"\1",
    )


def _held_queues(data: memoryview) -> int:
    counts = (_TUN_QUEUES, _TUN_DISABLED_QUEUES)
    return sum(int.from_bytes(value, sys.byteorder) for which, value in attributes(data) if which in counts)


def _take_address(kind: int, payload: memoryview) -> InterfaceAddress | None:
    if kind != _MSG_NEWADDR or len(payload) < _ADDRESS.size:
        return None
    family, prefix, flags, _, index = _ADDRESS.unpack_from(payload)
    size = {socket.AF_INET: 4, socket.AF_INET6: 16}.get(family)
    found: dict[int, bytes] = {}
    for which, value in attributes(payload[_ADDRESS.size :]):
        found[which] = bytes(value)
    # Of IPv4, ADDRESS is the other end's on a point-to-point device; of IPv6, LOCAL is there only then.
    own = found.get(_ADDR_LOCAL, found.get(_ADDR_ADDRESS))
    if own is None or len(own) != size:
        return None
    if len(found.get(_ADDR_FLAGS, b"")) == 4:
        (flags,) = struct.unpack("=I", found[_ADDR_FLAGS])
    usable = not flags & (_ADDR_TENTATIVE | _ADDR_DADFAILED)
    return InterfaceAddress(index, ipaddress.ip_address(own), prefix, usable)


class LinkSocket:
    """The devices of one network namespace: that of the thread that makes this. All methods raise OSError."""

    def __init__(self) -> None:
        self._netlink = NetlinkSocket(NETLINK_ROUTE)

    def __enter__(self) -> LinkSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._netlink.close()

    def links(self) -> list[Link]:
        """Return all devices."""
        return self._netlink.listing(_MSG_GETLINK, "listing devices", _take_link, _LINK.pack(0, 0, 0, 0, 0))

    def link(self, name: str) -> Link | None:
        """Return the device of a name; None if there is none, or it is only another name of one."""
        message = Message(_LINK.pack(0, 0, 0, 0, 0))
        message.attribute(_LINK_NAME, name.encode() + b"\0")
        try:
            answers = self._netlink.ask(message, _MSG_GETLINK, f"looking for {name}")
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        for kind, payload in answers:
            if (found := _take_link(kind, memoryview(payload))) is not None and found.name == name:
                return found
        return None

    def addresses(self) -> list[InterfaceAddress]:
        """Return the addresses of all devices."""
        body = _ADDRESS.pack(0, 0, 0, 0, 0)
        return self._netlink.listing(_MSG_GETADDR, "listing addresses", _take_address, body)

    def add_veth(self, name: str, peer: str, peer_netns: int, mtu: int) -> None:
        """Make a wire: one end here, the other in the namespace of a descriptor; mtu in bytes.

        Raises:
            OSError: EOPNOTSUPP: the kernel has no veth devices.
        """
        there = _LINK.pack(0, 0, 0, 0, 0) + _end(peer, mtu)
        there += attribute(_LINK_NETNS_FD, struct.pack("=I", peer_netns))
        info = attribute(_INFO_KIND, b"veth") + attribute(_INFO_DATA, attribute(_VETH_PEER, there))
        message = Message(_LINK.pack(0, 0, 0, 0, 0) + _end(name, mtu) + attribute(_LINK_INFO, info))
        self._netlink.request(message, _MSG_NEWLINK, CREATE, f"making the veth pair {name}, {peer}")

    def add_address(self, device: str, address: str, prefix: int) -> None:
        """Give a device an address, in use at once: no duplicate address detection."""
        what = f"giving {device} the address {address}/{prefix}"
        self._netlink.request(self._address(device, address, prefix), _MSG_NEWADDR, CREATE, what)

    def remove_address(self, device: str, address: str, prefix: int) -> None:
        """Take an address from a device; OSError (EADDRNOTAVAIL) if it has none such."""
        what = f"taking the address {address}/{prefix} from {device}"
        self._netlink.request(self._address(device, address, prefix), _MSG_DELADDR, 0, what)

    @staticmethod
    def _address(device: str, address: str, prefix: int) -> Message:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
        message = Message(_ADDRESS.pack(family, prefix, 0, 0, socket.if_nametoindex(device)))
        message.attribute(_ADDR_LOCAL, packed)
        message.attribute(_ADDR_ADDRESS, packed)
        if family == socket.AF_INET6:
            message.attribute(_ADDR_FLAGS, struct.pack("=I", _ADDR_NODAD))
        return message

    def set_up(self, device: str, *, up: bool = True) -> None:
        """Set a device up, or down."""
        message = self._named(device, _IFF_UP if up else 0, _IFF_UP)
        self._netlink.request(message, _MSG_NEWLINK, 0, f"setting {device} {'up' if up else 'down'}")

    def set_single_segments(self, device: str) -> None:
        """Have the kernel cut packets to the size of the wire before they get to a device and to captures."""
        message = self._named(device)
        message.attribute(_LINK_GSO_MAX_SEGS, struct.pack("=I", 1))
        self._netlink.request(message, _MSG_NEWLINK, 0, f"having {device} get single packets")

    def add_neighbour(self, device: str, address: str, hardware: bytes) -> None:
        """Say where a neighbour is, for good: nobody is asked for it."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        index = socket.if_nametoindex(device)
        message = Message(_NEIGHBOUR.pack(family, index, _NEIGHBOUR_PERMANENT, 0, 0))
        message.attribute(_NEIGHBOUR_ADDRESS, socket.inet_pton(family, address))
        message.attribute(_NEIGHBOUR_HARDWARE, hardware)
        self._netlink.request(message, _MSG_NEWNEIGH, CREATE, f"telling {device} where {address} is")

    def set_alias(self, device: str, alias: str) -> None:
        """Write a device's alias; "" for none."""
        message = self._named(device)
        message.attribute(_LINK_ALIAS, os.fsencode(alias))
        self._netlink.request(message, _MSG_NEWLINK, 0, f"writing the alias of {device}")

    def configure(self, device: str, *, mtu: int, queue_length: int, gso_max_size: int) -> None:
        """Configure a device that routes IP, and has no address of its own.

        Args:
            device: its name.
            mtu: bytes.
            queue_length: packets that wait in each queue.
            gso_max_size: bytes of a packet that is to be segmented below.
        """
        message = self._named(device)
        message.attribute(_LINK_MTU, struct.pack("=I", mtu))
        message.attribute(_LINK_TXQLEN, struct.pack("=I", queue_length))
        message.attribute(_LINK_GSO_MAX_SIZE, struct.pack("=I", gso_max_size))
        self._netlink.request(message, _MSG_NEWLINK, 0, f"configuring {device}")

    def without_own_addresses(self, device: str) -> None:
        """Have the kernel give a device no link-local IPv6 address."""
        message = self._named(device)
        mode = attribute(_INET6_ADDR_GEN_MODE, bytes([_ADDR_GEN_NONE]))
        message.attribute(_LINK_AF_SPEC, attribute(socket.AF_INET6, mode))
        self._netlink.request(message, _MSG_NEWLINK, 0, f"configuring IPv6 of {device}")

    def remove(self, device: str) -> None:
        """Remove a device; OSError (ENODEV) if there is none."""
        self._netlink.request(self._named(device), _MSG_DELLINK, 0, f"removing {device}")

    @staticmethod
    def _named(device: str, flags: int = 0, change: int = 0) -> Message:
        message = Message(_LINK.pack(0, 0, 0, flags, change))
        message.attribute(_LINK_NAME, device.encode() + b"\0")
        return message
