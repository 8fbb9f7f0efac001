"""Child processes that do not outlive this one, in a network namespace of choice."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from . import libc
from .errors import LabError

__all__ = ["kill_inside", "spawn"]

_KILL_DEADLINE: Final = 10.0

# Runs the rest of the words, unless the parent, process $0, ended before its death could be a signal.
_GO: Final = '[ "$PPID" = "$0" ] && exec "$@"'

# The kernel sends a parent-death signal when the parent *thread* ends. So one thread, which lives as long
# as the process, starts all children, whichever thread asks.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wsasec-lab-children")


def _after_fork() -> None:
    global _starter
    _starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wsasec-lab-children")


os.register_at_fork(after_in_child=_after_fork)


def _start(argv: list[str], netns: int | None, kwargs: dict[str, Any]) -> subprocess.Popen[Any]:
    if netns is None:
        return subprocess.Popen(argv, **kwargs)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.setns(netns, libc.CLONE_NEWNET)
        try:
            return subprocess.Popen(argv, **kwargs)
        finally:
            libc.setns(home, libc.CLONE_NEWNET)
    finally:
        os.close(home)


def spawn(argv: Sequence[str], *, netns: int | None = None, **kwargs: Any) -> subprocess.Popen[Any]:
    """Start a process that is killed when this process ends, however it ends.

    Args:
        argv: the command; its first word is looked up in PATH.
        netns: descriptor of the network namespace it starts in; None for that of the process.
        kwargs: as for subprocess.Popen, without `executable`, `shell` and `preexec_fn`.

    Raises:
        FileNotFoundError: there is no such command.
        LabError: setpriv is missing.
        OSError: it cannot be started, or the namespace cannot be entered.
    """
    words = [os.fspath(word) for word in argv]
    path = (kwargs.get("env") or os.environ).get("PATH")
    found = words[0] if "/" in words[0] else shutil.which(words[0], path=path)
    if found is None:
        raise FileNotFoundError(2, os.strerror(2), words[0])
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise LabError("setpriv is missing", "apt-get install util-linux")
    words = [setpriv, "--pdeathsig", "KILL", "--", "/bin/sh", "-c", _GO, str(os.getpid()), found, *words[1:]]
    return _starter.submit(_start, words, netns, kwargs).result()


def _is_inside(pid: int, namespaces: set[tuple[int, int]]) -> bool:
    try:
        status = Path(f"/proc/{pid}/ns/net").stat()
    except OSError:
        return False  # gone, a zombie, or not ours to look at
    return (status.st_dev, status.st_ino) in namespaces


def kill_inside(namespaces: set[tuple[int, int]]) -> int:
    """Kill every other process inside the network namespaces (st_dev, st_ino) and wait for their ends.

    Returns:
        How many were killed.

    Raises:
        LabError: one is still there after 10 s.
    """
    killed = 0
    deadline = time.monotonic() + _KILL_DEADLINE
    while True:
        inside = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdecimal()]
        inside = [pid for pid in inside if pid != os.getpid() and _is_inside(pid, namespaces)]
        if not inside:
            return killed
        if time.monotonic() > deadline:
            raise LabError(f"processes {inside} in the lab's namespaces cannot be killed")
        for pid in inside:
            # A descriptor, then a second look: the number may be another process's by now.
            with suppress(ProcessLookupError):
                fd = os.pidfd_open(pid)
                try:
                    if _is_inside(pid, namespaces):
                        signal.pidfd_send_signal(fd, signal.SIGKILL)
                        killed += 1
                        ended = select.poll()  # select() has no room for descriptors above 1,023
                        ended.register(fd, select.POLLIN)
                        ended.poll(max(0.0, deadline - time.monotonic()) * 1000)
                finally:
                    os.close(fd)
