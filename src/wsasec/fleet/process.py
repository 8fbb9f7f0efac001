"""One worker process, as the fleet sees it: started, spoken to, and ended."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack, suppress
from multiprocessing import spawn
from multiprocessing.connection import Connection, wait
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
        pidfd: readable when it ended.
        busy: it was told to work, and has not answered.
        failure: why it is of no more use, or None.

    """

    def __init__(self, index: int, count: int) -> None:
        """Start it, in the network namespace of the calling thread.

        Raises:
            OSError: it cannot be started.
            RuntimeError: the program is frozen.

        """
        self.index = index
        self.count = count
        self.busy = False
        self.failure: WorkerFailure | None = None
        self.pidfd = self._life = -1
        self._socket, theirs = socket.socketpair()
        with theirs, ExitStack() as undo:
            undo.enter_context(self._socket)
            # Two descriptors of one end: that one for options, this one for messages.
            self.connection = undo.enter_context(Connection(os.dup(self._socket.fileno())))
            undo.callback(self._let_go)
            read, self._life = os.pipe()
            try:
                self._process = subprocess.Popen(
                    _command(_CODE.format(theirs.fileno(), read, index, path=sys.path)),
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), read),
                    # Ctrl-C is for the parent, which ends the workers, and with them what they started.
                    process_group=0,
                )
            finally:
                os.close(read)
            self.pid = self._process.pid
            self.pidfd = self._watch()
            undo.pop_all()

    def _watch(self) -> int:
        """Open what tells of its end; the connection does not, where what it started has that, too."""
        try:
            return os.pidfd_open(self.pid)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _let_go(self) -> None:
        with suppress(OSError):
            self.connection.close()
        self._socket.close()
        for number in self.pidfd, self._life:
            if number >= 0:
                os.close(number)
        self.pidfd = self._life = -1

    def _limit(self, option: int, deadline: float) -> None:
        """Have a message that stands still fail at the deadline, or before."""
        seconds = max(0.001, min(_STALLED, deadline - monotonic()))
        whole = int(seconds)
        self._socket.setsockopt(
            socket.SOL_SOCKET, option, struct.pack("ll", whole, int((seconds - whole) * 1e6))
        )

    def send(self, message: bytes, deadline: float) -> None:
        """Send a message; if that fails, the worker has failed."""
        try:
            self._limit(socket.SO_SNDTIMEO, deadline)
            self.connection.send_bytes(message)
        except OSError as error:
            self._is_gone(error, deadline)

    def receive(self, deadline: float) -> bytes | None:
        """Return the message that there is; None if there will be none, as the worker has failed.

        Call it when `connection` or `pidfd` is readable.
        """
        try:
            # What it said before it ended counts. There need be no end of file, but no more will come.
            if not self.connection.poll():
                raise EOFError
            self._limit(socket.SO_RCVTIMEO, deadline)
            return self.connection.recv_bytes()
        except (EOFError, OSError) as error:
            self._is_gone(error, deadline)
            return None

    def _is_gone(self, error: Exception, deadline: float) -> None:
        """Find out why it can be spoken to no longer: it ended, or hangs."""
        patience = 0.0 if isinstance(error, BlockingIOError) else _ENDING
        if not self.await_end(min(deadline, monotonic() + patience)):
            self.kill()
            self.write_off(f"hung in a message, and was killed: {error}")
            return
        self.kill()
        self.reap()
        code = self._process.returncode
        name = signal.Signals(-code).name if code < 0 else ""
        self.write_off(f"was killed by {name}" if name else f"ended with exit code {code}")

    def kill(self) -> None:
        """Kill it and what it started, and do not wait."""
        # As long as it is not reaped, even if it has ended, nobody else's group can have its number.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def write_off(self, reason: str) -> None:
        """Wait for the end of a process that ended or was killed, and keep why."""
        self.busy = False
        self.reap()
        self.failure = WorkerFailure(self.index, self.pid, reason, self._process.returncode)

    def begin_end(self) -> None:
        """Ask it to end; one that works is interrupted."""
        with suppress(OSError):
            # Whoever else has it: a fork of this process.
            self._socket.shutdown(socket.SHUT_RDWR)
        if self.busy:
            self._process.terminate()

    def await_end(self, deadline: float) -> bool:
        """Wait until it ended, and do not reap it; return whether it did by the deadline."""
        return self.pidfd < 0 or bool(wait([self.pidfd], max(0.0, deadline - monotonic())))

    def reap(self) -> None:
        """Wait for the end of a process that ended or was killed. Twice is no error.

        Raises:
            subprocess.TimeoutExpired: the kernel has not ended it 60 s after it was killed.

        """
        try:
            self._process.wait(_REAPED)
        finally:
            self._let_go()
