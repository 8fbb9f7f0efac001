"""Network devices and addresses, over netlink: no tool to start, which is slow in a guest."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from ..kernel.netlink import CREATE, Message, NetlinkSocket, attribute
from .errors import LabError

__all__ = ["LinkSocket"]

_NETLINK_ROUTE: Final = 0
_MSG_NEWLINK: Final = 16
_MSG_NEWADDR: Final = 20
_MSG_NEWNEIGH: Final = 28

_LINK_NAME: Final = 3
_LINK_MTU: Final = 4
_LINK_INFO: Final = 18
_LINK_NETNS_FD: Final = 28
_LINK_GSO_MAX_SEGS: Final = 40
_INFO_KIND: Final = 1
_INFO_DATA: Final = 2
_VETH_PEER: Final = 1
_IFF_UP: Final = 1

_ADDR_ADDRESS: Final = 1
_ADDR_LOCAL: Final = 2
_ADDR_FLAGS: Final = 8
_ADDR_NODAD: Final = 2

_NEIGHBOUR_ADDRESS: Final = 1
_NEIGHBOUR_HARDWARE: Final = 2
_NEIGHBOUR_PERMANENT: Final = 0x80

# struct ifinfomsg, struct ifaddrmsg, struct ndmsg.
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_NEIGHBOUR: Final = struct.Struct("=B3xiHBB")


def _end(name: str, mtu: int) -> bytes:
    return attribute(_LINK_NAME, name.encode() + b"\0") + attribute(_LINK_MTU, struct.pack("=I", mtu))


class LinkSocket:
    """The devices of one network namespace: that of the thread that makes this. All methods raise OSError."""

    def __init__(self) -> None:
        self._netlink = NetlinkSocket(_NETLINK_ROUTE)

    def __enter__(self) -> LinkSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._netlink.close()

    def add_veth(self, name: str, peer: str, peer_netns: int, mtu: int) -> None:
        """Make a wire: one end here, the other in the namespace of a descriptor; mtu in bytes.

        Raises:
            LabError: the kernel has no veth devices.
        """
        there = _LINK.pack(0, 0, 0, 0, 0) + _end(peer, mtu)
        there += attribute(_LINK_NETNS_FD, struct.pack("=I", peer_netns))
        info = attribute(_INFO_KIND, b"veth") + attribute(_INFO_DATA, attribute(_VETH_PEER, there))
        message = Message(_LINK.pack(0, 0, 0, 0, 0) + _end(name, mtu) + attribute(_LINK_INFO, info))
        try:
            self._netlink.request(message, _MSG_NEWLINK, CREATE, f"making the veth pair {name}, {peer}")
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise LabError("this kernel has no veth devices", "modprobe veth") from error
            raise

    def add_address(self, device: str, address: str, prefix: int) -> None:
        """Give a device an address, in use at once: no duplicate address detection."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
        message = Message(_ADDRESS.pack(family, prefix, 0, 0, socket.if_nametoindex(device)))
        message.attribute(_ADDR_LOCAL, packed)
        message.attribute(_ADDR_ADDRESS, packed)
        if family == socket.AF_INET6:
            message.attribute(_ADDR_FLAGS, struct.pack("=I", _ADDR_NODAD))
        self._netlink.request(
            message, _MSG_NEWADDR, CREATE, f"giving {device} the address {address}/{prefix}"
        )

    def set_up(self, device: str) -> None:
        """Set a device up."""
        index = socket.if_nametoindex(device)
        message = Message(_LINK.pack(0, 0, index, _IFF_UP, _IFF_UP))
        self._netlink.request(message, _MSG_NEWLINK, 0, f"setting {device} up")

    def set_single_segments(self, device: str) -> None:
        """Have the kernel cut packets to the size of the wire before they get to a device and to captures."""
        index = socket.if_nametoindex(device)
        message = Message(_LINK.pack(0, 0, index, 0, 0))
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
