"""A client that sends lines and prints what comes back, over TCP or UDP protected by IPsec.

    python examples/secure_echo_client.py --host 10.0.0.2 hello world

Without lines as arguments, it sends those that it reads. The same on Linux and on Windows: after the secure
socket sample of the Windows documentation. `secure` comes before connect(), `connect` waits for the security
association, where that is the program's to wait for (Linux), and `query` tells what protects the connection.

--peer-name is the name that the server must prove, such as host/server.example. Where names cannot be held
against the peer (Linux), the client ends rather than talk to whoever is there.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Iterable
from typing import Any

from secure_echo import arguments, complain, is_missing, say, secured_socket, tell_security

import wsasec

LARGEST = 65_536


def name_peer(sock: socket.socket, address: Any, options: argparse.Namespace) -> None:
    """Have nobody accepted but the principal whom the user named."""
    try:
        wsasec.set_peer_target_name(sock, options.peer_name, peer=address if options.udp else None)
    except wsasec.SecurityError as error:
        if is_missing(error):
            raise PermissionError(
                f"this system cannot check that the peer is {options.peer_name}; it is not asked without "
                f"--peer-name: {error}"
            ) from error
        raise


def talk(sock: socket.socket, address: Any, lines: Iterable[str], options: argparse.Namespace) -> None:
    """Send the lines, one after the other, and print the answers."""
    if not options.udp:
        tell_security(sock, address)
    with sock.makefile("rb") as stream:
        for number, line in enumerate(lines):
            sock.sendall(line.rstrip("\r\n").encode() + b"\n")
            answer = sock.recv(LARGEST) if options.udp else stream.readline()
            if not answer.endswith(b"\n"):
                raise ConnectionError("the server has ended the connection")
            if options.udp and number == 0:  # before the first datagram there was nothing to tell of
                tell_security(sock, address)
            say(f"echo: {answer.decode().rstrip()}")


def main() -> int:
    """Do it; see above."""
    parser = arguments(__doc__, "127.0.0.1")
    parser.add_argument("--peer-name", metavar="NAME", help="whom the server must prove to be")
    parser.add_argument(
        "--timeout", type=float, default=10.0, help="seconds to connect, and for each answer (%(default)s)"
    )
    parser.add_argument("lines", metavar="LINE", nargs="*")
    options = parser.parse_args()
    try:
        sock, address = secured_socket(options)
        with sock:
            if options.peer_name is not None:
                name_peer(sock, address, options)
            wsasec.connect(sock, address, options.timeout)
            sock.settimeout(options.timeout)
            talk(sock, address, options.lines or sys.stdin, options)
    except KeyboardInterrupt:
        return 130
    except TimeoutError as error:
        complain(TimeoutError(f"no answer within {options.timeout} s ({error})"))
        return 1
    except (OSError, ValueError) as error:
        complain(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
