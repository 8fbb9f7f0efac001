"""Where the daemon of a network namespace is found, and that there is only one."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from .protocol import FOLDER, VARIABLE

__all__ = ["PROFILES", "AlreadyUpError", "Place", "folder"]

PROFILES: Final = "profiles.toml"
"""File in the folder, for all to read: profiles beside those of the configuration."""

_NAMESPACE: Final = "/proc/thread-self/ns/net"
_BACKLOG: Final = 128


class AlreadyUpError(Exception):
    """A daemon has the place.

    Attributes:
        pid: its process; 0 where it did not say yet.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(f"already up, pid {pid}" if pid else "another wsasec up is at work")
        self.pid = pid

    def __reduce__(self) -> tuple[type[AlreadyUpError], tuple[int]]:
        return type(self), (self.pid,)


def folder() -> Path:
    """Return where the daemon of the calling thread's network namespace is, if there is one."""
    return Path(os.environ.get(VARIABLE) or FOLDER, f"net-{Path(_NAMESPACE).stat().st_ino}")


def _own_folder(path: Path, mode: int) -> None:
    """Make a folder, or see that it is ours: in one of another's he would answer in our name."""
    path.mkdir(mode=mode, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(1, "not a folder of this user's own", str(path))
    path.chmod(mode)


class Place:
    """The folder of a network namespace, held by a lock for as long as the process lives.

    Attributes:
        folder: 0711; `control` in it is the socket, PROFILES a file for everybody; all else is root's.
    """

    def __init__(self, path: Path) -> None:
        """Take it; what a daemon left there that is no more is taken over.

        Args:
            path: as folder() returns it.

        Raises:
            AlreadyUpError: a daemon has it.
            OSError: it cannot be made, or belongs to another user.
        """
        self.folder = path
        self.control = path / "control"
        _own_folder(path.parent, 0o755)
        _own_folder(path, 0o711)
        self._lock = self._take()

    def _take(self) -> int:
        path = self.folder / "lock"
        while True:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A daemon that ends removes its file: a lock on that one is worth nothing.
                if path.stat().st_ino == os.fstat(lock).st_ino:
                    os.ftruncate(lock, 0)
                    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
                    return lock
            except BlockingIOError:
                text = os.pread(lock, 20, 0).strip()
                os.close(lock)
                raise AlreadyUpError(int(text) if text.isdigit() else 0) from None
            except FileNotFoundError:
                # Removed between the two; the folder may be gone, too.
                _own_folder(self.folder, 0o711)
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)

    def listen(self) -> socket.socket:
        """Return the listening socket, which anybody may connect to.

        Raises:
            OSError: it cannot be made; among others: the path is longer than 107 bytes.
        """
        self.control.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            listener.bind(str(self.control))
            self.control.chmod(0o666)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener

    def close(self) -> None:
        """Leave it: nothing of it stays. Twice is fine."""
        lock, self._lock = self._lock, -1
        if lock < 0:
            return
        with suppress(OSError):
            self.control.unlink(missing_ok=True)
            (self.folder / PROFILES).unlink(missing_ok=True)
            (self.folder / "lock").unlink(missing_ok=True)
        os.close(lock)
        with suppress(OSError):  # others may have files there: charon its log
            self.folder.rmdir()
