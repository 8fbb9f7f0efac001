"""One worker process, as the fleet sees it: started, spoken to, and ended."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from multiprocessing import spawn
from multiprocessing.connection import Connection
from time import monotonic
from typing import Final

from .results import WorkerFailure

__all__ = ["WorkerProcess"]

# Seconds for which a message may stand still halfway: as long as that only if the worker was stopped there.
_STALLED: Final = 10
# Seconds that a process may take to end, by itself and killed: the kernel closes its sockets one by one.
_ENDING: Final = 30.0
_REAPED: Final = 60.0

_CODE: Final = "import sys; sys.path[:] = {path!r}; from wsasec.fleet.worker import main; main({0}, {1}, {2})"


def _command(code: str) -> list[str]:
    """Return how to run code in an interpreter like this one, with its flags."""
    words = spawn.get_command_line()
    if "-c" not in words:
        raise RuntimeError("a frozen program has no interpreter for the workers of a fleet")
    words[words.index("-c") + 1] = code
    return words


class WorkerProcess:
    """A worker process.

    Attributes:
        index: of the worker, from 0.
        count: how many sockets it makes.
        pid: of the process.
        connection: to it.
        busy: it was told to work, and has not answered.
        failure: why it is of no more use, or None.

    """

    def __init__(self, index: int, count: int) -> None:
        """Start it, in the network namespace of the calling thread.

        Raises:
            OSError: it cannot be started.

        """
        self.index = index
        self.count = count
        self.busy = False
        self.failure: WorkerFailure | None = None
        ours, theirs = socket.socketpair()
        with theirs:
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _STALLED, 0))
            self.connection = Connection(ours.detach())
            self._life = -1
            try:
                read, self._life = os.pipe()
                try:
                    self._process = subprocess.Popen(
                        _command(_CODE.format(theirs.fileno(), read, index, path=sys.path)),
                        stdin=subprocess.DEVNULL,
                        pass_fds=(theirs.fileno(), read),
                        # Ctrl-C is for the parent, which ends the workers.
                        process_group=0,
                    )
                finally:
                    os.close(read)
            except BaseException:
                self._let_go()
                raise
        self.pid = self._process.pid

    def _let_go(self) -> None:
        with suppress(OSError):
            self.connection.close()
        life, self._life = self._life, -1
        if life >= 0:
            os.close(life)

    def send(self, message: bytes) -> None:
        """Send a message; if that fails, the worker has failed."""
        try:
            self.connection.send_bytes(message)
        except OSError as error:
            self.is_gone(str(error))

    def receive(self) -> bytes | None:
        """Return the message that there is; None if there will be none, as the worker has failed."""
        try:
            return self.connection.recv_bytes()
        except (EOFError, OSError) as error:
            self.is_gone(str(error))
            return None

    def is_gone(self, error: str) -> None:
        """Find out why it can be spoken to no longer: it ended, or hangs."""
        try:
            code = self._process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            self.kill()
            self.write_off(f"hung in a message, and was killed: {error}")
            return
        name = signal.Signals(-code).name if code < 0 else ""
        self.write_off(f"was killed by {name}" if name else f"ended with exit code {code}")

    def kill(self) -> None:
        """Kill it, and do not wait."""
        self._process.kill()

    def write_off(self, reason: str) -> None:
        """Wait for the end of a process that ended or was killed, and keep why."""
        self.busy = False
        self._reap()
        self.failure = WorkerFailure(self.index, self.pid, reason, self._process.returncode)

    def _reap(self) -> None:
        try:
            self._process.wait(_REAPED)
        finally:
            self._let_go()

    def begin_end(self) -> None:
        """Ask it to end; one that works is interrupted."""
        with suppress(OSError):
            self.connection.close()
        if self.busy:
            self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait for its end; at the deadline (time.monotonic()), kill it. Twice is no error.

        Raises:
            subprocess.TimeoutExpired: the kernel has not ended it 60 s after it was killed.

        """
        try:
            self._process.wait(max(0.0, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
        except BaseException:
            self._process.kill()
            raise
        finally:
            self._reap()
