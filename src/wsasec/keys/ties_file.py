"""Connections that the next daemon aborts if this one is killed: it cannot know their associations."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ..kernel.sockdiag import TcpConnection, TcpTable
from .appended import Appended

__all__ = ["TiesFile", "abort_left"]

# cookie, family, length of the addresses, ports, device, own address, peer's.
_RECORD: Final = struct.Struct("=QHHHHI16s16s")


def _pack(each: TcpConnection) -> bytes:
    return _RECORD.pack(
        *(each.cookie, each.family, len(each.own), each.own_port, each.peer_port, each.device),
        *(each.own, each.peer),
    )


def _unpack(data: bytes) -> TcpConnection:
    cookie, family, length, own_port, peer_port, device, own, peer = _RECORD.unpack(data)
    return TcpConnection(cookie, family, own[:length], own_port, peer[:length], peer_port, device)


class TiesFile:
    """A file of records, one behind the other. For one thread at a time. All methods raise OSError.

    Attributes:
        records: how many there are.
    """

    def __init__(self, path: Path) -> None:
        """Begin an empty one."""
        self._path = path
        self._file = Appended(path)
        self.records = 0

    def add(self, connection: TcpConnection) -> None:
        """Write one down."""
        self._file.append(_pack(connection))
        self.records += 1

    def keep(self, connections: Iterable[TcpConnection]) -> None:
        """Forget all but these."""
        records = [_pack(each) for each in connections]
        self._file.rewrite(b"".join(records))
        self.records = len(records)

    def close(self) -> None:
        """Remove it: nothing is to be aborted any more."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def abort_left(path: Path) -> int:
    """Abort what a daemon that was killed has left, in the calling thread's network namespace.

    Returns:
        How many connections were still there.

    Raises:
        OSError: one could not be aborted; the file stays.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0
    aborted = 0
    table = TcpTable()
    try:
        for at in range(0, len(data) - _RECORD.size + 1, _RECORD.size):
            aborted += table.destroy(_unpack(data[at : at + _RECORD.size]))
    finally:
        table.close()
    path.unlink()
    return aborted
