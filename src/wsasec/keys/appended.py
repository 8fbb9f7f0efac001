"""A file that outlasts this process: it is appended to, and written anew when it has grown."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["Appended", "open_own"]


def open_own(path: Path, flags: int) -> int:
    """Open a file that is for its owner alone; a link in its place is an error. Raises OSError."""
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


class Appended:
    """The file, open. For one thread at a time. All methods raise OSError."""

    def __init__(self, path: Path, data: bytes = b"") -> None:
        """Have it hold this, and nothing that was in it before."""
        self._path = path
        self._file = -1
        self.rewrite(data)

    def rewrite(self, data: bytes) -> None:
        """Have it hold this instead: at any time it has all of the one or all of the other."""
        new = self._path.with_suffix(".new")
        file = open_own(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        try:
            with os.fdopen(os.dup(file), "wb") as whole:
                whole.write(data)
            new.replace(self._path)
        except BaseException:
            os.close(file)
            raise
        self.close()
        self._file = file

    def append(self, data: bytes) -> None:
        """Write something behind what is there, or nothing of it."""
        size = os.fstat(self._file).st_size
        if os.write(self._file, data) != len(data):
            os.ftruncate(self._file, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._file < 0

    def close(self) -> None:
        """Leave it. Twice is fine."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
