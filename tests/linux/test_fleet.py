"""Fleets of worker processes: their sockets, their common start, and every way to come to an end."""

from __future__ import annotations

import json
import math
import os
import pickle
import resource
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import wsasec
from wsasec import IpsecSettings, Profile, SecurityFlags, Settings, Winsock, profiles
from wsasec.fleet import Fleet, FleetError, FleetResult
from wsasec.fleet.process import WorkerProcess
from wsasec.lab import Namespace

sys.path.insert(0, str(Path(__file__).parent))  # the workers get it, too
import fleet_work

FOLDER = Path(__file__).parent


def sockets_used() -> int:
    """How many sockets there are in the calling thread's network namespace."""
    first = Path("/proc/thread-self/net/sockstat").read_text().splitlines()[0]
    return int(first.removeprefix("sockets: used "))


def falls_to(count: int) -> bool:
    """Whether the number of sockets falls to that: the kernel frees those of netlink some time after."""
    deadline = time.monotonic() + 20
    while sockets_used() > count:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def ended(pid: int) -> bool:
    """Whether a process of ours is gone; one that is not gets 20 s for it."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], 20)[0])
    finally:
        os.close(fd)


def test_the_sockets(realm: Namespace) -> None:
    before = sockets_used()
    with Fleet(1001, processes=2, family=socket.AF_INET6, type=socket.SOCK_DGRAM) as fleet:
        assert sockets_used() >= before + 1001
        assert (len(fleet), fleet.processes, fleet.closed) == (1001, 2, False)
        assert [row.sockets for row in fleet.made.rows] == [501, 500]
        assert fleet.made.sockets == 1001
        assert list(fleet.codes) == [0] * 1001
        assert fleet.made.seconds >= max(row.seconds for row in fleet.made.rows) > 0
        rows = fleet.run(fleet_work.look).values
        mark = profiles.DEFAULT.mark
        for index, (row, made) in enumerate(zip(rows, fleet.made.rows, strict=True)):
            assert row["index"] == index
            assert row["pid"] == made.pid != os.getpid()
            assert row["count"] == row["codes"] == 501 - index
            assert row["profile"] == "default"
            assert row["last"] == (socket.AF_INET6, socket.SOCK_DGRAM, mark)
            assert row["namespace"] == realm.identity[1]
    assert fleet.closed
    assert all(ended(row["pid"]) for row in rows)
    assert falls_to(before)
    fleet.close()
    with pytest.raises(ValueError, match="closed"):
        fleet.run(fleet_work.look)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """So many are open here that new ones have four digits."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with wsasec.SocketBatch(2000, secure=False, raise_limit=True):
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_workers_of_a_process_with_many_descriptors(many_descriptors: None) -> None:
    with Fleet(4, processes=2) as fleet:
        assert [row["count"] for row in fleet.run(fleet_work.look).values] == [2, 2]


def test_workers_have_the_profiles_of_this_process() -> None:
    site = Profile("site", uuid.UUID("0b8d4d3c-6a53-4b57-9b7e-3a54a2a4a001"), 300, 0x58000000, 0xFF000000)
    profiles.use(profiles.Profiles({"default": profiles.DEFAULT, "site": site}, site))
    with Fleet(4, processes=2) as fleet:
        assert [row["profile"] for row in fleet.run(fleet_work.look).values] == ["site", "site"]
    with Fleet(2, processes=2, settings=IpsecSettings(qm_policy=profiles.DEFAULT)) as fleet:
        assert [row["profile"] for row in fleet.run(fleet_work.look).values] == ["default", "default"]


def test_histograms_are_added() -> None:
    with Fleet(3, processes=3) as fleet:
        result = fleet.run(fleet_work.record)
    assert {name: histogram.count for name, histogram in result.histograms.items()} == {
        "latency": 3,
        "more.first": 3,
    }
    assert (result.histograms["latency"].minimum, result.histograms["latency"].maximum) == (10, 30)
    rows = json.loads(json.dumps(fleet.made.to_dict()))["workers"]
    assert [row["sockets"] for row in rows] == [1, 1, 1]
    again = pickle.loads(pickle.dumps(result))
    assert isinstance(again, FleetResult)
    assert again.sockets == result.sockets == 3


def test_connections_and_their_latencies() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=100) as listener,
        Fleet(100, processes=2, secure=False) as fleet,
    ):
        result = fleet.run(fleet_work.connect, listener.getsockname())
    assert [report.connected for report in result.values] == [50, 50]
    assert result.histograms["latency"].count == 100
    row = json.loads(json.dumps(result.to_dict()))["workers"][1]
    assert row["value"]["connected"] == 50


