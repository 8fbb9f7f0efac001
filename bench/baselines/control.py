"""The line between the traffic's two processes and the one that directs them: a line of JSON per message."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from typing import Any, Final

__all__ = ["EndedError", "Hand", "Orders"]


class EndedError(RuntimeError):
    """The other side is gone, or silent for too long."""


class Orders:
    """What a directed process gets on its standard input, and answers on its standard output."""

    fd: Final = 0

    def __init__(self) -> None:
        self._rest = b""
        self._waiting: list[dict[str, Any]] = []

    def take(self) -> dict[str, Any] | None:
        """Return the next order, if there is one, reading what has come.

        Raises:
            EndedError: the director has gone.
        """
        while not self._waiting and select.select([self.fd], [], [], 0)[0]:
            data = os.read(self.fd, 1 << 16)
            if not data:
                raise EndedError("the directing process has gone")
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._waiting += map(json.loads, lines)
        return self._waiting.pop(0) if self._waiting else None

    def wait(self) -> dict[str, Any]:
        """Return the next order when it comes; EndedError if the director goes."""
        while True:
            order = self.take()
            if order is not None:
                return order
            select.select([self.fd], [], [])

    @staticmethod
    def answer(event: str, **fields: Any) -> None:
        """Send an answer."""
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


class Hand:
    """A directed process, as its director sees it."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        """Take a process with pipes for standard input and output; its errors go where the director's go."""
        self.process = process
        self.name = name
        self._rest = b""
        self._waiting: list[dict[str, Any]] = []

    def tell(self, order: str, **fields: Any) -> None:
        """Give an order. Raises EndedError if the process has gone."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": order, **fields}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise EndedError(self._gone()) from None

    def hear(self, event: str, timeout: float) -> dict[str, Any]:
        """Wait for an answer.

        Args:
            event: the only one that may come.
            timeout: seconds.

        Raises:
            EndedError: the process has gone, says something else, or nothing in time.
        """
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout
        fd = self.process.stdout.fileno()
        while not self._waiting:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise EndedError(f"the {self.name} was to say {event!r} within {timeout:.0f} s")
            data = os.read(fd, 1 << 16)
            if not data:
                raise EndedError(self._gone())
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._waiting += map(json.loads, lines)
        answer = self._waiting.pop(0)
        if answer.get("event") != event:
            raise EndedError(f"the {self.name} was to say {event!r}, and said {answer}")
        return answer

    def end(self) -> None:
        """Kill the process and wait for its end."""
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        self.process.wait()

    def _gone(self) -> str:
        try:
            code: object = self.process.wait(5.0)
        except subprocess.TimeoutExpired:
            code = "unknown"
        return f"the {self.name} ended with exit code {code}; its error is above"
