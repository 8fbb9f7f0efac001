"""A server that hands out files with the rights of whoever asks, as the system's own file servers do.

    python examples/file_server.py --folder /srv/files --host 10.0.0.2

A client that the key daemon has authenticated, and that [[account]] in /etc/wsasec/wsasec.toml (Windows: its
logon) maps to a local account, sends the path of a file below the folder, and a newline; it gets the file, if
that account may read it. There is no check of rights in this program: open() makes them.

    python examples/file_client.py --host 10.0.0.2 --name server.example notes.txt
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
from pathlib import Path

import wsasec

PATIENCE = 30.0
LONGEST_PATH = 4096
PIECE = 65_536


def read_line(connection: socket.socket) -> str:
    """Return what the client asks for."""
    line = b""
    while not line.endswith(b"\n"):
        piece = connection.recv(LONGEST_PATH)
        line += piece
        if not piece or len(line) > LONGEST_PATH:
            raise ValueError("no path")
    return line[:-1].decode()


def open_as(connection: socket.socket, folder: Path, name: str) -> int:
    """Open a file below the folder, as the client; return the descriptor."""
    connection.settimeout(None)  # it is for blocking sockets
    with wsasec.impersonate(connection):
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            raise PermissionError(f"{name}: not below the folder")
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


def serve(connection: socket.socket, folder: Path) -> None:
    """Answer one client: "ok" and the file, or what is wrong."""
    with connection:
        try:
            connection.settimeout(PATIENCE)
            name = read_line(connection)
            with open(open_as(connection, folder, name), "rb") as file:
                connection.settimeout(PATIENCE)
                connection.sendall(b"ok\n")
                connection.sendfile(file)
        except wsasec.ImpersonationError:
            os._exit(1)  # a thread is still the client: nothing more may be done
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            print(f"refused: {reason}", flush=True)
            connection.sendall(f"refused: {reason}\n".encode())


def main() -> int:
    """Do it; see above."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument("--port", type=int, default=27016, help="%(default)s")
    parser.add_argument("--folder", type=Path, required=True, help="what is handed out")
    options = parser.parse_args()
    folder = options.folder.resolve(strict=True)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family) as listener:
        wsasec.secure(listener)
        listener.bind((options.host, options.port))
        listener.listen()
        print(f"listening on port {listener.getsockname()[1]}", flush=True)
        try:
            while True:
                connection, _ = wsasec.accept(listener)
                # A thread for each: who acts as the client is the thread, not the program.
                threading.Thread(target=serve, args=(connection, folder), daemon=True).start()
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
