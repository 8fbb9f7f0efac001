"""Pins that outlast the daemon that made them, as far as the programs that asked for them do."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from fake_ike import PEER, FakeIke, FakeSas
from hypothesis import example, given
from hypothesis import strategies as st

from wsasec.keys import pins_file
from wsasec.keys.pins import Pins
from wsasec.keys.pins_file import PinsFile
from wsasec.keys.programs import Program, has_ended, reopen, started
from wsasec.profiles import DEFAULT

KEY = ("default", ip_address("192.0.2.1"))
OTHER = ("default", ip_address("2001:db8::1"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pins"


def program_of(pid: int) -> Program:
    return Program(pid, os.pidfd_open(pid), started(pid))


@pytest.fixture
def me() -> Iterator[Program]:
    program = program_of(os.getpid())
    yield program
    os.close(program.pidfd)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


@pytest.fixture
def other(child: subprocess.Popen[bytes]) -> Iterator[Program]:
    program = program_of(child.pid)
    yield program
    os.close(program.pidfd)


Begin = Callable[[], PinsFile]


@pytest.fixture
def begin(path: Path) -> Iterator[Begin]:
    """Return what begins a daemon's file, which nobody closes, as if that was killed, until the test ends."""
    files: list[PinsFile] = []

    def made() -> PinsFile:
        files.append(PinsFile(path))
        return files[-1]

    yield made
    for file in files:
        file.close()
        for program in file.programs:
            os.close(program.pidfd)


def left(path: Path) -> dict[Any, tuple[str, set[int]]]:
    """Return what the next daemon finds; who is pinned where, and the processes that it is for."""
    with closing(PinsFile(path)) as file:
        for program in file.programs:
            os.close(program.pidfd)
        return {key: (who, {each.pid for each in programs}) for key, (who, programs) in file.left.items()}


def test_a_process_is_known_by_its_start(child: subprocess.Popen[bytes]) -> None:
    since = started(child.pid)
    assert since > 0
    assert reopen(child.pid, since + 1) is None
    for given_since in (since, 0):
        program = reopen(child.pid, given_since)
        assert program is not None
        assert not has_ended(program)
        os.close(program.pidfd)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert reopen(child.pid, since) is None  # nobody has asked for its end yet
    child.wait()
    assert reopen(child.pid, since) is None
    assert started(child.pid) == 0


def test_a_thread_is_no_process() -> None:
    numbers: list[int] = []
    go = threading.Event()

    def work() -> None:
        numbers.append(threading.get_native_id())
        assert reopen(numbers[0], 0) is None
        go.set()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert go.is_set()


def test_killed_daemon(path: Path, begin: Begin, me: Program, other: Program) -> None:
    """What was added is there whatever becomes of who did."""
    file = begin()
    assert (file.left, file.damaged) == ({}, 0)
    file.add(KEY, "b.example", me)
    file.add(KEY, "b.example", other)
    file.add(KEY, "b.example", other)
    file.add(OTHER, "CN=c", other)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_bytes().splitlines()) == 3
    assert left(path) == {KEY: ("b.example", {me.pid, other.pid}), OTHER: ("CN=c", {other.pid})}
    # And again: it was written anew.
    assert left(path) == {KEY: ("b.example", {me.pid, other.pid}), OTHER: ("CN=c", {other.pid})}


def test_what_was_taken_is_gone(path: Path, begin: Begin, me: Program, other: Program) -> None:
    file = begin()
    for program in (me, other):
        file.add(KEY, "b.example", program)
    file.remove(KEY, me)
    file.remove(KEY, me)
    assert left(path) == {KEY: ("b.example", {other.pid})}
    file = begin()
    file.remove(KEY, other)
    assert left(path) == {}


def test_programs_that_have_ended_count_no_more(
    path: Path, begin: Begin, me: Program, other: Program, child: subprocess.Popen[bytes]
) -> None:
    file = begin()
    file.add(KEY, "b.example", me)
    file.add(KEY, "b.example", other)
    file.add(OTHER, "b.example", other)
    child.kill()
    child.wait()
    assert left(path) == {KEY: ("b.example", {me.pid})}


def test_the_last_one_pinned_counts(path: Path, begin: Begin, me: Program, other: Program) -> None:
    """Who was there before had gone, and his line could not be taken out."""
    file = begin()
    file.add(KEY, "b.example", me)
    file.add(KEY, "c.example", other)
    assert left(path) == {KEY: ("c.example", {other.pid})}


def test_an_ordinary_end(
    path: Path, begin: Begin, me: Program, other: Program, child: subprocess.Popen[bytes]
) -> None:
    """What living programs need stays; nothing else does."""
    file = begin()
    file.add(KEY, "b.example", me)
    file.close()
    file.close()
    assert left(path) == {KEY: ("b.example", {me.pid})}
    file = begin()
    file.remove(KEY, me)
    file.add(OTHER, "b.example", other)
    child.kill()
    child.wait()
    file.close()
    assert list(path.parent.iterdir()) == []
    with pytest.raises(OSError, match="descriptor"):
        file.add(KEY, "b.example", me)