def test_a_common_start() -> None:
    with Fleet(2, processes=2) as fleet:
        first = fleet.run(fleet_work.when, 2.0)
        # Nobody starts the second before the slowest has come to the end of the first.
        second = fleet.run(fleet_work.when, 0.0)
    assert first.seconds >= first.rows[0].seconds >= 2.0
    assert first.rows[1].seconds < first.rows[0].seconds
    slowest = first.values[0][1]
    assert min(began for began, _ in second.values) >= slowest == max(ended for _, ended in first.values)


@pytest.mark.parametrize("how", ["value", "unwritable", "unreadable", "answer"])
def test_an_exception_is_reported_and_the_worker_goes_on(how: str) -> None:
    with Fleet(3, processes=3) as fleet:
        with pytest.raises(FleetError, match="1 of 3 workers failed\nworker 1") as caught:
            fleet.run(fleet_work.fail, 1, how)
        (failure,) = caught.value.failures
        assert failure.index == 1
        assert failure.exit_code is failure.signal is None
        assert "Traceback" in failure.traceback
        assert failure.traceback in str(caught.value) + "\n"
        assert (failure.exception is None) == (how in ("unwritable", "unreadable"))
        assert caught.value.__cause__ is failure.exception
        assert caught.value.result is not None
        assert caught.value.result.values == ["fine", "fine"]
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
        assert [row["index"] for row in fleet.run(fleet_work.look).values] == [0, 1, 2]


@pytest.mark.parametrize(
    ("how", "exit_code", "reason"),
    [("kill", -9, "killed by SIGKILL"), ("abort", -6, "killed by SIGABRT"), ("exit", 7, "exit code 7")],
)
def test_a_death_is_reported_and_the_rest_ends(how: str, exit_code: int, reason: str) -> None:
    with Fleet(30, processes=3) as fleet:
        result = fleet.run(fleet_work.fail, 1, how, errors="return")
        assert result.values == ["fine", "fine"]
        assert result.sockets == 20
        (failure,) = result.failures
        assert failure.index == 1
        assert failure.exit_code == exit_code
        assert (failure.signal or 0) == max(0, -exit_code)
        assert reason in str(failure)
        # Not all sockets are there any more: nobody starts.
        with pytest.raises(FleetError, match=reason) as caught:
            fleet.run(fleet_work.look)
        assert caught.value.result is not None
        assert caught.value.result.rows == ()
        pids = [row.pid for row in fleet.made.rows]
    assert all(ended(pid) for pid in pids)


def test_a_worker_that_died_while_idle_is_found() -> None:
    with Fleet(4, processes=2) as fleet:
        os.kill(fleet.made.rows[0].pid, signal.SIGKILL)
        assert ended(fleet.made.rows[0].pid)
        with pytest.raises(FleetError, match=r"worker 0 .*SIGKILL"):
            fleet.run(fleet_work.look)


@pytest.mark.parametrize("how", ["sleep", "stop"])
def test_a_deadline_ends_what_hangs(how: str) -> None:
    with Fleet(4, processes=2) as fleet:
        fleet.run(fleet_work.look)  # whatever takes its time at first
        result = fleet.run(fleet_work.fail, 0, how, timeout=3, errors="return")
        assert result.values == ["fine"]
        assert "not done in time" in result.failures[0].reason
        assert result.failures[0].signal == signal.SIGKILL


def test_a_worker_that_hangs_before_the_start_breaks_nothing() -> None:
    with Fleet(4, processes=2) as fleet:
        fleet.run(fleet_work.look)  # whatever takes its time at first
        os.kill(fleet.made.rows[1].pid, signal.SIGSTOP)
        result = fleet.run(fleet_work.look, timeout=3, errors="return")
        assert result.rows == ()
        assert [failure.index for failure in result.failures] == [1]


@pytest.mark.parametrize("die", [True, False])
def test_children_of_the_work_end_with_their_worker(tmp_path: Path, die: bool) -> None:
    """They hold the worker's end of the connection, and hide nothing by that."""
    with Fleet(4, processes=2) as fleet:
        begin = time.monotonic()
        result = fleet.run(partial(fleet_work.leave_child, die=die), str(tmp_path), errors="return")
        assert time.monotonic() - begin < 20
        assert result.values == ["fine"] * (1 if die else 2)
        assert [failure.signal for failure in result.failures] == [signal.SIGKILL] * die
        children = [int(file.name) for file in tmp_path.iterdir()]
        assert len(children) == 2
    assert all(ended(pid) for pid in children)


