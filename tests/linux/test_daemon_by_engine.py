"""`wsasec up` at both ends, for profiles on devices: charon, the plugin, the engine, on this kernel."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from charon_plugin import plugin
from daemon_hosts import Host, open_folder, two_hosts
from device_wire import try_to_send
from esp_packets import outer_packets
from secure_device import one_call
from wire import Stream, receive, run_streams, wait_for

import wsasec
from wsasec import engine, profiles
from wsasec.engine.rules import held_name
from wsasec.engine.transports import _RECEIVED
from wsasec.keys.plugin import ENVIRONMENT, built_for
from wsasec.keys.strongswan import find_charon, version_of
from wsasec.lab import Capture, Lab, parse

DEVICE = """
[profile.default]
carrier = "device"
"""
FAMILIES = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
LONG = 20.0
# From where charon draws SPIs: at port 4500 these are the first word of ESP, and IKE begins with zero.
SPIS = range(0xC0000000, 0xD0000000)


class Hosts:
    """Two hosts, whose daemons are up."""

    def __init__(self, lab: Lab, a: Host, b: Host, folder: Path) -> None:
        self.lab, self.a, self.b, self.folder = lab, a, b, folder

    def capture(self) -> Capture:
        return Capture(self.lab.a, spis=SPIS)

    def address(self, family: socket.AddressFamily, host: str = "b") -> str:
        end = self.lab.a if host == "a" else self.lab.b
        return end.v4 if family == socket.AF_INET else end.v6

    @contextmanager
    def secured(
        self, host: str, family: socket.AddressFamily, kind: int = socket.SOCK_STREAM
    ) -> Iterator[socket.socket]:
        namespace = self.lab.a if host == "a" else self.lab.b
        with namespace.entered(), socket.socket(family, kind) as sock:
            wsasec.secure(sock)
            sock.settimeout(LONG)
            yield sock

    @contextmanager
    def door(self, family: socket.AddressFamily, kind: int = socket.SOCK_STREAM) -> Iterator[socket.socket]:
        with self.secured("b", family, kind) as sock:
            sock.bind((self.address(family), 0))
            if kind == socket.SOCK_STREAM:
                sock.listen(64)
            yield sock

    @contextmanager
    def connection(
        self, family: socket.AddressFamily = socket.AF_INET
    ) -> Iterator[tuple[socket.socket, socket.socket]]:
        with self.door(family) as door, self.secured("a", family) as client:
            with self.lab.a.entered():
                wsasec.connect(client, door.getsockname(), LONG)
            server, _ = door.accept()
            with server:
                for each in (client, server):
                    each.settimeout(LONG)
                yield client, server

    def spis(self, host: Host) -> set[str]:
        peers = host.status()["peers"]
        return {
            one["spi_in"] for peer in peers for one in peer["associations"] if one["state"] == "INSTALLED"
        }


@contextmanager
def made(folder: Path, more: str = "", rules: str = "") -> Iterator[Hosts]:
    before = profiles.active()
    with two_hosts(folder) as (lab, a, b):
        for host in (a, b):
            host.configure(DEVICE + more + rules)
        # This process is the programs on both hosts, which have one configuration.
        profiles.use(profiles.load([a.config]))
        try:
            yield Hosts(lab, a, b, folder)
        finally:
            profiles.use(before)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root: charon and the engine are other users' processes")
    if lacks := engine.missing():
        pytest.skip("; ".join(lacks))
    monkeypatch.setenv(ENVIRONMENT, str(plugin()))
    with open_folder() as made_folder:
        monkeypatch.setenv("WSASEC_RUN", str(made_folder / "run"))
        yield made_folder


@pytest.fixture
def hosts(folder: Path) -> Iterator[Hosts]:
    with made(folder) as two:
        two.a.up()
        two.b.up()
        yield two


def exchange(client: socket.socket, server: socket.socket, size: int = 1 << 18) -> None:
    run_streams(Stream(client, server, size), Stream(server, client, size))


def nothing_clear(counts: Any) -> None:
    assert counts.dropped == 0
    assert counts.clear == 0, (dict(counts.clear_by_state), [frame.hex() for frame in counts.first_clear])
    assert counts.esp > 0


def only_refusals_clear(counts: Any, family: int) -> None:
    """While nobody has the port the kernel says so to the peer: it quotes the ESP, or the IKE, that came."""
    assert counts.dropped == 0
    assert counts.esp > 0
    assert counts.clear == len(counts.first_clear), dict(counts.clear_by_state)
    header = 14 + (20 if family == socket.AF_INET else 40)
    for frame in counts.first_clear:
        assert parse(frame).state == ("ICMP" if family == socket.AF_INET else "ICMPV6"), frame.hex()
        quoted = frame[:14] + frame[header + 8 :]
        if parse(quoted).group != "ike":
            packets, _ = outer_packets([quoted])
            assert [int.from_bytes(each.esp[:4], "big") in SPIS for each in packets] == [True], frame.hex()


def test_streams_and_datagrams_are_secured(hosts: Hosts) -> None:
    """Of both families, whoever begins; on the wire there is IKE and ESP."""
    with hosts.capture() as wire:
        for family in (socket.AF_INET, socket.AF_INET6):
            with hosts.connection(family) as (client, server):
                exchange(client, server)
                with hosts.lab.a.entered():
                    found = wsasec.query(client)
                with hosts.lab.b.entered():
                    back = wsasec.query(server)
                assert (found.secured, found.encrypted, found.peer) == (True, True, "b.example")
                assert (back.secured, back.encrypted, back.peer) == (True, True, "a.example")
                assert found.association is not None
                assert back.association is not None
                assert found.association.spi_in == back.association.spi_out
                assert (found.association.encryption_bits, found.association.esn) == (256, True)
            with (
                hosts.door(family, socket.SOCK_DGRAM) as door,
                hosts.secured("a", family, socket.SOCK_DGRAM) as sock,
            ):
                for size in (1, 1000, 1400):
                    data = os.urandom(size)
                    sock.sendto(data, door.getsockname())
                    got, sender = door.recvfrom(10_000)
                    assert got == data
                    door.sendto(data[::-1], sender)
                    assert sock.recv(10_000) == data[::-1]
    nothing_clear(wire.counts)
    (device,) = hosts.a.status()["engine"]["devices"]
    assert (device["name"], device["faults"]) == (f"ws{profiles.DEFAULT.reqid}", [])
    totals = hosts.a.status()["engine"]["totals"]
    assert totals["sent_packets"] > 0
    assert totals["received_packets"] > 0


def test_one_call_is_the_configurations(folder: Path) -> None:
    with made(folder) as two:
        two.a.configure("\n[daemon]\none_call = false\n")
        said = {}
        for name, host in (("a", two.a), ("b", two.b)):
            host.up()
            (device,) = host.status()["engine"]["devices"]
            said[name] = device["one_call"]
        assert said["a"] == "it was not asked for"
        with two.lab.b.entered():
            one_call(profiles.DEFAULT, socket.if_nametoindex(f"ws{profiles.DEFAULT.reqid}")).close()
        assert said["b"] == ""


def test_a_packet_alone_has_keys_made(hosts: Hosts) -> None:
    """Nobody asks the daemon: the engine has a datagram, holds it, and tells; it arrives."""
    with (
        hosts.capture() as wire,
        hosts.door(socket.AF_INET, socket.SOCK_DGRAM) as door,
        hosts.secured("a", socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.sendto(b"held", door.getsockname())
        assert door.recv(100) == b"held"
    nothing_clear(wire.counts)
    # It is listed once charon has put it away, after the datagram went out.
    assert len(wait_for(lambda: hosts.spis(hosts.a), "the association is listed", LONG)) == 1


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@FAMILIES
@pytest.mark.parametrize("which", ["engine", "charon"])
def test_connections_outlive(hosts: Hosts, which: str, family: socket.AddressFamily) -> None:
    """Killed at one end: the daemon starts it again, keys are made anew, nothing is sent in clear."""
    other = socket.AF_INET6 if family == socket.AF_INET else socket.AF_INET
    with hosts.capture() as wire, hosts.connection(family) as (client, server):
        exchange(client, server)
        before = hosts.spis(hosts.a)
        said = hosts.a.status()[which]
        kill(said["pid"])
        exchange(client, server)
        wait_for(lambda: hosts.a.status()[which]["restarts"] == 1, "it is started again", LONG)
        now = hosts.a.status()[which]
        assert now["alive"]
        assert now["pid"] != said["pid"]
        exchange(client, server)
        assert not before & hosts.spis(hosts.a)
        with hosts.connection(other) as others:
            exchange(*others)
    nothing_clear(wire.counts)


def test_sockets_of_the_plugin_have_long_queues(hosts: Hosts) -> None:
    """Also those of a charon that was started anew, and of one that gives them to another engine."""
    threads = hosts.a.status()["engine"]["threads"]

    def lengths() -> list[int]:
        with hosts.lab.a.entered():
            shown = subprocess.run(
                ["ss", "-Huanm", "sport", "=", "4500"], check=True, capture_output=True, text=True
            ).stdout
        return [int(each) for each in re.findall(r"skmem:\(.*?,rb(\d+),", shown)]

    def are_long() -> bool:
        # One of charon's own for each family, and of each the engine's. Linux counts double (socket(7)).
        found = lengths()
        return len(found) == 2 * threads + 2 and found.count(2 * _RECEIVED) == 2 * threads

    for part in ("", "charon", "engine"):
        if part:
            kill(hosts.a.status()[part]["pid"])
            wait_for(lambda part=part: hosts.a.status()[part]["restarts"], "it is started again", LONG)
        wait_for(are_long, f"queues are long: {part or 'at first'}", LONG)
        with hosts.connection() as ends:
            exchange(*ends)


@FAMILIES
def test_connections_outlive_the_daemon(hosts: Hosts, family: socket.AddressFamily) -> None:
    """Killed with all that it started: nothing leaves the host until another one is up, then they go on."""
    with (
        hosts.capture() as wire,
        hosts.connection(family) as (client, server),
        hosts.secured("a", family, socket.SOCK_DGRAM) as sender,
    ):
        exchange(client, server)
        sender.connect((hosts.address(family), 9))
        status = hosts.a.status()
        kill(status["pid"])
        for part in ("engine", "charon"):
            wait_for(lambda part=part: not is_there(status[part]["pid"]), f"the {part} ends, too", LONG)
        client.sendall(b"later")
        for _ in range(20):
            try_to_send(sender)
        hosts.a.up()
        assert receive(server, 5) == b"later"
        exchange(client, server)
    only_refusals_clear(wire.counts, family)


def test_renewed_under_traffic(folder: Path) -> None:
    """Every second: no byte is lost, and none is in clear."""
    with made(folder, "rekey_seconds = 2\n") as two:
        two.a.up()
        two.b.up()
        with two.capture() as wire, two.connection() as (client, server):
            seen: set[str] = set()
            until = time.monotonic() + LONG
            while len(seen) < 4:
                assert time.monotonic() < until, seen
                exchange(client, server)
                seen |= two.spis(two.a)
        nothing_clear(wire.counts)


def test_wrong_peer_gets_nothing(folder: Path) -> None:
    """b believes another CA: there are no keys, the error says why, and nothing is sent."""
    with made(folder) as two:
        rogue = folder / "rogue"
        rogue.mkdir()
        other = Authority(rogue, "ca")
        text = two.b.config.read_text().replace('ca = ["ca.crt"]', f'ca = ["{other.certificate}"]')
        two.b.config.write_text(text)
        two.a.up()
        two.b.up()
        with two.capture() as wire, two.door(socket.AF_INET) as door:
            with two.secured("a", socket.AF_INET) as sock:
                with two.lab.a.entered(), pytest.raises(wsasec.SecurityError) as caught:
                    wsasec.negotiate(door.getsockname(), timeout=LONG)
                assert caught.value.winsock == wsasec.Winsock.WSAEACCES
                with two.lab.a.entered(), pytest.raises(wsasec.SecurityError) as caught:
                    wsasec.connect(sock, door.getsockname(), LONG)
                assert caught.value.winsock == wsasec.Winsock.WSAEACCES
                assert "authentication" in str(caught.value)
            with two.secured("a", socket.AF_INET) as sock:
                sock.setblocking(False)
                with two.lab.a.entered(), pytest.raises(wsasec.SecurityError, match="authentication"):
                    asyncio.run(wsasec.aio.connect(sock, door.getsockname(), LONG))
            with two.lab.a.entered(), wsasec.SocketBatch(20) as batch:
                with pytest.raises(wsasec.ConnectError, match="authentication") as refused:
                    batch.connect(door.getsockname(), timeout=LONG)
                assert set(refused.value.codes) == {wsasec.Winsock.WSAEACCES}
            with two.secured("a", socket.AF_INET) as sock:
                sock.setblocking(False)
                assert sock.connect_ex(door.getsockname()) == errno.EINPROGRESS
                # The engine asks again each second, as the kernel sends again.
                time.sleep(1.5)
                assert sock.connect_ex(door.getsockname()) == errno.EALREADY
            door.setblocking(False)
            with pytest.raises(BlockingIOError):
                door.accept()
        assert (wire.counts.clear, wire.counts.esp) == (0, 0)


def test_names_are_held_against_the_peer(hosts: Hosts) -> None:
    """A name that is true connects; one that is not sends nothing."""
    with hosts.capture() as wire, hosts.door(socket.AF_INET) as door:
        with hosts.secured("a", socket.AF_INET) as sock, hosts.lab.a.entered():
            wsasec.set_peer_target_name(sock, "b.example")
            with pytest.raises(PermissionError):
                sock.connect(door.getsockname())
            wsasec.connect(sock, door.getsockname(), LONG)
            sock.settimeout(LONG)
            server, _ = door.accept()
            with server:
                server.settimeout(LONG)
                exchange(sock, server)
        door.setblocking(False)
        with hosts.secured("a", socket.AF_INET) as sock, hosts.lab.a.entered():
            wsasec.set_peer_target_name(sock, "c.example")
            with pytest.raises(wsasec.SecurityError, match=r"b\.example"):
                wsasec.connect(sock, door.getsockname(), LONG)
            with pytest.raises(PermissionError):
                sock.connect(door.getsockname())
        with pytest.raises(BlockingIOError):  # nobody was there
            door.accept()
        with (
            hosts.door(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            hosts.secured("a", socket.AF_INET, socket.SOCK_DGRAM) as sock,
            hosts.lab.a.entered(),
        ):
            peer = datagrams.getsockname()
            with pytest.raises(wsasec.SecurityError, match=r"b\.example"):
                wsasec.set_peer_target_name(sock, "c.example", peer=peer)
            with pytest.raises(PermissionError):
                sock.sendto(b"secret", peer)
            wsasec.delete_peer_target_name(sock, peer)
            wsasec.set_peer_target_name(sock, "b.example", peer=peer)
            sock.sendto(b"hello", peer)
            assert datagrams.recv(100) == b"hello"
    nothing_clear(wire.counts)


# It becomes another user only then: Python may be where that one cannot go.
PROGRAM = """
import os, socket, sys, wsasec, wsasec.sockets, wsasec.asking, wsasec.config.document, wsasec.daemon.client
wsasec.profiles.active()
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
address = (sys.argv[1], int(sys.argv[2]))
socks = [socket.socket() for _ in range(20)]
wsasec.secure_many(socks)
for sock in socks:
    wsasec.connect(sock, address, timeout=20)
