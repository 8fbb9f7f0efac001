"""The engine as a process: without any privilege, gone with its launcher, started again; and the lab."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from accounts import accounts, entry
from real_time import need_real_time

from wsasec.engine import (
    Acquire,
    Control,
    Device,
    Ended,
    Engine,
    EngineError,
    EngineStartError,
    Type,
    udp,
)
from wsasec.engine.process import MEMLOCK
from wsasec.lab import EngineLab, Namespace
from wsasec.profiles import DEFAULT
from wsasec.unprivileged import unprivileged

PATIENCE = 30.0
PORT = 7000
OWN = 61_984  # a user that is not there
NAME = f"ws{DEFAULT.reqid}"
SYSTEM_PYTHON = "/usr/bin/python3"


def becomes(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def is_gone(pid: int) -> bool:
    try:
        return status(pid)["State"].startswith("Z")
    except FileNotFoundError:
        return True


@pytest.fixture
def device(possible: None) -> Iterator[Device]:
    device = Device.create(DEFAULT)
    yield device
    device.remove()


@pytest.fixture
def engine(device: Device, tmp_path: Path) -> Iterator[Engine]:
    with (
        udp(socket.AF_INET) as four,
        udp(socket.AF_INET6) as six,
        Engine.start([device], [four, six], control=tmp_path / "control") as engine,
    ):
        yield engine


def test_it_has_no_privilege(engine: Engine) -> None:
    assert engine.pid
    found = status(engine.pid)
    account = unprivileged()
    if os.geteuid() == 0:
        assert set(found["Uid"].split()) == {str(account.pw_uid)}
        assert set(found["Gid"].split()) == {str(account.pw_gid)}
        assert found["Groups"] == ""
    for sort in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(found[sort], 16) == 0
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    limits = Path(f"/proc/{engine.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]
    # As much as was asked for, or what this process may have itself.
    soft, hard = next(line for line in limits.splitlines() if "locked memory" in line).split()[3:5]
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    assert soft == hard
    assert int(soft) in {MEMLOCK, most}


def test_it_has_nothing_but_what_it_was_handed(engine: Engine) -> None:
    assert engine.pid
    open_files = [os.readlink(path) for path in Path(f"/proc/{engine.pid}/fd").iterdir()]  # noqa: PTH115
    kinds = {name.partition(":")[0] for name in open_files}
    assert kinds <= {"/dev/null", "pipe", "socket", "/dev/net/tun", "anon_inode"}
    assert open_files.count("/dev/net/tun") == 2
    assert Path(f"/proc/{engine.pid}/environ").read_bytes() == b"LC_ALL=C\0"
    words = Path(f"/proc/{engine.pid}/cmdline").read_bytes().split(b"\0")[:-1]
    assert words[:-2] == [b"wsasec-engine", b"--control-fd", b"3", b"--threads", b"1"]
    assert words[-2] == b"--raised"


def test_it_is_told_how_long_to_stay_awake(realm: Namespace) -> None:
    with Engine.start([], [], spin=0) as engine:
        words = Path(f"/proc/{engine.pid}/cmdline").read_bytes().split(b"\0")[:-1]
    assert words[-4:-2] == [b"--spin", b"0"]


def policies(pid: int) -> dict[str, int]:
    """The scheduling policy of each thread, by its name."""
    return {
        (task / "comm").read_text().strip(): os.sched_getscheduler(int(task.name))
        for task in Path(f"/proc/{pid}/task").iterdir()
    }


def test_only_threads_that_sleep_for_packets_are_of_real_time(realm: Namespace) -> None:
    """As it takes CAP_SYS_NICE of whoever starts it, which the engine itself has not."""
    need_real_time()
    ordinary = {"wsasec-engine", "wse-out-0", "wse-in-0", "wse-out-1", "wse-in-1"}
    real_time = {"wse-rt-out-0", "wse-rt-in-0", "wse-rt-out-1", "wse-rt-in-1"}
    with Engine.start([], [], threads=2) as engine:
        assert engine.pid
        found = policies(engine.pid)
    assert {name for name, policy in found.items() if policy == os.SCHED_RR} == real_time
    assert {name for name, policy in found.items() if policy == os.SCHED_OTHER} == ordinary


def test_what_comes_in_goes_before_what_goes_out(realm: Namespace) -> None:
    """That takes the same privilege. Each is as much above or below this process as this is to others."""
    need_real_time()
    own = os.nice(0)
    with Engine.start([], []) as engine:
        assert engine.pid
        found = {
            (task / "comm").read_text().strip(): os.getpriority(os.PRIO_PROCESS, int(task.name))
            for task in Path(f"/proc/{engine.pid}/task").iterdir()
        }
    assert found.pop("wse-in-0") == found.pop("wse-rt-in-0") == max(own - 5, -20)
    assert set(found) == {"wsasec-engine", "wse-out-0", "wse-rt-out-0"}
    assert set(found.values()) == {own}


def test_without_the_privilege_for_real_time_it_does_without(realm: Namespace) -> None:
    code = (
        "import os\n"
        "from wsasec.engine import Engine\n"
        "with Engine.start([], []) as engine:\n"
        "    for task in os.listdir(f'/proc/{engine.pid}/task'):\n"
        "        assert os.getpriority(os.PRIO_PROCESS, int(task)) == os.nice(0)\n"
        "        print(os.sched_getscheduler(int(task)))"
    )
    words = ["setpriv", "--inh-caps=-sys_nice", "--bounding-set=-sys_nice", sys.executable, "-c", code]
    assert realm.run(words).stdout.split() == [str(os.SCHED_OTHER)] * 3


def test_it_takes_over_no_signals(realm: Namespace) -> None:
    blocked = {signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Engine.start([], []) as engine:
            assert engine.pid
            found = status(engine.pid)
            assert int(found["SigBlk"], 16) == 0
            # 32 and 33 are the C library's own, and may be inherited: it lets nobody set them.
            ignored = int(found["SigIgn"], 16) & ~(0b11 << 31)
            assert ignored == 1 << (signal.SIGPIPE - 1)
    finally:
        signal.signal(signal.SIGTERM, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_it_answers_and_ends(engine: Engine) -> None:
    pid = engine.pid
    assert engine.hello().pid == pid
    assert engine.control.totals().devices == 1
    assert engine.control.totals().transports == 2
    assert "wsasec" in engine.control.metrics()
    ended = engine.stop()
    assert ended is not None
    assert ended.code == 0, ended
    assert engine.pid is None
    assert engine.stop() is None
    with pytest.raises(ConnectionError):
        engine.hello()


def test_who_may_speak_to_it(engine: Engine) -> None:
    path = engine.path
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    if os.geteuid() == 0:
        assert path.stat().st_uid == unprivileged().pw_uid
    with engine.connect() as second, Control(path) as third:
        assert second.hello() == third.hello() == engine.hello()
        with pytest.raises(EngineError) as raised:
            second.stop()  # the launcher's alone
        assert raised.value.errno == errno.EPERM
    engine.stop()
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user: run as root")
def test_others_may_not_speak_to_it(realm: Namespace) -> None:
    code = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(20)\n"
        "s.connect(sys.argv[1])\n"
        "try:\n"
        "    s.send(bytes([1, 0, 1, 0, 1, 0, 0, 0]) + bytes(8)); answer = s.recv(1000)\n"
        "except ConnectionError: answer = b''\n"
        "sys.exit(0 if answer == b'' or answer[2] == 65 else 3)"  # WSE_ERROR
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        with Engine.start([], [], control=folder / "control"):
            (folder / "control").chmod(0o666)
            # The system's: that of a virtual environment need not be for other users.
            words = [SYSTEM_PYTHON, "-I", "-c", code, str(folder / "control")]
            assert subprocess.run(words, user=1, check=False).returncode == 0
            assert subprocess.run(words, check=False).returncode == 3  # root may


def test_its_end_is_told(device: Device) -> None:
    told: list[Ended] = []
    event = threading.Event()

    def on_end(ended: Ended) -> None:
        told.append(ended)
        event.set()

    with Engine.start([device], [], on_end=on_end) as engine:
        assert engine.pid
        os.kill(engine.pid, signal.SIGKILL)
        assert event.wait(PATIENCE)
        assert engine.wait(PATIENCE).code == -signal.SIGKILL
        assert not engine.alive
    assert [ended.code for ended in told] == [-signal.SIGKILL]
    assert "SIGKILL" in str(told[0])


def test_it_ends_with_its_launcher(realm: Namespace) -> None:
    code = (
        "import sys, time; from wsasec.engine import Engine\n"
        "engine = Engine.start([], []); print(engine.pid, flush=True); time.sleep(600)"
    )
    with realm.popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout
        pid = int(launcher.stdout.readline())
        assert not is_gone(pid)
        launcher.kill()
    becomes(lambda: is_gone(pid), "the engine is still there")


def test_started_again_it_has_what_it_had(engine: Engine) -> None:
    first = engine.hello()
    assert engine.path is not None
    engine.restart()
    second = engine.hello()
    assert first.instance != second.instance
    assert engine.control.totals().devices == 1
    assert engine.control.totals().transports == 2
    with engine.connect() as other:
        assert other.hello() == second


def test_devices_and_transports_come_and_go(engine: Engine, device: Device) -> None:
    engine.remove_device(device)
    assert engine.control.totals().devices == 0
    engine.add_device(device)
    engine.replace_device(device)
    assert engine.control.totals().devices == 1


def test_what_cannot_be_started_leaves_nothing(
    realm: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "engine"
    with pytest.raises(EngineStartError):
        Engine.start([], [], control=path, program=tmp_path / "nothing")
    assert not path.exists()

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            Engine.start([], [], control=path)
    assert not path.exists()
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    assert not children


def test_without_the_program(device: Device, tmp_path: Path) -> None:
    with pytest.raises(EngineStartError, match="install wsasec from a wheel"):
        Engine.start([device], [], program=tmp_path / "nothing")


@pytest.mark.parametrize(("program", "words"), [("/bin/true", "exit code 0"), ("/bin/false", "exit code 1")])
def test_a_program_that_ends_at_once(device: Device, tmp_path: Path, program: str, words: str) -> None:
    with pytest.raises(EngineStartError, match=words):
        Engine.start([device], [], program=Path(program), control=tmp_path / "control")
    assert not (tmp_path / "control").exists()


def test_what_it_says_at_its_end_is_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(EngineStartError, match=r"PermissionError|Permission denied|Is a directory"):
        Engine.start([], [], program=tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user: run as root")
def test_it_runs_as_its_own_account(tmp_path: Path) -> None:
    with (
        accounts(entry("wsasec", OWN)),
        Engine.start([], [], control=tmp_path / "control") as engine,
    ):
        assert engine.pid
        found = status(engine.pid)
        assert set(found["Uid"].split()) == set(found["Gid"].split()) == {str(OWN)}
        with engine.connect() as other:
            assert other.hello() == engine.hello()
        assert (tmp_path / "control").stat().st_uid == OWN


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root")
def test_without_any_account_it_does_not_start() -> None:
    with accounts(), pytest.raises(EngineStartError, match="no account"):
        Engine.start([], [])


def test_never_as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("run as root")
    with pytest.raises(EngineStartError, match="does not run as root"):
        Engine.start([], [], user="root")
    with pytest.raises(EngineStartError, match="no user"):
        Engine.start([], [], user="nobody-of-this-name")


def test_a_file_at_its_path_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "control").write_text("precious")
    with pytest.raises(FileExistsError, match="no socket"):
        Engine.start([], [], control=tmp_path / "control")
    assert (tmp_path / "control").read_text() == "precious"


def test_in_a_user_namespace_without_other_users(realm: Namespace) -> None:
    code = (
        "from wsasec.engine import Engine\n"
        "with Engine.start([], []) as engine:\n"
        "    print(open(f'/proc/{engine.pid}/status').read())"
    )
    done = realm.run(["unshare", "-Urn", sys.executable, "-c", code])
    lines = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    for sort in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(lines[sort], 16) == 0


def test_a_port_that_is_taken(realm: Namespace) -> None:
    with udp(socket.AF_INET), pytest.raises(OSError, match="UDP port 4500 is taken") as raised:
        udp(socket.AF_INET)
    assert raised.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def test_datagrams_of_one_association_come_to_one_socket(realm: Namespace, family: int) -> None:
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    with udp(family, 3) as transport:
        for spi in range(1000, 1012):
            for _ in range(2):  # from another port each time
                with socket.socket(family, socket.SOCK_DGRAM) as sender:
                    sender.sendto(spi.to_bytes(4, "big") + b"rest", (address, 4500))
        for index, sock in enumerate(transport.sockets):
            spis = []
            while True:
                try:
                    spis.append(int.from_bytes(sock.recv(100)[:4], "big"))
                except BlockingIOError:
                    break
            assert spis == [spi for spi in range(1000, 1012) for _ in range(2) if spi % 3 == index]


def exchange(lab: EngineLab, family: int, size: int = 300_000) -> None:
    """A connection from a to b, some data each way."""
    address = lab.b.v4 if family == socket.AF_INET else lab.b.v6
    data = os.urandom(1000) * (size // 1000)
    with (
        lab.socket(lab.b, family, socket.SOCK_STREAM) as listener,
        lab.socket(lab.a, family, socket.SOCK_STREAM) as client,
    ):
        for sock in (listener, client):
            sock.settimeout(PATIENCE)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, PORT))
        listener.listen()
        client.connect((address, PORT))
        served, _ = listener.accept()
        with served:
            served.settimeout(PATIENCE)
            for one, other in ((client, served), (served, client)):
                sender = threading.Thread(target=one.sendall, args=(data,))
                sender.start()
                received = b""
                while len(received) < len(data) and (part := other.recv(1 << 16)):
                    received += part
                sender.join()
                assert received == data


FAMILIES = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])


@pytest.mark.parametrize("encapsulation", ["udp", "raw"])
def test_the_lab(encapsulation: str) -> None:
    with EngineLab(encapsulation=encapsulation) as lab:  # type: ignore[arg-type]
        for family in (socket.AF_INET, socket.AF_INET6):
            with lab.capture("a") as capture:
                exchange(lab, family)
            assert capture.counts.dropped == 0
            assert capture.counts.clear == 0, capture.counts
            assert capture.counts.esp > 10
        before = {state.name.spi for state in lab.ends["a"].engine.control.sas()}
        lab.rekey()
        after = {state.name.spi for state in lab.ends["a"].engine.control.sas()}
        assert len(before) == len(after) == 4
        assert not before & after
        exchange(lab, socket.AF_INET)
        lab.remove_sas()
        assert lab.ends["a"].engine.control.sas() == []


def test_the_lab_without_rules() -> None:
    with EngineLab(rules=False, threads=2) as lab:
        assert lab.a.run(["nft", "list", "ruleset"]).stdout == ""
        for family in (socket.AF_INET, socket.AF_INET6):
            exchange(lab, family)


@FAMILIES
def test_a_packet_waits_for_its_association(family: int) -> None:
    with EngineLab(keys=False) as lab:
        engine = lab.ends["a"].engine
        address = lab.b.v4 if family == socket.AF_INET else lab.b.v6
        with engine.connect() as control, lab.capture("a") as capture:
            control.subscribe([Type.EVENT_ACQUIRE])
            with (
                lab.socket(lab.b, family, socket.SOCK_DGRAM) as server,
                lab.socket(lab.a, family, socket.SOCK_DGRAM) as client,
            ):
                server.bind((address, PORT))
                server.settimeout(PATIENCE)
                client.sendto(b"it waits", (address, PORT))
                event = control.event(PATIENCE)
                assert isinstance(event, Acquire)
                assert (str(event.destination), event.reqid) == (address, DEFAULT.reqid)
                assert event.destination_port == PORT
                lab.add_sas()
                assert server.recv(100) == b"it waits"
        assert capture.counts.clear == 0, capture.counts


def test_a_device_that_was_removed_is_served_again() -> None:
    with EngineLab() as lab:
        exchange(lab, socket.AF_INET)
        lab.a.run(["ip", "link", "del", NAME])
        keeper = lab.ends["a"].keeper
        assert keeper is not None
        becomes(lambda: not keeper.faults and bool(lab.ends["a"].device.queues), "it is not made again")
        becomes(
            lambda: "alias wsasec" in lab.a.run(["ip", "link", "show", NAME], check=False).stdout,
            "no voucher",
        )
        exchange(lab, socket.AF_INET)


def test_connections_outlive_the_engine() -> None:
    with EngineLab() as lab, lab.capture("a") as capture:
        address = lab.b.v4
        with (
            lab.socket(lab.b, socket.AF_INET, socket.SOCK_STREAM) as listener,
            lab.socket(lab.a, socket.AF_INET, socket.SOCK_STREAM) as client,
        ):
            listener.bind((address, PORT))
            listener.listen()
            client.settimeout(PATIENCE)
            client.connect((address, PORT))
            served, _ = listener.accept()
            with served:
                served.settimeout(PATIENCE)
                pid = lab.ends["a"].engine.pid
                assert pid
                os.kill(pid, signal.SIGKILL)
                lab.ends["a"].engine.wait(PATIENCE)
                client.send(b"sent while nobody encrypts")
                lab.ends["a"].engine.restart()
                lab.remove_sas()
                lab.add_sas()
                assert served.recv(100) == b"sent while nobody encrypts"
    assert capture.counts.clear == 0, capture.counts
