"""A file that is appended to, and written anew."""

from __future__ import annotations

import errno
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wsasec.keys.appended import Appended


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let files grow to so many bytes only."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heard)


def test_appended_and_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("of an earlier process")
    file = Appended(path, b"one\n")
    file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600
    file.rewrite(b"three\n")
    file.append(b"four\n")
    assert path.read_bytes() == b"three\nfour\n"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    file.close()
    file.close()
    assert file.closed
    with pytest.raises(OSError, match=r"[Dd]escriptor"):
        file.append(b"five\n")


def test_no_room(tmp_path: Path) -> None:
    """What was there stays as it was, and nothing of what is new comes behind it."""
    path = tmp_path / "file"
    file = Appended(path, b"one\n")
    with room(6):
        with pytest.raises(OSError) as caught:
            file.append(b"two\n")
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(OSError):
            file.rewrite(b"one\ntwo\n")
    assert path.read_bytes() == b"one\n"
    file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    file.close()


def test_no_link_is_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("somebody's")
    (tmp_path / "file.new").symlink_to(other)
    with pytest.raises(OSError) as caught:
        Appended(tmp_path / "file")
    assert caught.value.errno == errno.ELOOP
    assert other.read_text() == "somebody's"
