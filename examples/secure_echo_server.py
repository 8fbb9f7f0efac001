"""A server that gives back every line, over TCP or UDP protected by IPsec.

    python examples/secure_echo_server.py --host 10.0.0.2

The same on Linux and on Windows: after the secure socket sample of the Windows documentation. Each step is
one call more than a plain server has: `secure` before bind(), `accept` for accept(), `query` for what
protects the client, and with --impersonate `impersonate` for what is done in the client's name. On Linux
the last takes the key daemon, and an [[account]] for the client.

It takes one client at a time, and ends by Ctrl-C. Other programs find the port in its first line.
"""

from __future__ import annotations

import argparse
import socket
import sys
from typing import Any

from secure_echo import arguments, complain, is_missing, say, secured_socket, show, tell_security

import wsasec

STEP = 0.5
"""Seconds: Windows does not notice Ctrl-C while a call waits."""

PATIENCE = 60.0
"""Seconds for a client that says nothing."""

LARGEST = 65_536


def answer(sock: socket.socket, peer: Any, line: bytes, options: argparse.Namespace) -> bytes:
    """Do what a client asks for: here, nothing. With --impersonate it is done with the client's rights."""
    if not options.impersonate:
        return line
    before = sock.gettimeout()
    sock.setblocking(True)  # it is for blocking sockets
    try:
        with wsasec.impersonate(sock, peer=peer if options.udp else None):
            return line  # whatever is opened here is opened by the client, if it may
    except wsasec.SecurityError as error:
        if not is_missing(error):
            raise
        say("impersonation: this system has none; going on as myself")
        options.impersonate = False
        return line
    finally:
        sock.settimeout(before)


def serve_client(connection: socket.socket, peer: Any, options: argparse.Namespace) -> None:
    """Talk with a client until it ends the connection."""
    connection.settimeout(PATIENCE)
    say(f"connection from {show(peer)}")
    tell_security(connection, peer)
    with connection.makefile("rb") as lines:
        for line in lines:
            connection.sendall(answer(connection, peer, line, options))
    say(f"{show(peer)} has ended the connection")


def serve_stream(listener: socket.socket, options: argparse.Namespace) -> None:
    """Take one connection after the other."""
    while True:
        try:
            connection, peer = wsasec.accept(listener)
        except TimeoutError:
            continue
        except wsasec.SecurityError as error:
            if error.winsock in (wsasec.Winsock.WSAENOTSOCK, wsasec.Winsock.WSAEINVAL):
                raise  # the listener is no good
            complain(error)  # the connection is closed
            continue
        with connection:
            try:
                serve_client(connection, peer, options)
            except wsasec.ImpersonationError:
                raise  # this thread is still the client: there is nothing that it may do but end
            except OSError as error:
                complain(error)


def serve_datagrams(sock: socket.socket, options: argparse.Namespace) -> None:
    """Give back each datagram to its sender."""
    known = None
    while True:
        try:
            line, peer = sock.recvfrom(LARGEST)
        except (TimeoutError, ConnectionError):  # an answer reached nobody
            continue
        try:
            if peer != known:
                say(f"datagram from {show(peer)}")
                tell_security(sock, peer)
                known = peer
            sock.sendto(answer(sock, peer, line, options), peer)
        except wsasec.ImpersonationError:
            raise
        except OSError as error:
            complain(error)


def main() -> int:
    """Do it; see above."""
    parser = arguments(__doc__, "127.0.0.1")
    parser.add_argument("--impersonate", action="store_true", help="answer with the client's rights")
    options = parser.parse_args()
    try:
        sock, address = secured_socket(options)
        with sock:
            sock.bind(address)
            sock.settimeout(STEP)
            if options.udp:
                say(f"listening on {show(sock.getsockname())}")
                serve_datagrams(sock, options)
            else:
                sock.listen()
                say(f"listening on {show(sock.getsockname())}")
                serve_stream(sock, options)
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        complain(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
