"""The sockets that charon is started with, as its plugin finds them: src/charon/inherited_sockets.c."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsasec.engine import unbound

SOURCE = Path(__file__).parents[3] / "src/charon/inherited_sockets.c"
FAMILIES = (socket.AF_INET, socket.AF_INET6)
MAX = 64
NAME = b"WSASEC_SOCKETS"


class Inherited(ctypes.Structure):
    """struct inherited_sockets."""

    _fields_ = (("fds", ctypes.c_int * MAX), ("count", ctypes.c_size_t))

    def numbers(self) -> list[int]:
        return list(self.fds[: self.count])


class Finder:
    def __init__(self, path: Path) -> None:
        self._plugin, self._libc = ctypes.CDLL(str(path)), ctypes.CDLL(None)
        self._libc.getenv.restype = ctypes.c_char_p

    def find(self, text: bytes | None) -> Inherited:
        """Find them; the environment's text is gone after that."""
        if text is not None:
            assert self._libc.setenv(NAME, text, 1) == 0
        found = Inherited()
        self._plugin.inherited_sockets_find(ctypes.byref(found))
        assert self._libc.getenv(NAME) is None
        return found

    def take(self, found: Inherited, family: int) -> int:
        return int(self._plugin.inherited_sockets_take(ctypes.byref(found), family))

    def give_back(self, found: Inherited, fd: int) -> None:
        self._plugin.inherited_sockets_give_back(ctypes.byref(found), fd)

    def close(self, found: Inherited) -> None:
        self._plugin.inherited_sockets_close(ctypes.byref(found))


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Finder:
    compiler = shutil.which("gcc")
    if not SOURCE.exists() or not compiler:
        pytest.skip("no C sources, or no gcc: run from the source tree, apt-get install gcc")
    target = tmp_path_factory.mktemp("charon") / "inherited.so"
    options = ["-std=gnu11", "-g", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    options += ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    subprocess.run([compiler, *options, str(SOURCE), "-o", str(target)], check=True, timeout=60)
    return Finder(target)


@pytest.fixture(scope="module")
def free() -> Iterator[list[int]]:
    """Sockets of which none is bound, two of each family."""
    with ExitStack() as stack:
        yield [stack.enter_context(each).fileno() for each in unbound(2)]


def test_all_are_found(finder: Finder, free: list[int]) -> None:
    for fd in free:
        os.set_inheritable(fd, True)
        os.set_blocking(fd, True)
    found = finder.find(" ".join(map(str, free)).encode())
    assert found.numbers() == free
    assert not any(os.get_inheritable(fd) or os.get_blocking(fd) for fd in free)
    assert finder.find(None).numbers() == []


def test_each_is_taken_once(finder: Finder, free: list[int]) -> None:
    found = finder.find(" ".join(map(str, free)).encode())
    for family, own in ((socket.AF_INET, free[:2]), (socket.AF_INET6, free[2:])):
        taken = [finder.take(found, family) for _ in range(3)]
        assert sorted(taken[:2]) == sorted(own)
        assert taken[2] == -1
    finder.give_back(found, free[0])
    assert finder.take(found, socket.AF_INET6) == -1
    assert finder.take(found, socket.AF_INET) == free[0]
    finder.close(found)
    assert all(os.fstat(fd) for fd in free)  # they are the taker's


def test_what_is_left_is_closed(finder: Finder, free: list[int]) -> None:
    copies = [os.dup(fd) for fd in free]
    found = finder.find(" ".join(map(str, copies)).encode())
    kept = finder.take(found, socket.AF_INET)
    finder.close(found)
    assert found.numbers() == []
    os.close(kept)
    for fd in {*copies} - {kept}:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.close(fd)


def test_no_more_than_there_is_room_for(finder: Finder, free: list[int]) -> None:
    copies = [os.dup(free[0]) for _ in range(MAX + 2)]
    found = finder.find(" ".join(map(str, copies)).encode())
    assert found.numbers() == copies[:MAX]
    finder.close(found)
    for fd in copies[MAX:]:
        os.close(fd)


def test_others_are_left_alone(finder: Finder, free: list[int]) -> None:
    with ExitStack() as stack:
        bound = [stack.enter_context(socket.socket(each, socket.SOCK_DGRAM)) for each in FAMILIES]
        bound[0].bind(("127.0.0.1", 0))
        bound[1].bind(("::1", 0))
        others = [
            *(stack.enter_context(socket.socket(each, socket.SOCK_STREAM)) for each in FAMILIES),
            *map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)),
            stack.enter_context(Path(os.devnull).open()),
        ]
        numbers = [each.fileno() for each in (*bound, *others)]
        for fd in numbers:
            os.set_inheritable(fd, True)
        text = " ".join(map(str, [*numbers, free[0], free[0], 1 << 20]))
        found = finder.find(text.encode())
        assert found.numbers() == [free[0]]
        assert all(os.get_inheritable(fd) for fd in numbers)


@settings(deadline=None)
@given(words=st.lists(st.integers() | st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_whatever_it_says_nothing_else_is_taken(
    finder: Finder, free: list[int], words: list[int | str]
) -> None:
    found = finder.find(" ".join(map(str, words)).encode())
    assert {*found.numbers()} <= {*free}
    assert len({*found.numbers()}) == found.count
