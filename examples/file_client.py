"""Gets a file from examples/file_server.py; the server must be who its name says."""

from __future__ import annotations

import argparse
import socket
import sys

import wsasec

PIECE = 65_536


def main() -> int:
    """Do it; see above."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1", help="the server's address (%(default)s)")
    parser.add_argument("--port", type=int, default=27016, help="%(default)s")
    parser.add_argument("--name", help="what its certificate must say")
    parser.add_argument("path", help="of the file, below the server's folder")
    options = parser.parse_args()
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        with socket.socket(family) as sock:
            wsasec.secure(sock)
            if options.name is not None:
                wsasec.set_peer_target_name(sock, options.name)
            wsasec.connect(sock, (options.host, options.port), timeout=20.0)
            sock.sendall(options.path.encode() + b"\n")
            with sock.makefile("rb") as answer:
                first = answer.readline()
                if first != b"ok\n":
                    print(first.decode().strip() or "the server has ended the connection", file=sys.stderr)
                    return 1
                while piece := answer.read(PIECE):
                    sys.stdout.buffer.write(piece)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