assert wsasec.query(socks[0]).peer == "b.example"
socks[0].sendall(b"hello")
print("done", flush=True)
"""


def test_a_program_without_privileges(folder: Path) -> None:
    """The daemon secures its sockets, and says who the peer is."""
    with made(folder, rules="\n[[access]]\neveryone = true\n") as two:
        two.a.up()
        two.b.up()
        known = folder / "programs.toml"
        known.write_text(DEVICE)
        known.chmod(0o644)
        with two.capture() as wire, two.door(socket.AF_INET) as door:
            host, port = door.getsockname()
            process = two.lab.a.popen(
                ["env", f"WSASEC_CONFIG={known}", sys.executable, "-c", PROGRAM, host, str(port)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            with process:
                out, _ = process.communicate(timeout=60)
            assert (process.returncode, out) == (0, "done\n")
            server, _ = door.accept()
            with server:
                server.settimeout(LONG)
                assert receive(server, 5) == b"hello"
        nothing_clear(wire.counts)


def device_there(host: Host) -> bool:
    with host.namespace.entered():
        return any(name == f"ws{profiles.DEFAULT.reqid}" for _, name in socket.if_nameindex())


def test_down_removes_what_nobody_uses_but_what_holds_the_mark(hosts: Hosts) -> None:
    assert device_there(hosts.a)
    hosts.a.wsasec("down")
    wait_for(lambda: not device_there(hosts.a), "the device is removed", LONG)
    assert hosts.lab.a.run(["nft", "list", "tables"]).stdout.split("\n") == [
        f"table inet {held_name(profiles.DEFAULT)}",
        "",
    ]


@FAMILIES
def test_down_leaves_what_is_used_shut(hosts: Hosts, family: socket.AddressFamily) -> None:
    """A connection that is there sends nothing, until the daemon is up again; then it goes on."""
    with hosts.capture() as wire, hosts.connection(family) as (client, server):
        exchange(client, server)
        hosts.a.wsasec("down")
        assert device_there(hosts.a)
        client.sendall(b"later")
        with hosts.lab.a.entered(), socket.socket(family) as sock, pytest.raises(wsasec.SecurityError):
            wsasec.secure(sock)
        hosts.a.up()
        assert receive(server, 5) == b"later"
        exchange(client, server)
    only_refusals_clear(wire.counts, family)


def mixed(host: Host) -> None:
    host.configure('\n[profile.other]\nguid = "e6d8b7b4-3a0e-4c3c-9f0a-0d3a9e0c5b11"\n')
    host.configure("reqid = 500\nmark = 0x01000000\nmask = 0xff000000\n")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (mixed, "profile 'default' is carried by a device and profile 'other' by the kernel"),
        (lambda host: host.configure('proposals = ["aes256-sha256"]\n'), "a device has aes256gcm16"),
        (lambda host: host.configure('\n[daemon]\nvici = "unix:///run/charon.vici"\n'), "a charon of others"),
    ],
)
def test_what_one_daemon_cannot_carry_is_refused(
    folder: Path, change: Callable[[Host], None], why: str
) -> None:
    with made(folder) as two:
        change(two.a)
        assert why in two.a.up(code=1)
        assert not device_there(two.a)


def test_plugin_that_charon_cannot_load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and nothing is left: no engine, no device."""
    wrong = folder / "plugin.so"
    installed = version_of(find_charon())
    wrong.write_text(f"no library, kernel-wsasec for strongSwan {installed}\0")
    monkeypatch.setenv(ENVIRONMENT, str(wrong))
    with made(folder) as two:
        assert "charon ended at once" in two.a.up(code=1)
        assert not device_there(two.a)
        monkeypatch.setenv(ENVIRONMENT, str(folder / "nowhere"))
        assert "make charon-plugin" in two.a.up(code=1)


