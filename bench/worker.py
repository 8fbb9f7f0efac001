"""Runs a measuring process: its events to a function, its errors kept, a deadline on the whole."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from wsasec.lab.children import spawn

__all__ = ["BenchError", "python_command", "run_worker"]

_GRACE: Final = 15.0
_TAIL: Final = 40

Listener = Callable[[dict[str, Any]], None]


class BenchError(RuntimeError):
    """A measurement could not be made, or what it saw must not be."""


def python_command(module: str, *words: str) -> list[str]:
    """Return the command for a module in this Python, with the same view of the current folder."""
    hidden = bool(sys.flags.safe_path) or not sys.path or sys.path[0] not in ("", str(Path.cwd()))
    return [sys.executable, *(["-P"] if hidden else []), "-m", module, *words]


class _Lines:
    """Splits what comes out of a pipe into lines."""

    def __init__(self, fd: int, take: Callable[[str], None]) -> None:
        self.fd = fd
        self._take = take
        self._rest = b""

    def read(self) -> bool:
        """Take what there is; False at its end."""
        data = os.read(self.fd, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data and self._rest:
            lines, self._rest = [self._rest], b""
        for line in lines:
            self._take(line.decode(errors="replace").rstrip("\r"))
        return bool(data)


class _Worker:
    """What a process has said so far."""

    def __init__(self, listen: Listener) -> None:
        self.errors: list[str] = []
        self.result: dict[str, Any] | None = None
        self._listen = listen

    def take_event(self, line: str) -> None:
        """Take a line of its standard output."""
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, TypeError, KeyError):
            event, kind = {"event": "note", "text": line}, "note"
        if kind == "result":
            self.result = event["data"]
        elif kind != "note" or event["text"].strip():
            self._listen(event)

    def take_error(self, line: str) -> None:
        """Take a line of its standard error; the last ones count."""
        if line.strip():
            self.errors.append(line)
            del self.errors[:-_TAIL]

    def failure(self, what: str) -> BenchError:
        """Make the error that says what it said."""
        return BenchError("\n".join([f"a measuring process failed: {what}", *self.errors]))

    def follow(self, process: subprocess.Popen[bytes], timeout: float) -> int:
        """Listen until it ends; return its exit code. BenchError if it does not end in time."""
        assert process.stdout is not None
        assert process.stderr is not None
        deadline = time.monotonic() + timeout
        late = f"not done after {timeout:.0f} s"
        with selectors.DefaultSelector() as selector:
            for stream, take in ((process.stdout, self.take_event), (process.stderr, self.take_error)):
                selector.register(stream, selectors.EVENT_READ, _Lines(stream.fileno(), take))
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self.failure(late)
                for key, _ in selector.select(left):
                    if not key.data.read():
                        selector.unregister(key.fileobj)
        try:
            return process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self.failure(late) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it so that it can clean up behind itself; by force if it does not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            continue


def run_worker(argv: Sequence[str], listen: Listener, timeout: float) -> dict[str, Any] | None:
    """Run a process to its end.

    Args:
        argv: its command.
        listen: gets its events but the result, and as notes what else it says.
        timeout: seconds.

    Returns:
        The data of its event "result"; None if it sent none.

    Raises:
        BenchError: it could not be started, failed, or took too long; with what it said on standard error.
    """
    worker = _Worker(listen)
    try:
        process = spawn(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except (OSError, RuntimeError) as error:
        raise worker.failure(str(error)) from error
    with process:
        try:
            code = worker.follow(process, timeout)
        finally:
            _end(process)
    if code:
        raise worker.failure(f"exit code {code}")
    for line in worker.errors:
        listen({"event": "note", "text": line})
    return worker.result
