"""What Python has no call for: a socket that is connected to nobody any more."""

from __future__ import annotations

import ctypes
import socket
import struct

__all__ = ["disconnect"]


def disconnect(sock: socket.socket) -> None:
    """connect() to AF_UNSPEC: by that a datagram socket leaves its binding to a device, without privilege."""
    unspecified = struct.pack("=H14x", socket.AF_UNSPEC)
    assert ctypes.CDLL(None).connect(sock.fileno(), unspecified, len(unspecified)) == 0