def test_plugin_of_another_strongswan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """charon would not notice; the daemon says what is wrong, and leaves nothing."""
    installed = version_of(find_charon())
    assert installed is not None
    other = installed[:-1] + chr(ord("0") + (int(installed[-1]) + 1) % 10)
    built = plugin().read_bytes()
    assert built_for(plugin()) == installed
    wrong = folder / "plugin.so"
    wrong.write_bytes(built.replace(f"strongSwan {installed}\0".encode(), f"strongSwan {other}\0".encode()))
    monkeypatch.setenv(ENVIRONMENT, str(wrong))
    with made(folder) as two:
        said = two.a.up(code=1)
        assert f"for strongSwan {other}, and {installed} is installed: run `make charon-plugin`" in said
        assert not device_there(two.a)


def test_another_carrier_is_not_loaded(hosts: Hosts) -> None:
    """By reload, or by a program; what there is goes on."""
    good = hosts.a.config.read_text()
    hosts.a.config.write_text(good.replace('carrier = "device"', 'carrier = "policy"'))
    assert "run wsasec down, wsasec up" in hosts.a.wsasec("reload", code=1)
    hosts.a.config.write_text(good)
    mixed(hosts.a)
    assert "a key daemon does one of the two" in hosts.a.wsasec("reload", code=1)
    hosts.a.config.write_text(good)
    hosts.a.wsasec("reload")
    with hosts.connection() as (client, server):
        exchange(client, server)