def test_one_deadline_for_all() -> None:
    """Workers that stand still while they are spoken to do not each have time of their own."""
    with Fleet(6, processes=3) as fleet:
        for row in fleet.made.rows[:2]:
            os.kill(row.pid, signal.SIGSTOP)
        begin = time.monotonic()
        result = fleet.run(fleet_work.take, bytes(10_000_000), timeout=0.5, errors="return")
        assert time.monotonic() - begin < 8
        assert result.rows == ()
        assert {0, 1} <= {failure.index for failure in result.failures}
        assert all(failure.signal == signal.SIGKILL for failure in result.failures)


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to workers, in order."""
    done: list[str] = []
    for name in ("kill", "reap"):
        real = getattr(WorkerProcess, name)

        def note(worker: WorkerProcess, name: str = name, real: Callable[..., None] = real) -> None:
            done.append(name)
            real(worker)

        monkeypatch.setattr(WorkerProcess, name, note)
    return done


def test_at_the_deadline_all_are_killed_before_any_is_waited_for(order: list[str]) -> None:
    with Fleet(3, processes=3) as fleet:
        fleet.run(fleet_work.look)  # whatever takes its time at first
        order.clear()
        result = fleet.run(fleet_work.sleep, timeout=3, errors="return")
        assert len(result.failures) == 3
        assert order == ["kill"] * 3 + ["reap"] * 3


def test_at_ctrl_c_all_are_killed_before_any_is_waited_for(
    order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with Fleet(3, processes=3) as fleet:
        order.clear()
        monkeypatch.setattr(fleet, "_gather", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fleet.run(fleet_work.sleep)
    assert order == ["kill"] * 3 + ["reap"] * 3


def test_without_end() -> None:
    with Fleet(2, processes=2, timeout=math.inf) as fleet:
        assert len(fleet.run(fleet_work.look).rows) == 2
        assert len(fleet.run(fleet_work.look, timeout=30 * 86400).rows) == 2


@pytest.mark.parametrize(
    ("timeout", "error"), [(-1, ValueError), (math.nan, ValueError), ("1", TypeError), (True, TypeError)]
)
def test_wrong_time_outs(timeout: object, error: type[Exception]) -> None:
    with Fleet(2, processes=2) as fleet:
        with pytest.raises(error):
            fleet.run(fleet_work.look, timeout=timeout)
        assert len(fleet.run(fleet_work.look).rows) == 2
    with pytest.raises(error):
        Fleet(2, processes=2, timeout=timeout)


def test_work_that_cannot_be_imported() -> None:
    def local(batch: object, index: int) -> None: ...

    with Fleet(2, processes=2) as fleet:
        with pytest.raises((AttributeError, pickle.PicklingError), match="local"):
            fleet.run(local)
        assert fleet.closed is False
        local.__qualname__ = local.__name__ = "missing"
        local.__module__ = "fleet_work"
        fleet_work.missing = local  # type: ignore[attr-defined]
        try:
            with pytest.raises(FleetError, match="missing") as caught:
                fleet.run(local)
        finally:
            del fleet_work.missing  # type: ignore[attr-defined]
        assert len(caught.value.failures) == 2
        assert len(fleet.run(fleet_work.look).rows) == 2


def test_sockets_that_cannot_be_made_leave_none() -> None:
    before = sockets_used()
    with pytest.raises(FleetError, match="2 of 2 workers failed") as caught:
        Fleet(20, processes=2, bind="192.0.2.1")
    cause = caught.value.__cause__
    assert isinstance(cause, wsasec.BatchError)
    assert cause.winsock == Winsock.WSAEADDRNOTAVAIL
    assert caught.value.result is None
    with pytest.raises(FleetError, match="unexpected keyword"):
        Fleet(20, processes=2, no_such_option=1)
    assert falls_to(before)
    with Fleet(5, processes=2, bind="192.0.2.1", errors="return") as fleet:
        assert set(fleet.codes) == {Winsock.WSAEADDRNOTAVAIL}
        assert fleet.made.sockets == 0


@pytest.mark.parametrize("arguments", [{"n": -1}, {"n": 1, "processes": -1}, {"n": 1, "timeout": 0}])
def test_wrong_arguments(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="not below 0"):
        Fleet(**arguments)


def test_no_time_at_all() -> None:
    with pytest.raises(FleetError, match="not done in time"):
        Fleet(2, processes=2, timeout=1e-6)


def test_forgotten() -> None:
    fleet = Fleet(2, processes=2)
    pids = [row.pid for row in fleet.made.rows]
    with pytest.warns(ResourceWarning, match="unclosed <Fleet of 2 sockets in 2 processes"):
        del fleet
    assert all(ended(pid) for pid in pids)


def test_a_fork_leaves_the_workers_alone() -> None:
    with Fleet(2, processes=2) as fleet:
        pid = os.fork()
        if pid == 0:
            fleet.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert len(fleet.run(fleet_work.look).rows) == 2


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(SecurityFlags.GUARANTEE_ENCRYPTION),
        IpsecSettings(qm_policy=profiles.DEFAULT, user_name="a", domain_name="b", password="c"),
    ],
    ids=repr,
)
def test_settings_can_be_pickled(settings: Settings | IpsecSettings) -> None:
    again = pickle.loads(pickle.dumps(settings))
    assert again == settings
    assert bytes(again) == bytes(settings)


# Programs: fleets of their own.

PROGRAM = """
import os, sys, warnings
sys.path.insert(0, {folder!r})
import fleet_work
import wsasec
from wsasec.fleet import Fleet

