"""The kernel's ESP in UDP (RFC 3948): the socket to which it comes."""

from __future__ import annotations

import socket
import struct
from typing import Final

__all__ = ["PORT", "open_encapsulation"]

PORT: Final = 4500
"""Both ends' (RFC 3948 2.1)."""

_SOL_UDP: Final = 17
_UDP_ENCAP: Final = 100
_ESP_IN_UDP: Final = 2
_IP_XFRM_POLICY: Final = 17
_IPV6_XFRM_POLICY: Final = 35
_INFINITE: Final = 2**64 - 1
# struct xfrm_userpolicy_info: selector; lft; curlft; priority, index; dir, action, flags, share.
_POLICY: Final = struct.Struct("=40xH14x 8Q 4Q 2I 4B4x")
assert _POLICY.size == 168  # noqa: S101


def open_encapsulation(family: int, address: str) -> socket.socket:
    """Make a socket, in the calling thread's network namespace, whose ESP packets the kernel takes.

    IKE and keepalives stay in it for the program; what it sends itself is not protected.

    Args:
        family: AF_INET or AF_INET6.
        address: of this host.

    Raises:
        OSError: the kernel refused it, or has no XFRM.
    """
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        level, option = socket.IPPROTO_IP, _IP_XFRM_POLICY
        if family == socket.AF_INET6:
            level, option = socket.IPPROTO_IPV6, _IPV6_XFRM_POLICY
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Its packets are what carries ESP: the system's policies, which demand ESP, are not for them.
        for direction in (0, 1):
            policy = _POLICY.pack(family, *(_INFINITE,) * 4, *(0,) * 8, 0, 0, direction, 0, 0, 0)
            sock.setsockopt(level, option, policy)
        sock.setsockopt(_SOL_UDP, _UDP_ENCAP, _ESP_IN_UDP)
        sock.bind((address, PORT))
    except BaseException:
        sock.close()
        raise
    return sock
