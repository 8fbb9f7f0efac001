"""What runs in a worker process: it makes its sockets, and then works, each time after the common start."""

from __future__ import annotations

import fcntl
import os
import pickle
import select
import signal
import sys
import traceback
import warnings
from array import array
from collections.abc import Callable
from multiprocessing import spawn
from multiprocessing.connection import Connection
from time import monotonic
from types import FrameType
from typing import Any, Final

from .. import profiles
from ..batch import SocketBatch
from ..first_use import SecurityWarning

__all__ = ["DONE", "GO", "PROGRESS", "RAISED", "READY", "importing_main", "main"]

# What a worker says, as the first item of a tuple. Times are CLOCK_MONOTONIC's, the same in all processes.
READY: Final = "ready"  # ()
PROGRESS: Final = "progress"  # (sockets,)
DONE: Final = "done"  # (started, ended, sockets, value)
RAISED: Final = "raised"  # (traceback, exception or None)
# What a worker is told when all are ready; else it waits for another order.
GO: Final = b"go"

_importing = False


def importing_main() -> bool:
    """Tell whether this is a worker that imports the program's main module just now."""
    return _importing


def _end_with_parent(life: int) -> None:
    """Have the kernel kill this process when the parent's end of a pipe is closed, so when the parent ends.

    With it goes its process group: what the work started. It needs no thread here, and no GIL.
    PR_SET_PDEATHSIG would mean the thread that made the fleet.
    """
    os.set_inheritable(life, False)
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    closed = select.poll()  # of any number; select() ends at 1,023
    closed.register(life)
    if closed.poll(0):  # before that was in force
        os._exit(1)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _raised(error: Exception) -> bytes:
    text = "".join(traceback.format_exception(error))
    try:
        answer = pickle.dumps((RAISED, text, error))
        pickle.loads(answer)  # noqa: S301 - many exceptions can be written and not read
    except Exception:  # noqa: BLE001 - whatever its __reduce__ raises; the text is there
        return pickle.dumps((RAISED, text, None))
    return answer


def _prepare(data: dict[str, Any]) -> None:
    """Import the program's main module, which may have the work, as multiprocessing does."""
    global _importing
    _importing = True
    try:
        spawn.prepare(data)
    finally:
        _importing = False


class _Worker:
    """One worker.

    Attributes:
        batch: its sockets; None until they are made.
        sockets: how many were made.

    """

    def __init__(self, connection: Connection, index: int) -> None:
        self._connection = connection
        self._index = index
        self.batch: SocketBatch | None = None
        self.sockets = 0

    def _tell(self, done: int, _total: int) -> None:
        self._connection.send((PROGRESS, done))

    def _make(self, count: int, options: dict[str, Any], told: bool) -> array[int]:
        self.batch = SocketBatch(count, raise_limit=True, progress=self._tell if told else None, **options)
        self.sockets = self.batch.codes.count(0)
        return self.batch.codes

    def read_making(self, order: bytes) -> Callable[[], Any]:
        """Read the first order: how the sockets are made."""
        preparation, rest = pickle.loads(order)  # noqa: S301 - the parent's
        _prepare(preparation)
        in_use, count, options, told = pickle.loads(rest)  # noqa: S301
        profiles.use(in_use)
        return lambda: self._make(count, options, told)

    def read_work(self, order: bytes) -> Callable[[], Any]:
        """Read any other order: what to do with the sockets."""
        work, arguments = pickle.loads(order)  # noqa: S301 - the parent's
        return lambda: work(self.batch, self._index, *arguments)

    def follow(self, read: Callable[[bytes], Callable[[], Any]]) -> None:
        """Take an order, be ready, wait for the start, carry it out, and answer.

        Raises:
            EOFError: there are no more orders.

        """
        order = self._connection.recv_bytes()
        try:
            action = read(order)
        except Exception as error:  # noqa: BLE001 - it is reported
            self._connection.send_bytes(_raised(error))
            return
        self._connection.send((READY,))
        if self._connection.recv_bytes() != GO:
            return
        started = monotonic()
        try:
            value = action()
            answer = pickle.dumps((DONE, started, monotonic(), self.sockets, value))
        except Exception as error:  # noqa: BLE001 - it is reported
            answer = _raised(error)
        self._connection.send_bytes(answer)


def main(descriptor: int, life: int, index: int) -> None:
    """Work until there are no more orders.

    Args:
        descriptor: of the connection to the parent.
        life: of a pipe, whose other end the parent has as long as it lives.
        index: of this worker.

    """
    _end_with_parent(life)
    signal.signal(signal.SIGTERM, _leave)
    # The parent has said so already.
    warnings.simplefilter("ignore", SecurityWarning)
    os.set_inheritable(descriptor, False)
    with Connection(descriptor) as connection:
        worker = _Worker(connection, index)
        try:
            worker.follow(worker.read_making)
            while worker.batch is not None:
                worker.follow(worker.read_work)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            sys.exit(0)
        finally:
            if worker.batch is not None and not worker.batch.closed:
                worker.batch.close()
