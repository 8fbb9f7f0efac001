"""Connections that the next daemon aborts if this one is killed: it cannot know their associations."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..kernel.sockdiag import TcpConnection, TcpTable

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


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


class TiesFile:
    """A file of records, one behind the other. For one thread at a time. All methods raise OSError.

    Attributes:
        records: how many there are.
    """

    def __init__(self, path: Path) -> None:
        """Begin an empty one."""
        self._path = path
        self._file = _open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        self.records = 0

    def add(self, connection: TcpConnection) -> None:
        """Write one down."""
        if os.write(self._file, _pack(connection)) != _RECORD.size:
            raise OSError(28, os.strerror(28), str(self._path))  # ENOSPC
        self.records += 1

    def keep(self, connections: Iterable[TcpConnection]) -> None:
        """Forget all but these."""
        records = [_pack(each) for each in connections]
        new = self._path.with_suffix(".new")
        file = _open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        try:
            with os.fdopen(os.dup(file), "wb") as whole:
                whole.write(b"".join(records))
            new.replace(self._path)
        except BaseException:
            os.close(file)
            raise
        os.close(self._file)
        self._file = file
        self.records = len(records)

    def close(self) -> None:
        """Remove it: nothing is to be aborted any more."""
        os.close(self._file)
        with suppress(FileNotFoundError):
            self._path.unlink()


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
