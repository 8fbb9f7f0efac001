"""The socket that programs talk to: one thread for all connections, which never waits for any of them."""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeAlias

from ..keys.programs import Program, has_ended
from ..keys.reason import Reason
from ..keys.verdict import Verdict
from .callers import Caller, caller_of, open_program
from .codes import STEP_DAEMON
from .messages import Header, MalformedError, answers, encode_verdict, read_header
from .protocol import DESCRIPTORS, HEADER, LARGEST, Kind
from .received import ANCILLARY_BYTES, Received, received
from .workers import Workers

__all__ = ["Asked", "Handler", "Kept", "Later", "Limits", "Server"]

_log = logging.getLogger(__name__)
_NO_DESCRIPTOR_SECONDS: Final = 0.1

Later: TypeAlias = Callable[[], bytes]
"""What is to be done in another thread; it returns the body of the answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """So that no program keeps others from being served.

    Attributes:
        connections: in all.
        for_users: of these, for all users but root.
        per_user: connections of a user; root has all.
        pending: questions of a connection that are not answered; more are not read until then.
        slow_seconds: how long a program may leave its answers unread.
    """

    connections: int = 1024
    for_users: int = 960
    per_user: int = 128
    pending: int = 32
    slow_seconds: float = 10.0


@dataclass(slots=True)
class Kept:
    """What the handler keeps for a connection, in the server's thread.

    Attributes:
        what: anything.
        at_end: is called by another thread when the connection has ended; None for nothing.
    """

    what: object = None
    at_end: Callable[[], object] | None = None


@dataclass(slots=True)
class Asked:
    """A question, and who asks.

    Attributes:
        caller: who.
        header: which.
        body: its bytes, valid only until the handler returns.
        descriptors: what came with it; the server closes them after the answer.
        program: returns what stands for the caller as long as it lives, and has Handler.ended() called after;
            raises OSError. To be called before the handler returns.
        kept: the handler's own, of the connection.
    """

    caller: Caller
    header: Header
    body: memoryview
    descriptors: Received
    program: Callable[[], Program]
    kept: Kept


class Handler(Protocol):
    """Who answers."""

    def answer(self, asked: Asked) -> bytes | Later:
        """Return the body of the answer at once, or what makes it in another thread.

        Raises:
            MalformedError: the connection is closed.
        """

    def ended(self, program: Program) -> None:
        """Hear that a program has ended; another thread calls."""

    def closing(self) -> None:
        """Have what runs in other threads end soon: the server stops."""


def _busy(detail: str) -> bytes:
    return encode_verdict(Verdict(Reason.DAEMON_BUSY, detail), STEP_DAEMON)


@dataclass(slots=True, eq=False)
class _Connection:
    sock: socket.socket
    caller: Caller
    pending: int = 0
    out: deque[bytes] = field(default_factory=deque)
    stuck_since: float = 0.0
    closed: bool = False
    kept: Kept = field(default_factory=Kept)


class Server:
    """Serves programs until stop()."""

    def __init__(
        self,
        listener: socket.socket,
        handler: Handler,
        limits: Limits | None = None,
        programs: Iterable[Program] = (),
    ) -> None:
        """Describe it.

        Args:
            listener: a listening SOCK_SEQPACKET socket, the server's own from now on.
            handler: who answers.
            limits: None for the usual ones.
            programs: those that an earlier daemon has left, whose end is to be told of, too; their
                descriptors are the server's from now on.
        """
        self._listener = listener
        self._handler = handler
        self._limits = limits or Limits()
        self._selector = selectors.DefaultSelector()
        self._connections: set[_Connection] = set()
        self._of_user: Counter[int] = Counter()
        self._programs: dict[int, Program] = {}
        self._workers = Workers()
        self._posted: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # A signal handler may post while its own thread does.
        self._wake_lock = threading.RLock()
        self._stopping = False
        self._buffer = bytearray(LARGEST + 1)
        self._accept_again_at: float | None = None
        for program in programs:
            self._look_after(program)

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._connections)

    @property
    def programs(self) -> int:
        """How many programs have names."""
        return len(self._programs)

    def post(self, work: Callable[[], None]) -> None:
        """Have work done by the server's thread; usable from any thread, also from a signal handler.

        After the server's end it is not done any more.
        """
        self._posted.append(work)
        with self._wake_lock, suppress(BlockingIOError):  # it is awake already
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Have run() return soon; usable from any thread, also from a signal handler."""
        self.post(self._stop)

    def _stop(self) -> None:
        self._stopping = True

    def run(self) -> None:
        """Serve, in this thread, until stop(); then nothing of it is left."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake, selectors.EVENT_READ, self._woken)
        try:
            while not self._stopping:
                for key, mask in self._selector.select(self._timeout()):
                    if isinstance(key.data, _Connection):
                        self._ready(key.data, mask)
                    else:
                        key.data()
                self._end_stuck()
                self._accept_again()
        finally:
            self._close()

    def _close(self) -> None:
        for connection in list(self._connections):
            self._end(connection)
        self._listener.close()
        self._handler.closing()
        self._workers.close()
        for program in list(self._programs.values()):
            self._forget(program)
        self._selector.close()
        with self._wake_lock:
            wake, self._wake = self._wake, -1
            os.close(wake)

    def _timeout(self) -> float | None:
        """Return the seconds until something is to be done that nothing wakes for."""
        times = [each.stuck_since + self._limits.slow_seconds for each in self._connections if each.out]
        if self._accept_again_at is not None:
            times.append(self._accept_again_at)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _end_stuck(self) -> None:
        limit = time.monotonic() - self._limits.slow_seconds
        for connection in [each for each in self._connections if each.out and each.stuck_since <= limit]:
            _log.warning("process %d does not read its answers", connection.caller.pid)
            self._end(connection)

    def _woken(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        while self._posted:
            self._posted.popleft()()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor is left: those that wait are served when there is one
            _log.warning("no connection can be taken: %s", error.strerror)
            self._selector.unregister(self._listener)
            self._accept_again_at = time.monotonic() + _NO_DESCRIPTOR_SECONDS
            return
        try:
            sock.setblocking(False)
            caller = caller_of(sock)
        except OSError:
            sock.close()
            return
        count = len(self._connections)
        crowded = self._of_user[caller.uid] >= self._limits.per_user or count >= self._limits.for_users
        if count >= self._limits.connections or (caller.uid and crowded):
            self._turn_away(sock, caller)
            return
        connection = _Connection(sock, caller)
        self._connections.add(connection)
        self._of_user[caller.uid] += 1
        self._selector.register(sock, selectors.EVENT_READ, connection)

    def _accept_again(self) -> None:
        if self._accept_again_at is not None and self._accept_again_at <= time.monotonic():
            self._accept_again_at = None
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _turn_away(self, sock: socket.socket, caller: Caller) -> None:
        """Say why, whatever is asked: an answer to the question 0."""
        _log.warning("process %d of user %d is turned away: too many connections", caller.pid, caller.uid)
        with sock, suppress(OSError):
            # With a question unread, whoever asked would find a connection that was reset before the answer.
            sock.shutdown(socket.SHUT_RD)
            while sock.recv(1):
                pass
            for data in answers(Kind.ANSWER, 0, _busy("too many connections")):
                sock.send(data, socket.MSG_NOSIGNAL)

    def _ready(self, connection: _Connection, mask: int) -> None:
        if mask & selectors.EVENT_WRITE and not connection.closed:
            self._flush(connection)
        if mask & selectors.EVENT_READ and not connection.closed:
            self._read(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            size, ancillary, flags, _ = connection.sock.recvmsg_into(
                [self._buffer], ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            self._end(connection)
            return
        descriptors = received(ancillary)
        kept = False
        try:
            if size == 0:
                self._end(connection)
                return
            kept = self._take(connection, memoryview(self._buffer)[:size], descriptors, flags)
        except MalformedError as error:
            _log.warning("process %d sent what is no question: %s", connection.caller.pid, error)
            self._end(connection)
        except Exception:  # noqa: BLE001 - a program must not end the service of all others
            _log.exception("a question of process %d failed", connection.caller.pid)
            self._end(connection)
        finally:
            # Settings may have passwords.
            self._buffer[:size] = bytes(size)
            if not kept:
                descriptors.close()

    def _take(self, connection: _Connection, data: memoryview, descriptors: Received, flags: int) -> bool:
        """Answer a datagram; tell whether its descriptors are still needed."""
        if flags & socket.MSG_TRUNC:
            raise MalformedError("longer than any question")
        header = read_header(data)
        if len(descriptors) > DESCRIPTORS:
            raise MalformedError("more descriptors than may be")
        # There was room for all that the kernel passes: this process can have no more.
        if flags & socket.MSG_CTRUNC:
            self._answer(connection, replace(header, kind=Kind.ANSWER), _busy("no descriptors are left"))
            return False
        asked = Asked(
            *(connection.caller, header, data[HEADER.size :], descriptors),
            *(lambda: self._program(connection), connection.kept),
        )
        made = self._handler.answer(asked)
        if isinstance(made, bytes):
            self._answer(connection, header, made)
            return False
        connection.pending += 1
        self._watch(connection)
        self._workers.submit(connection.caller.uid, lambda: self._work(connection, header, made, descriptors))
        return True

    def _work(self, connection: _Connection, header: Header, work: Later, descriptors: Received) -> None:
        body: bytes | None = None
        try:
            with descriptors:
                body = work()
        except Exception:  # noqa: BLE001 - as above
            _log.exception("a question of process %d failed", connection.caller.pid)
        self.post(lambda: self._worked(connection, header, body))

    def _worked(self, connection: _Connection, header: Header, body: bytes | None) -> None:
        connection.pending -= 1
        if connection.closed:
            return
        if body is None:
            self._end(connection)
            return
        self._answer(connection, header, body)
        if not connection.closed:
            self._watch(connection)

    def _answer(self, connection: _Connection, header: Header, body: bytes) -> None:
        if not connection.out:
            connection.stuck_since = time.monotonic()
        connection.out.extend(answers(header.kind, header.id, body))
        self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        try:
            while connection.out:
                connection.sock.send(connection.out[0], socket.MSG_NOSIGNAL)
                connection.out.popleft()
                connection.stuck_since = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            self._end(connection)
            return
        self._watch(connection)

    def _watch(self, connection: _Connection) -> None:
        """Wait for what can be done now. Whoever does not read, or asks too much, is not read from."""
        mask = selectors.EVENT_WRITE if connection.out else 0
        if not connection.out and connection.pending < self._limits.pending:
            mask |= selectors.EVENT_READ
        registered = self._selector.get_map().get(connection.sock)
        if registered is None:
            if mask:
                self._selector.register(connection.sock, mask, connection)
        elif not mask:
            self._selector.unregister(connection.sock)
        elif registered.events != mask:
            self._selector.modify(connection.sock, mask, connection)

    def _end(self, connection: _Connection) -> None:
        if connection.closed:
            return
        connection.closed = True
        with suppress(KeyError):
            self._selector.unregister(connection.sock)
        connection.sock.close()
        connection.out.clear()
        self._connections.discard(connection)
        uid = connection.caller.uid
        self._of_user[uid] -= 1
        if not self._of_user[uid]:
            del self._of_user[uid]
        if connection.kept.at_end is not None:
            self._workers.submit(0, lambda: self._ended(connection))

    def _ended(self, connection: _Connection) -> None:
        assert connection.kept.at_end is not None  # noqa: S101
        try:
            connection.kept.at_end()
        except Exception:  # noqa: BLE001 - as above
            _log.exception("the end of a connection of process %d was not heard", connection.caller.pid)

    def _program(self, connection: _Connection) -> Program:
        pid = connection.caller.pid
        known = self._programs.get(pid)
        if known is not None:
            if not has_ended(known):
                return known
            self._program_ended(known)
        if not pid:
            raise ProcessLookupError(3, "of another process namespace")
        program = open_program(connection.sock, connection.caller)
        try:
            self._look_after(program)
        except BaseException:
            os.close(program.pidfd)
            raise
        return program

    def _look_after(self, program: Program) -> None:
        self._selector.register(program.pidfd, selectors.EVENT_READ, lambda: self._program_ended(program))
        self._programs[program.pid] = program

    def _program_ended(self, program: Program) -> None:
        if self._programs.get(program.pid) is not program:
            return
        del self._programs[program.pid]
        self._selector.unregister(program.pidfd)

        def tell() -> None:
            # The descriptor stands for it until then: no other program may get its number before.
            try:
                self._handler.ended(program)
            except Exception:  # noqa: BLE001 - as above
                _log.exception("the end of process %d was not heard", program.pid)
            finally:
                os.close(program.pidfd)

        self._workers.submit(0, tell)

    def _forget(self, program: Program) -> None:
        self._programs.pop(program.pid, None)
        os.close(program.pidfd)
