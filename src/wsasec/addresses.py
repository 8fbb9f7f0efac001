"""Python's addresses as the system's sockaddrs."""

from __future__ import annotations

import socket as _socket
import struct
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final

from .ranges import U32, check_range

__all__ = ["STORAGE_SIZE", "pack_address", "pack_peer", "unpack_address"]

STORAGE_SIZE: Final = 128
"""Bytes of a SOCKADDR_STORAGE."""


def pack_address(family: int, address: Sequence[Any]) -> bytes:
    """Make a sockaddr of (host, port) or (host, port, flow info, scope id); host is a number, not a name.

    Raises:
        TypeError: a part of the wrong type.
        ValueError: not an address of the family, or a number out of range.
        OSError: no such interface.

    """
    if not 2 <= len(address) <= 4:
        raise ValueError(f"{address!r} is not (host, port), or (host, port, flow info, scope id)")
    host, port, flow, scope = (*address, 0, 0)[:4]
    if not isinstance(host, str):
        raise TypeError(f"a host is a str, not {type(host).__name__}")
    for name, number, highest in (
        ("port", port, 0xFFFF),
        ("flow info", flow, 0xFFFFF),
        ("scope id", scope, U32),
    ):
        check_range(name, number, 0, highest)
    host, _, zone = host.partition("%")
    number = ip_address(host)
    if number.version != (6 if family == _socket.AF_INET6 else 4):
        raise ValueError(f"{host} is no address of the family {_socket.AddressFamily(family).name}")
    if number.version == 4:
        return struct.pack("=H", family) + struct.pack("!H4s8x", port, number.packed)
    if zone:
        scope = int(zone) if zone.isdecimal() else _socket.if_nametoindex(zone)
    return (
        struct.pack("=H", family)
        + struct.pack("!HI16s", port, flow, number.packed)
        + struct.pack("=I", scope)
    )


def unpack_address(packed: bytes) -> tuple[Any, ...]:
    """Make an address as `socket.accept` returns it; () for other families than IPv4 and IPv6."""
    family = struct.unpack_from("=H", packed)[0] if len(packed) >= 2 else _socket.AF_UNSPEC
    if family == _socket.AF_INET:
        port, host = struct.unpack_from("!H4s", packed, 2)
        return _socket.inet_ntop(family, host), port
    if family == _socket.AF_INET6:
        port, flow, host = struct.unpack_from("!HI16s", packed, 2)
        return _socket.inet_ntop(family, host), port, flow & 0xFFFFF, *struct.unpack_from("=I", packed, 24)
    return ()


def pack_peer(sock: Any, peer: Sequence[Any]) -> bytes:
    """Make a sockaddr of a peer's address, as `pack_address`, in the family of the socket.

    For what does not tell its family (a descriptor), it is that of the address.

    Raises:
        TypeError: no address, or a part of the wrong type.
        ValueError: not an address of the family, or a number out of range.
        OSError: no such interface.

    """
    if isinstance(peer, str) or not isinstance(peer, Sequence):
        raise TypeError(f"a peer is an address (host, port, ...), not {type(peer).__name__}")
    family = getattr(sock, "family", None)
    if family not in (_socket.AF_INET, _socket.AF_INET6):
        is_v6 = bool(peer) and isinstance(peer[0], str) and ":" in peer[0]
        family = _socket.AF_INET6 if is_v6 else _socket.AF_INET
    return pack_address(family, peer)