warnings.simplefilter("ignore", wsasec.SecurityWarning)


def mine(batch, index):
    return index, len(batch)

"""


def program(tmp_path: Path, text: str) -> Path:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(folder=str(FOLDER)) + text)
    return script


def run(command: list[str], **options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def test_a_progress_callback_that_raises_ends_the_fleet(tmp_path: Path) -> None:
    """The descriptors are soon at an end, and each further one fails: for seconds."""
    text = """
def stop(done, total):
    print(done < total == 4_000_000, flush=True)
    raise KeyboardInterrupt

if __name__ == "__main__":
    try:
        Fleet(4_000_000, processes=2, errors="return", progress=stop)
    except KeyboardInterrupt:
        print("ended", flush=True)
        sys.stdin.read()
"""
    before = sockets_used()
    limited = ["sh", "-c", 'ulimit -n 500; exec "$0" "$@"', sys.executable, str(program(tmp_path, text))]
    with subprocess.Popen(limited, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["True\n", "ended\n"]
        # Its workers are gone with their sockets, while it lives.
        assert falls_to(before)
        process.communicate("", timeout=60)
    assert process.returncode == 0


def test_a_script(tmp_path: Path) -> None:
    text = """
if __name__ == "__main__":
    with Fleet(5, processes=2) as fleet:
        print(fleet.run(mine).values)
"""
    done = run([sys.executable, str(program(tmp_path, text))])
    assert (done.stdout, done.stderr) == ("[(0, 3), (1, 2)]\n", "")


def test_a_script_without_a_guard(tmp_path: Path) -> None:
    text = "with Fleet(5, processes=2) as fleet:\n    print(fleet.run(mine).values)\n"
    done = run([sys.executable, str(program(tmp_path, text))])
    assert done.returncode == 1
    assert 'if __name__ == "__main__"' in done.stderr
    assert done.stdout == ""


def test_an_interactive_session(tmp_path: Path) -> None:
    text = """
with Fleet(5, processes=2) as fleet:
    print([row["count"] for row in fleet.run(fleet_work.look).values])

"""
    done = run([sys.executable, "-i", "-q"], input=program(tmp_path, text).read_text(), cwd=str(tmp_path))
    assert "[3, 2]\n" in done.stdout, done.stderr


@pytest.mark.long
def test_a_hundred_thousand_sockets(tmp_path: Path) -> None:
    text = """
if __name__ == "__main__":
    with Fleet(100_000) as fleet:
        used = open("/proc/thread-self/net/sockstat").readline().split()[2]
        rows = fleet.run(fleet_work.look).values
    assert set(fleet.codes) == {0}
    print(used, fleet.made.sockets, len(rows), max(row["descriptors"] for row in rows))
"""
    limit = 'ulimit -n 20000 || exit 99; exec "$0" "$@"'  # the soft limit and the hard one
    done = run(["sh", "-c", limit, sys.executable, str(program(tmp_path, text))])
    if done.returncode == 99:
        pytest.skip("a hard limit of 20,000 descriptors a process is needed (ulimit -Hn)")
    assert done.returncode == 0, done.stderr
    used, made, processes, descriptors = map(int, done.stdout.split())
    assert made == 100_000
    assert used >= 100_000
    assert processes >= 6
    assert descriptors <= 20_000


@pytest.fixture
def spinning(tmp_path: Path) -> Callable[[], tuple[subprocess.Popen[str], list[int]]]:
    """Start a program whose two workers never return; give it, and their and their children's numbers."""
    folder = tmp_path / "workers"
    folder.mkdir()
    text = f"""
if __name__ == "__main__":
    with Fleet(200, processes=2) as fleet:
        fleet.run(fleet_work.spin, {str(folder)!r})
"""

    def start() -> tuple[subprocess.Popen[str], list[int]]:
        process = subprocess.Popen(
            [sys.executable, str(program(tmp_path, text))], stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 60
        while len(list(folder.iterdir())) < 4:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return process, [int(file.name) for file in folder.iterdir()]

    return start


def test_ctrl_c(spinning: Callable[[], tuple[subprocess.Popen[str], list[int]]]) -> None:
    process, pids = spinning()
    process.send_signal(signal.SIGINT)
    # It takes a second; the deadlines of a minute are not waited for.
    _, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
    assert all(ended(pid) for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_die_with_their_parent(
    spinning: Callable[[], tuple[subprocess.Popen[str], list[int]]], number: signal.Signals
) -> None:
    process, pids = spinning()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number
    assert all(ended(pid) for pid in pids)
