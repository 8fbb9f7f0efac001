"""The lab itself, on a kernel with ESP: what it counts, that it leaves nothing, that keys stay hidden."""

from __future__ import annotations

import errno
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest

from wsasec.lab import Capture, Lab, LabError, Namespace, keys, private

pytestmark = pytest.mark.lab

DEADLINE = 20.0
OWN = Path("/proc/thread-self/ns/net")
FAMILIES = [socket.AF_INET, socket.AF_INET6]


def require_esp(lab: Lab, namespace: Namespace) -> None:
    """Demand ESP of everything between the two addresses, by the system's policies."""
    a, b = (lab.a, lab.b) if namespace is lab.a else (lab.b, lab.a)
    template = f"tmpl proto esp mode transport reqid {lab.profile.reqid}"
    lines = []
    for here, there, size in ((a.v4, b.v4, 32), (a.v6, b.v6, 128)):
        # Not ICMPv6: neighbours must find each other first.
        # By number: a small system has no /etc/protocols.
        for protocol in (int(socket.IPPROTO_TCP), int(socket.IPPROTO_UDP)):
            lines.append(
                f"xfrm policy add src {here}/{size} dst {there}/{size} proto {protocol} dir out {template}"
            )
            lines.append(
                f"xfrm policy add src {there}/{size} dst {here}/{size} proto {protocol} dir in {template}"
            )
    namespace.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")


@pytest.fixture
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture
def secured(lab):
    for namespace in (lab.a, lab.b):
        require_esp(lab, namespace)
    return lab


def address(namespace: Namespace, family: int) -> str:
    return namespace.v4 if family == socket.AF_INET else namespace.v6