def test_it_does_not_grow(path: Path, begin: Begin, me: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins_file, "_SPARE", 10)
    file = begin()
    file.add(OTHER, "b.example", me)
    for _ in range(100):
        file.add(KEY, "b.example", me)
        file.remove(KEY, me)
        assert len(path.read_bytes().splitlines()) <= 14
    file.add(KEY, "b.example", me)
    assert left(path) == {OTHER: ("b.example", {me.pid}), KEY: ("b.example", {me.pid})}


def test_no_space(
    path: Path, begin: Begin, me: Program, other: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a line is taken back; what was not written does not count as if it were."""
    file = begin()
    file.add(KEY, "b.example", me)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:5]))
    for _ in range(2):
        with pytest.raises(OSError, match="space") as caught:
            file.add(KEY, "b.example", other)
        assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert left(path) == {KEY: ("b.example", {me.pid})}
    file = begin()
    file.add(KEY, "b.example", other)
    assert left(path) == {KEY: ("b.example", {me.pid, other.pid})}


def test_no_file_of_others(path: Path) -> None:
    (path.parent / "theirs").touch()
    path.symlink_to("theirs")
    with pytest.raises(OSError, match="symbolic"):
        PinsFile(path)


def line(*, group: object = "default", at: object = "192.0.2.1", who: object = "b", **rest: object) -> bytes:
    pid, since = rest.get("pid", os.getpid()), rest.get("since", started(os.getpid()))
    return json.dumps([group, at, who, pid, since]).encode()


BAD = [
    b"",
    b"\xff",
    b"[" * 100_000,
    b"9" * 10_000,
    b"{}",
    b"null",
    line()[:-1],
    line(group=1),
    line(at=5),
    line(at="fe80::1%eth0"),
    line(at="b"),
    line(who="%any"),
    line(who="*"),
    line(who=""),
    line(who=[]),
    line(who=0),
    line(pid=0),
    line(pid=-1),
    line(pid=1 << 31),
    line(pid=1.0),
    line(pid=True),
    line(pid="1"),
    line(since=-1),
    line(since=1.5),
    line(since=None),
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_damaged_lines(path: Path, me: Program, bad: bytes) -> None:
    """They are told of; the others count."""
    path.write_bytes(line() + b"\n" + bad + b"\n" + line(who="c", at="192.0.2.2"))
    with closing(PinsFile(path)) as file:
        for program in file.programs:
            os.close(program.pidfd)
        assert file.damaged == 1
    assert {who for who, _ in left(path).values()} == {"b", "c"}


@given(st.binary(), st.integers(0, 200), st.integers(0, 20))
@example(b"\n", 0, 0)
def test_damaged_anyhow(tmp_path_factory: pytest.TempPathFactory, put: bytes, at: int, gone: int) -> None:
    """Whatever is in the file, a daemon starts with it, and the lines that were not touched count."""
    path = tmp_path_factory.getbasetemp() / "damaged"
    whole = line() + b"\n" + line(who="c", at="192.0.2.2") + b"\n"
    damaged = whole[:at] + put + whole[at + gone :]
    path.write_bytes(damaged)
    with closing(PinsFile(path)) as file:
        for program in file.programs:
            os.close(program.pidfd)
        intact = set(damaged.split(b"\n")) & set(whole.splitlines())
        # Another line may happen to be for the same address.
        assert len(file.left) >= len(intact)
        assert file.damaged <= len(damaged.splitlines()) - len(intact)
    with closing(PinsFile(path)) as again:
        assert (again.damaged, again.left.keys()) == (0, file.left.keys())
        for program in again.programs:
            os.close(program.pidfd)


def test_pins_of_a_daemon_before(path: Path, begin: Begin, me: Program) -> None:
    """They are held until their program has ended, and are out of the file then."""
    begin().add(("group", PEER), "b.example", me)
    file = begin()
    ike = FakeIke(FakeSas(), {"default": DEFAULT.reqid})
    ike.pins[PEER] = "b.example"
    pins = Pins(ike, file)
    (program,) = file.programs
    with pins.at(("group", PEER), time.monotonic() + 10) as pin:
        assert (pin.principal, dict(pin.owners)) == ("b.example", {program: 1})
        pins.own(("group", PEER), pin, program)
    pins.release(("group", PEER), program)
    pins.try_again()
    assert ike.pins == {PEER: "b.example"}
    assert left(path).keys() == {("group", PEER)}
    pins.program_ended(program)
    pins._pool.shutdown()  # waits
    assert ike.pins == {}
    pins.close()
    file.close()
    assert not path.exists()


def test_what_cannot_be_written_is_not_reported(
    path: Path, begin: Begin, me: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = begin()
    pins = Pins(FakeIke(FakeSas(), {"default": DEFAULT.reqid}), file)
    monkeypatch.setattr(os, "write", lambda _fd, _data: 0)
    with pins.at(KEY, time.monotonic() + 10) as pin:
        pin.principal = "b.example"
        with pytest.raises(OSError, match="space"):
            pins.own(KEY, pin, me)
    pins.release(KEY, me)
    pins.close()
    file.close()
    assert not path.exists()
