"""What the two ends of the secure echo have in common."""

from __future__ import annotations

import argparse
import socket
import sys
from typing import Any

import wsasec

PORT = 27015


def arguments(text: str | None, host: str) -> argparse.ArgumentParser:
    """Make a parser of the arguments that both have."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--host", default=host, help="address or name (%(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="%(default)s")
    parser.add_argument("--udp", action="store_true", help="a datagram for each line, instead of TCP")
    families = parser.add_mutually_exclusive_group()
    families.add_argument(
        "-4", dest="family", action="store_const", const=socket.AF_INET, help="of a name, IPv4 addresses only"
    )
    families.add_argument(
        "-6",
        dest="family",
        action="store_const",
        const=socket.AF_INET6,
        help="of a name, IPv6 addresses only",
    )
    parser.add_argument("--encrypt", action="store_true", help="refuse where only integrity is protected")
    return parser


def secured_socket(options: argparse.Namespace) -> tuple[socket.socket, Any]:
    """Make a socket for what the user named and secure it; return it with the address."""
    kind = socket.SOCK_DGRAM if options.udp else socket.SOCK_STREAM
    family, _, _, _, address = socket.getaddrinfo(
        options.host, options.port, options.family or socket.AF_UNSPEC, kind
    )[0]
    flags = wsasec.SecurityFlags.GUARANTEE_ENCRYPTION if options.encrypt else wsasec.SecurityFlags.NONE
    sock = socket.socket(family, kind)
    try:
        # Before bind() and connect(): nothing that the socket ever does may be in clear.
        wsasec.secure(sock, wsasec.Settings(flags))
    except BaseException:
        sock.close()
        raise
    return sock, address


def show(address: Any) -> str:
    """Return host and port as people write them."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_missing(error: wsasec.SecurityError) -> bool:
    """Tell whether this system has no such function: Windows without its DLL, for one."""
    return error.winsock == wsasec.Winsock.WSAEOPNOTSUPP


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def tell_security(sock: socket.socket, peer: Any) -> None:
    """Say what protects the traffic with a peer.

    Raises:
        ConnectionError: nothing does, says the system.
        wsasec.SecurityError: it could not be asked.
    """
    try:
        # `peer` is for datagram sockets, where there may be many.
        with wsasec.query(sock, peer=peer if sock.type == socket.SOCK_DGRAM else None) as found:
            if not found.secured:
                raise ConnectionError(f"the traffic with {show(peer)} is not protected")
            say(f"security: {'encrypted' if found.encrypted else 'integrity only'}")
    except wsasec.SecurityError as error:
        if not is_missing(error):
            raise
        # No less is protected for that: what is in clear is neither sent nor taken.
        say("security: this system cannot be asked who the peer is, or how it is protected")


def complain(error: Exception) -> None:
    """Say what went wrong, and what to do about it."""
    print(f"error: {error}", file=sys.stderr, flush=True)