def exchange_datagrams(lab: Lab, family: int, count: int, size: int = 100) -> None:
    with (
        lab.b.socket(family, socket.SOCK_DGRAM) as receiver,
        lab.a.socket(family, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind((address(lab.b, family), 0))
        receiver.settimeout(DEADLINE)
        for _ in range(count):
            sender.sendto(bytes(size), receiver.getsockname()[:2])
            assert len(receiver.recv(65536)) == size


def exchange_stream(lab: Lab, family: int, payload: bytes) -> None:
    with lab.b.socket(family) as listener:
        listener.bind((address(lab.b, family), 0))
        listener.listen()
        listener.settimeout(DEADLINE)
        with lab.a.socket(family) as client:
            client.settimeout(DEADLINE)
            client.connect(listener.getsockname()[:2])
            server, _ = listener.accept()
            with server:
                server.settimeout(DEADLINE)
                sender = threading.Thread(target=client.sendall, args=(payload,))
                sender.start()
                received = bytearray()
                while len(received) < len(payload):
                    received += server.recv(65536)
                sender.join(DEADLINE)
                assert received == payload


@pytest.mark.parametrize("end", ["a", "b"])
@pytest.mark.parametrize("family", FAMILIES)
def test_clear_datagrams_are_counted_one_by_one(lab, family, end):
    with lab.capture(end) as capture:
        exchange_datagrams(lab, family, 50)
    counts = capture.counts
    assert (counts.esp, counts.clear, counts.clear_by_state, counts.dropped) == (0, 50, {"UDP": 50}, 0)
    assert len(counts.first_clear) == 16


@pytest.mark.parametrize("end", ["a", "b"])
@pytest.mark.parametrize("family", FAMILIES)
def test_secured_datagrams_are_counted_one_by_one(secured, family, end):
    with secured.capture(end) as capture:
        exchange_datagrams(secured, family, 50)
    assert (capture.counts.esp, capture.counts.clear, capture.counts.dropped) == (50, 0, 0), capture.counts
    assert capture.counts.esp_bytes > 50 * 100


@pytest.mark.parametrize("family", FAMILIES)
def test_fragments_of_esp_are_esp(secured, family):
    with secured.capture() as capture:
        exchange_datagrams(secured, family, 3, size=60000)
    assert capture.counts.clear == 0, capture.counts
    assert capture.counts.esp >= 3 * 40


@pytest.mark.parametrize("family", FAMILIES)
def test_a_clear_stream_is_counted_by_state(lab, family):
    with lab.capture() as capture:
        exchange_stream(lab, family, b"x")
        assert capture.wait(lambda counts: counts.clear_by_state["FIN"] >= 2, DEADLINE)
    states = capture.counts.clear_by_state
    assert states["SYN"] == states["SYN-ACK"] == states["DATA"] == 1
    assert states["FIN"] == 2
    assert not {"UDP", "OTHER", "FRAGMENT"} & set(states)


@pytest.mark.parametrize("family", FAMILIES)
def test_inner_states_are_read_when_nothing_is_encrypted(family):
    with Lab(integrity_only=True) as lab:
        for namespace in (lab.a, lab.b):
            require_esp(lab, namespace)
        with lab.capture() as capture:
            exchange_stream(lab, family, b"x")
            assert capture.wait(lambda counts: counts.inner["FIN"] >= 2, DEADLINE)
    assert capture.counts.clear == 0
    assert capture.counts.inner["SYN"] == capture.counts.inner["SYN-ACK"] == capture.counts.inner["DATA"] == 1


def test_counters_move_and_sas_are_as_they_should_be(secured):
    exchange_datagrams(secured, socket.AF_INET, 10)
    for namespace in (secured.a, secured.b):
        sas = namespace.sas()
        assert len(sas) == 4
        assert {(sa.algorithm, sa.mode, sa.esn, sa.replay_window) for sa in sas} == {
            ("rfc4106(gcm(aes))", "transport", True, 1024)
        }
        assert {sa.reqid for sa in sas} == {secured.profile.reqid}
        assert {sa.set_mark for sa in sas} == {(secured.profile.mark, secured.profile.mask)}
        moved = {(sa.src, sa.dst): sa.packets for sa in sas if sa.packets}
        assert moved == {(secured.a.v4, secured.b.v4): 10}


def test_a_large_stream_is_captured_without_loss(secured):
    with secured.capture() as capture:
        exchange_stream(secured, socket.AF_INET, bytes(4 << 20))
    assert capture.counts.clear == 0, capture.counts
    assert capture.counts.dropped == 0
    assert capture.counts.esp_bytes > 4 << 20


def test_wait_ends_at_its_deadline(lab):
    with lab.capture() as capture:
        start = time.monotonic()
        assert not capture.wait(lambda counts: counts.esp > 0, 0.2)
        assert 0.2 <= time.monotonic() - start < DEADLINE


def test_captures_leave_no_thread_and_no_descriptor(lab):
    with lab.capture():
        pass
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for _ in range(5):
        with lab.capture():
            pass
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before


def test_rekey_loses_nothing_and_leaves_one_generation(secured):
    stop = threading.Event()
    failures: list[BaseException] = []
    moved = 0

    def stream() -> None:
        nonlocal moved
        try:
            with (
                secured.b.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
                secured.a.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
            ):
                receiver.bind((secured.b.v4, 7777))
                receiver.settimeout(DEADLINE)
                while not stop.is_set():
                    sender.sendto(b"x", (secured.b.v4, 7777))
                    receiver.recv(10)
                    moved += 1
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    with secured.capture() as capture:
        thread = threading.Thread(target=stream)
        thread.start()
        generations = []
        for _ in range(5):
            assert capture.wait(lambda counts, goal=capture.counts.esp + 20: counts.esp >= goal, DEADLINE)
            generations.append({sa.spi for sa in secured.b.sas()})
            secured.rekey()
        stop.set()
        thread.join(DEADLINE)
    assert not failures
    assert moved > 50
    assert (capture.counts.clear, capture.counts.dropped) == (0, 0), capture.counts
    assert capture.counts.esp == moved
    last = {sa.spi for sa in secured.b.sas()}
    assert len(last) == 4
    for old in generations:
        assert not old & last


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def test_what_was_added_last_is_what_is_sent_under(secured, family):
    """Also once the kernel's table of associations has grown, which turns the order of its entries."""
    for _ in range(3):
        exchange_stream(secured, family, b"before")
        old = secured.packets(secured.a).keys()
        secured.add_sas()
        before = secured.packets(secured.a)
        exchange_stream(secured, family, b"after")
        now = secured.packets(secured.a)
        assert {spi: now[spi] for spi in old} == {spi: before[spi] for spi in old}
        assert any(now[spi] for spi in now.keys() - old)


def test_without_sas_nothing_leaves(secured):
    secured.remove_sas()
    assert secured.a.sas() == secured.b.sas() == []
    with secured.capture() as capture, secured.a.socket() as client:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.connect((secured.b.v4, 9))
    assert (capture.counts.esp, capture.counts.clear) == (0, 0)
    secured.add_sas(ipv6=False)
    assert len(secured.a.sas()) == 2
    exchange_stream(secured, socket.AF_INET, b"again")


def test_keys_are_on_no_command_line_and_in_no_environment(monkeypatch):
    drawn: list[bytes] = []
    real = secrets.token_bytes

    def record(size: int) -> bytes:
        drawn.append(real(size))
        return drawn[-1]

    monkeypatch.setattr(keys.secrets, "token_bytes", record)
    seen: list[bytes] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for entry in Path("/proc").iterdir():
                if entry.name.isdecimal():
                    for name in ("cmdline", "environ"):
                        try:
                            seen.append((entry / name).read_bytes())
                        except OSError:
                            continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        with Lab() as lab:
            lab.rekey()
            output = lab.a.policies() + repr(lab.a.sas()) + repr(lab)
    finally:
        stop.set()
        thread.join(DEADLINE)
    assert len(drawn) >= 8
    assert len(set(drawn)) == len(drawn)
    everything = b"".join(set(seen)) + output.encode()
    for key in drawn:
        assert key not in everything
        assert key.hex().encode() not in everything.lower()


def test_a_refused_sa_shows_no_key(lab, monkeypatch):
    drawn: list[bytes] = []
    real = secrets.token_bytes
    monkeypatch.setattr(keys.secrets, "token_bytes", lambda size: drawn.append(real(size)) or drawn[-1])
    monkeypatch.setattr("wsasec.lab.topology.draw_spi", lambda: 0x5000)
    lab.add_sas(ipv6=False)
    try:
        lab.add_sas(ipv6=False)
    except OSError as error:
        refused = error
    assert refused.errno == errno.EEXIST
    # All that a test runner or a crash report shows: the arguments and the locals of every frame of the lab.
    report = repr(traceback.TracebackException.from_exception(refused, capture_locals=True))
    shown = [repr(refused), report]
    trace = refused.__traceback__.tb_next
    while trace is not None:
        shown += [f"{value!r} {value!s}" for value in trace.tb_frame.f_locals.values()]
        trace = trace.tb_next
    for key in drawn:
        for text in shown:
            assert key.hex() not in text
            assert repr(key)[2:-1] not in text


def test_entered_returns_also_on_exceptions(lab):
    outside = OWN.readlink()
    with pytest.raises(KeyError), lab.a.entered():  # noqa: PT012
        assert OWN.readlink() != outside
        raise KeyError
    assert OWN.readlink() == outside


def test_commands_run_inside(lab):
    assert "a0@" in lab.a.run(["ip", "-br", "link"]).stdout
    done = subprocess.run(
        lab.b.command(["ip", "-br", "link"]), capture_output=True, text=True, timeout=30, check=True
    )
    assert "b0@" in done.stdout
    with pytest.raises(subprocess.CalledProcessError):
        lab.a.run(["false"])
    assert lab.a.run(["false"], check=False).returncode == 1
    with pytest.raises(FileNotFoundError):
        lab.a.run(["no-such-command"])
    with pytest.raises(subprocess.TimeoutExpired):
        lab.a.run(["sleep", "60"], timeout=0.2)


def test_sysctls_are_those_inside(lab):
    assert lab.a.sysctl("net.ipv4.tcp_syncookies", 2) == "2"
    assert lab.b.sysctl("net.ipv4.tcp_syncookies") == "1"
    with pytest.raises(FileNotFoundError):
        lab.a.sysctl("net.ipv4.no_such_thing")


def test_private_is_a_world_of_its_own():
    outside = OWN.readlink()
    with private() as namespace:
        assert OWN.readlink() != outside
        assert [name for _, name in socket.if_nameindex()] == ["lo"]
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), DEADLINE).close()
    assert OWN.readlink() == outside
    with pytest.raises(LabError, match="closed"):
        namespace.run(["true"])


