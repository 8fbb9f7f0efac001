"""Which of this host's addresses the kernel would send from."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Final

from .netlink import Message, NetlinkSocket, attributes

__all__ = ["scope_index", "source_of"]

_NETLINK_ROUTE: Final = 0
_MSG_NEWROUTE: Final = 24
_MSG_GETROUTE: Final = 26
_ATTR_DST: Final = 1
_ATTR_OIF: Final = 4
_ATTR_PREFSRC: Final = 7
_ATTR_MARK: Final = 16

# struct rtmsg.
_ROUTE: Final = struct.Struct("=8BI")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def source_of(peer: _Address, mark: int = 0, device: int = 0) -> _Address | None:
    """Return the address from which the kernel would send to a peer; nothing is sent.

    Not by a connected socket: its connect() would look for an SA, too.

    Args:
        peer: where to; the scope of an IPv6 address counts.
        mark: of the packets (SO_MARK).
        device: index of the device that they must leave by; 0 for any.

    Returns:
        None if the route has no such address.

    Raises:
        OSError: there is no route (ENETUNREACH, EHOSTUNREACH, ...).
    """
    family = socket.AF_INET if peer.version == 4 else socket.AF_INET6
    scope = scope_index(peer)
    message = Message(_ROUTE.pack(family, 8 * len(peer.packed), 0, 0, 0, 0, 0, 0, 0))
    message.attribute(_ATTR_DST, peer.packed)
    if mark:
        message.attribute(_ATTR_MARK, struct.pack("=I", mark))
    if device or scope:
        message.attribute(_ATTR_OIF, struct.pack("=I", device or scope))
    netlink = NetlinkSocket(_NETLINK_ROUTE)
    try:
        answers = netlink.ask(message, _MSG_GETROUTE, f"looking for a route to {peer}")
    finally:
        netlink.close()
    for kind, payload in answers:
        if kind != _MSG_NEWROUTE or len(payload) < _ROUTE.size:
            continue
        for which, value in attributes(memoryview(payload)[_ROUTE.size :]):
            if which == _ATTR_PREFSRC and len(value) == len(peer.packed):
                return ipaddress.ip_address(bytes(value))
    return None


def scope_index(address: _Address) -> int:
    """Return the index of an address's scope; 0 if it has none. OSError if there is no such device."""
    scope = address.scope_id if isinstance(address, ipaddress.IPv6Address) else None
    if not scope:
        return 0
    return int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
