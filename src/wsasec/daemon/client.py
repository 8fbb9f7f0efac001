"""How the administrator's verbs talk to the daemon."""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ..constants import Winsock
from .callers import caller_of
from .place import folder
from .protocol import HEADER, LARGEST, MAGIC, Flag, Kind

__all__ = ["Client", "DaemonError", "NotUpError"]

_DEADLINE: Final = 30.0


class DaemonError(Exception):
    """The daemon refused, or does not speak as it should.

    Attributes:
        code: Winsock's that is nearest.
        hint: what to do next, where the message does not say.
    """

    def __init__(self, message: str, code: int = Winsock.WSAENETDOWN, hint: str = "") -> None:
        super().__init__(message)
        self.code = Winsock(code)
        self.hint = hint

    def __reduce__(self) -> tuple[type[DaemonError], tuple[str, int, str]]:
        return type(self), (str(self), int(self.code), self.hint)


class NotUpError(DaemonError):
    """There is no daemon in this network namespace."""


class Client:
    """A connection to the daemon of the calling thread's network namespace.

    Attributes:
        pid: the daemon's process.
    """

    def __init__(self, path: Path | None = None, seconds: float = _DEADLINE) -> None:
        """Connect.

        Args:
            path: the daemon's folder; None for that of this network namespace.
            seconds: how long each answer may take.

        Raises:
            NotUpError: there is none.
            DaemonError: it cannot be reached.
        """
        where = (path or folder()) / "control"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.settimeout(seconds)
        self._seconds = seconds
        self._numbers = itertools.count(1)
        try:
            self._sock.connect(str(where))
            self.pid = self._daemon()
        except BaseException as error:
            self._sock.close()
            if isinstance(error, FileNotFoundError | ConnectionRefusedError):
                raise NotUpError(
                    "no key daemon runs in this network namespace", hint="start it: wsasec up"
                ) from None
            if isinstance(error, OSError):
                raise DaemonError(f"{where}: {error.strerror or error}") from error
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Twice is fine."""
        self._sock.close()

    def _daemon(self) -> int:
        """Return the process that listens, which must be root's or this user's own."""
        daemon = caller_of(self._sock)
        if daemon.uid not in (0, os.geteuid()):
            raise DaemonError(
                f"process {daemon.pid} of user {daemon.uid} listens there in the daemon's place"
            )
        return daemon.pid

    def control(self, verb: str, **more: Any) -> dict[str, Any]:
        """Ask for "status", "reload" or "stop", or what sessions of `wsasec.policy` ask for.

        Args:
            verb: what for.
            more: what the verb needs, as JSON can hold it.

        Returns:
            What the daemon says.

        Raises:
            DaemonError: it refused, and why; or it does not answer.
        """
        number = next(self._numbers)
        body = json.dumps({"verb": verb, **more}).encode()
        try:
            with suppress(BrokenPipeError):  # turned away: it has said why
                self._sock.send(HEADER.pack(MAGIC, Kind.CONTROL, 0, number, len(body)) + body)
            said = json.loads(self._answer(number))
        except TimeoutError:
            raise DaemonError(
                f"the key daemon (process {self.pid}) does not answer", Winsock.WSAETIMEDOUT
            ) from None
        except OSError as error:
            raise DaemonError(f"the key daemon went away: {error.strerror}") from error
        except ValueError as error:
            raise DaemonError("the key daemon is of another version: wsasec down, wsasec up") from error
        if not isinstance(said, dict):
            raise DaemonError("the key daemon is of another version: wsasec down, wsasec up")
        if "error" in said:
            raise DaemonError(
                str(said["error"]), int(said.get("code", Winsock.WSAEINVAL)), str(said.get("hint", ""))
            )
        return said

    def _answer(self, number: int) -> bytes:
        parts = []
        deadline = time.monotonic() + self._seconds
        while True:
            self._sock.settimeout(max(0.001, deadline - time.monotonic()))
            data = self._sock.recv(LARGEST)
            if not data:
                raise ConnectionResetError(104, "it closed the connection")
            if len(data) < HEADER.size:
                raise ValueError("shorter than a header")
            magic, kind, flags, answered, length = HEADER.unpack_from(data)
            if magic != MAGIC or length != len(data) - HEADER.size:
                raise ValueError("another protocol")
            if kind == Kind.ANSWER and answered in (0, number):
                raise DaemonError("the key daemon serves as many programs as it can", Winsock.WSAENOBUFS)
            if kind != Kind.ANSWER | Kind.CONTROL or answered != number:
                raise ValueError("not the answer")
            parts.append(data[HEADER.size :])
            if not flags & Flag.MORE:
                return b"".join(parts)

    def stop(self, seconds: float = _DEADLINE) -> None:
        """Have the daemon end, and wait for that.

        Raises:
            DaemonError: it refused, or has not ended by then.
        """
        try:
            process = os.pidfd_open(self.pid)
        except OSError as error:
            raise DaemonError(f"process {self.pid}: {error.strerror}") from error
        try:
            self.control("stop")
            ended = select.poll()
            ended.register(process, select.POLLIN)
            if not ended.poll(seconds * 1000):
                raise DaemonError(f"the key daemon (process {self.pid}) has not ended within {seconds:.0f} s")
        finally:
            os.close(process)