def test_the_mtu_is_the_wires():
    with Lab(mtu=1280, keys=False) as lab, lab.capture() as capture:
        exchange_datagrams(lab, socket.AF_INET6, 1, size=3000)
    assert capture.counts.clear_by_state == {"UDP": 1, "FRAGMENT": 2}


def test_the_end_kills_what_runs_inside():
    with Lab(keys=False) as lab:
        process = lab.b.popen(["sleep", "600"])
        stray = subprocess.Popen(lab.a.command(["setsid", "sleep", "600"]))
        while "sleep" not in Path(f"/proc/{stray.pid}/comm").read_text():
            assert stray.poll() is None
    assert process.wait(DEADLINE) == -signal.SIGKILL
    assert stray.wait(DEADLINE) == -signal.SIGKILL


HOLDER = """
import sys
from wsasec.lab import Lab
lab = Lab().__enter__()
child = lab.a.popen(["sleep", "600"])
print(child.pid, lab.a.identity[1], lab.b.identity[1], flush=True)
sys.stdin.read()
"""


def namespaces_in_use() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                found.add((entry / "ns/net").stat().st_ino)
            except OSError:
                continue
    return found


def named() -> set[str]:
    folder = Path("/run/netns")
    return {entry.name for entry in folder.iterdir()} if folder.exists() else set()


def test_nothing_is_left_after_sigkill():
    before = named()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        child, *inodes = map(int, holder.stdout.readline().split())
        descriptor = os.pidfd_open(child)
        assert inodes[0] in namespaces_in_use()
        holder.kill()
    with os.fdopen(descriptor):
        # Its end is an event to wait for.
        assert select.select([descriptor], [], [], DEADLINE)[0]
    assert not set(inodes) & namespaces_in_use()
    assert named() <= before


def test_a_capture_of_a_closed_namespace_is_refused():
    with Namespace("short") as namespace:
        pass
    with pytest.raises(LabError, match="closed"), Capture(namespace):
        pass