def test_more_profiles_have_devices_of_their_own(hosts: Hosts) -> None:
    for host in (hosts.a, hosts.b):
        mixed(host)
        host.configure('carrier = "device"\n')
        host.wsasec("reload")
        names = {device["name"] for device in host.status()["engine"]["devices"]}
        assert names == {f"ws{profiles.DEFAULT.reqid}", "ws500"}
        assert not any(device["faults"] for device in host.status()["engine"]["devices"])
    with hosts.connection() as (client, server):
        exchange(client, server)
    for host in (hosts.a, hosts.b):
        host.config.write_text(host.config.read_text().partition("\n[profile.other]")[0])
        host.wsasec("reload")
        assert [device["name"] for device in host.status()["engine"]["devices"]] == [
            f"ws{profiles.DEFAULT.reqid}"
        ]
        with host.namespace.entered():
            assert "ws500" not in {name for _, name in socket.if_nameindex()}


def test_status_is_shown(hosts: Hosts) -> None:
    said = hosts.a.wsasec("status")
    assert f"ws{profiles.DEFAULT.reqid} for default" in said
    assert f"engine {hosts.a.status()['engine']['pid']}" in said


def test_engine_and_charon_have_no_privilege(hosts: Hosts) -> None:
    status = hosts.a.status()
    for which in ("engine", "charon"):
        lines = Path(f"/proc/{status[which]['pid']}/status").read_text().splitlines()
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        bind_service = 1 << 10 if which == "charon" else 0
        assert int(fields["CapEff"], 16) & ~bind_service == 0, which
        assert fields["Uid"].split()[0] != "0"
        assert fields["NoNewPrivs"] == "1"
    control = Path(status["folder"]) / "charon/engine/control"
    assert control.is_socket()
    code = (
        "import os, socket, sys; os.setresuid(65534, 65534, 65534); "
        "socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(sys.argv[1])"
    )
    done = hosts.lab.a.run([sys.executable, "-c", code, str(control)], check=False)
    assert "PermissionError" in done.stderr  # though it is the engine's user: the folder is root's
