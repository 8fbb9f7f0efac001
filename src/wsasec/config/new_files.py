"""New files, with their modes from the start, all of one or nothing, and never in place of others."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NewFile", "check_folder", "create", "make_folder", "refuse_existing", "replace"]


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be.

    Attributes:
        path: where.
        data: what is in it.
        secret: whether only its owner may read it.
    """

    path: Path
    data: bytes
    secret: bool = False


def check_folder(folder: Path) -> None:
    """See that nobody else can put files into a folder.

    Raises:
        ValueError: somebody can.
        OSError: there is no such folder.
    """
    status = folder.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise ValueError(f"{folder}: it is not a folder")
    if status.st_uid not in (0, os.geteuid()):
        raise ValueError(f"{folder}: it belongs to user {status.st_uid}, not to root; run chown root on it")
    if status.st_mode & 0o022:
        raise ValueError(f"{folder}: others than its owner may write it; run chmod go-w on it")


def make_folder(folder: Path, mode: int) -> None:
    """Make a folder, and those above it, or check that it is safe.

    Args:
        folder: the folder.
        mode: of this one, if it is made, whatever the umask is; those above it get 0755.

    Raises:
        ValueError: it is there, and others may write it.
        OSError: it cannot be made.
    """
    if folder.exists():
        check_folder(folder)
        return
    if not folder.parent.exists():
        make_folder(folder.parent, 0o755)
    folder.mkdir(0o700)
    folder.chmod(mode)


def refuse_existing(paths: Iterable[Path]) -> None:
    """See that none of some files is there.

    Raises:
        FileExistsError: one is.
    """
    for path in paths:
        if os.path.lexists(path):
            raise FileExistsError(17, "it is there already, and nothing was changed", str(path))


def _write_aside(file: NewFile) -> Path:
    """Write a file beside its place, under a name that nobody knows."""
    aside = file.path.with_name(f".{file.path.name[:100]}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o600 if file.secret else 0o644)  # whatever the umask is
            stream.write(file.data)
            stream.flush()
            os.fsync(descriptor)
    except BaseException:
        aside.unlink()
        raise
    return aside


def create(files: Iterable[NewFile]) -> None:
    """Write new files: all of them, or none.

    Raises:
        FileExistsError: one is there already; nothing was changed.
        OSError: one cannot be written; nothing was changed.
    """
    files = list(files)
    refuse_existing(file.path for file in files)
    made: list[Path] = []
    try:
        for file in files:
            aside = _write_aside(file)
            try:
                os.link(aside, file.path)  # unlike a renaming, it fails where there is such a file
                made.append(file.path)
            except FileExistsError:
                raise FileExistsError(17, "it is there already", str(file.path)) from None
            finally:
                aside.unlink()
    except BaseException:
        for path in made:
            path.unlink()
        raise


def replace(file: NewFile) -> None:
    """Write a file in place of an older one of the same name.

    Raises:
        OSError: it cannot be written; the older one is as it was.
    """
    aside = _write_aside(file)
    try:
        aside.replace(file.path)
    except BaseException:
        aside.unlink()
        raise
