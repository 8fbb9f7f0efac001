"""The devices of a daemon: an engine that ends is started again, and what could not be had is tried anew."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from disconnected import disconnect

import wsasec
from wsasec import profiles
from wsasec.daemon import devices
from wsasec.daemon.devices import Devices
from wsasec.engine import Device, Engine, Keeper, tun
from wsasec.engine.rules import held_name
from wsasec.kernel.links import LinkSocket
from wsasec.lab import Lab
from wsasec.profiles import DEFAULT, Profile

PATIENCE = 20.0
PORT = 7000
CARRIED = replace(DEFAULT, carrier="device")
OTHER = Profile("other", uuid.UUID(int=5), 7, 0x58000000, 0xFF000000)
WITHOUT_TABLE = Profile("reserved", uuid.UUID(int=6), 0x57000000 ^ 254, 0x59000000, 0xFF000000)


def becomes(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture
def kept(possible: None, tmp_path: Path) -> Iterator[Devices]:
    kept = Devices(tmp_path / "engine")
    kept.start([DEFAULT])
    try:
        yield kept
    finally:
        kept.stop()


def names() -> set[str]:
    with LinkSocket() as links:
        return {each.name for each in links.links() if each.kind == "tun"}


def test_an_engine_that_ends_again_and_again_is_waited_for(
    kept: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    wait = kept._stopping.wait

    def note(pause: float) -> bool:
        pauses.append(pause)
        return wait(pause)

    monkeypatch.setattr(kept._stopping, "wait", note)
    for count in range(5):
        pid = kept.status()["pid"]
        os.kill(pid, signal.SIGKILL)
        becomes(lambda done=count: kept.status()["restarts"] > done, "it was not started again")  # type: ignore[misc]
    assert pauses == [devices._FIRST_PAUSE * 2**count for count in range(5)]


def test_each_engine_stays_awake_as_configured(possible: None, tmp_path: Path) -> None:
    kept = Devices(tmp_path / "engine", 70)
    kept.start([DEFAULT])
    try:
        for count in range(2):
            pid = kept.status()["pid"]
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            assert words[words.index(b"--spin") + 1] == b"70"
            os.kill(pid, signal.SIGKILL)
            becomes(lambda done=count: kept.status()["restarts"] > done, "it was not started again")  # type: ignore[misc]
    finally:
        kept.stop()


def test_what_the_engine_refused_is_tried_anew(kept: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "no room")

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "add_device", refuse)
        with pytest.raises(OSError, match="no room"):
            kept.use([DEFAULT, OTHER])
    assert names() == {f"ws{DEFAULT.reqid}"}
    kept.use([DEFAULT, OTHER])
    assert {each["name"]: each["faults"] for each in kept.status()["devices"]} == {
        f"ws{DEFAULT.reqid}": [],
        f"ws{OTHER.reqid}": [],
    }


def test_a_keeper_that_did_not_start_is_tried_anew(kept: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(24, "no descriptors")

    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "start", fail)
        with pytest.raises(OSError, match="no descriptors"):
            kept.use([DEFAULT, OTHER])
    kept.use([DEFAULT, OTHER])
    assert not any(each["faults"] for each in kept.status()["devices"])


def test_without_a_routing_table_there_is_no_device(kept: Devices) -> None:
    with pytest.raises(ValueError, match="routing table"):
        kept.use([DEFAULT, WITHOUT_TABLE])
    assert names() == {f"ws{DEFAULT.reqid}"}


@pytest.fixture
def wire(possible: None, lab: Lab, tmp_path: Path) -> Iterator[tuple[Lab, Devices]]:
    """A host with devices that an engine serves, and another one."""
    kept = Devices(tmp_path / "engine")
    kept.start([CARRIED, OTHER])
    try:
        yield lab, kept
    finally:
        kept.stop()


def secured(family: int, *, leaves: bool, peer: str) -> socket.socket:
    """A datagram socket that is on no device by what the kernel lists: unbound, or gone from its binding."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    wsasec.secure(sock, wsasec.IpsecSettings(qm_policy=CARRIED))
    if leaves:
        sock.connect((peer, PORT))
        disconnect(sock)
    return sock


def can_be_secured() -> bool:
    with socket.socket() as sock:
        try:
            wsasec.secure(sock, wsasec.IpsecSettings(qm_policy=CARRIED))
        except wsasec.SecurityError as error:
            if "nftables changed" not in str(error):
                raise
            return False
    return True


def killed(kept: Devices) -> None:
    """Leave all as a daemon that is killed leaves it."""
    kept._stopping.set()
    assert kept._engine is not None
    kept._engine.stop()
    for keeper in kept._keepers.values():
        keeper.stop()
        keeper.device.close()
    kept._keepers.clear()


@pytest.mark.parametrize("gone_by", ["stop", "use", "kill and another mark"])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def test_what_is_on_no_device_is_held_when_that_is_given_up(
    wire: tuple[Lab, Devices], family: int, gone_by: str, tmp_path: Path
) -> None:
    lab, kept = wire
    v4 = family == socket.AF_INET
    own, peer = (lab.a.v4, lab.b.v4) if v4 else (lab.a.v6, lab.b.v6)
    level, kind = (socket.IPPROTO_IP, 8) if v4 else (socket.IPPROTO_IPV6, 50)
    other = socket.if_nametoindex(lab.a.device)
    info = struct.pack("=i8x", other) if v4 else bytes(16) + struct.pack("=I", other)
    with ExitStack() as stack, lab.b.socket(family, socket.SOCK_DGRAM) as clear:
        before = profiles.active()
        stack.callback(profiles.use, before)
        profiles.use(profiles.Profiles({CARRIED.name: CARRIED}, CARRIED))
        becomes(can_be_secured, "the rules of the other device were not looked at")
        fresh = stack.enter_context(secured(family, leaves=False, peer=peer))
        left = stack.enter_context(secured(family, leaves=True, peer=peer))
        listening = stack.enter_context(secured(family, leaves=True, peer=peer))
        listening.bind((own, PORT))
        if gone_by == "stop":
            kept.stop()
        elif gone_by == "use":
            kept.use([OTHER])
        else:
            killed(kept)
            another = Devices(tmp_path / "another")
            stack.callback(another.stop)
            another.start([replace(CARRIED, mark=0x59000000), OTHER])
        assert (f"ws{CARRIED.reqid}" in names()) == (gone_by == "kill and another mark")
        with lab.capture() as wire_at:
            for sock in (fresh, left):
                with pytest.raises(OSError):
                    sock.sendto(b"secret", (peer, PORT))
                with pytest.raises(OSError):
                    sock.sendmsg([b"secret"], [(level, kind, info)], 0, (peer, PORT))
        assert wire_at.counts.clear == 0, [frame.hex() for frame in wire_at.counts.first_clear]
        # What is not secured is nobody's concern, and comes behind what is.
        plain = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        plain.bind((own, PORT + 1))
        plain.settimeout(PATIENCE)
        for port in (PORT, PORT + 1):
            clear.sendto(b"clear", (own, port))
        assert plain.recv(100) == b"clear"
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.recv(100)


def test_what_was_held_is_so_no_more_when_its_device_is_there_again(wire: tuple[Lab, Devices]) -> None:
    lab, kept = wire
    table = held_name(CARRIED)
    kept.use([OTHER])
    assert table in lab.a.run(["nft", "list", "tables"]).stdout
    kept.use([CARRIED, OTHER])
    assert table not in lab.a.run(["nft", "list", "tables"]).stdout
    assert not any(each["faults"] for each in kept.status()["devices"])


def test_a_profile_that_goes_while_the_engine_is_dead_does_not_keep_it_from_starting(kept: Devices) -> None:
    kept.use([DEFAULT, OTHER])
    engine = kept._engine
    assert engine is not None
    engine.control.close()  # as if it were ending: what it is asked fails
    kept.use([DEFAULT])
    restarts = kept.status()["restarts"]
    os.kill(kept.status()["pid"], signal.SIGKILL)
    becomes(lambda: kept.status()["restarts"] > restarts, "it was not started again")
    assert [each["name"] for each in kept.status()["devices"]] == [f"ws{DEFAULT.reqid}"]


def test_each_device_is_let_go_of_whatever_becomes_of_another(
    kept: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.use([DEFAULT, OTHER])
    let_go = kept._let_go
    tried: list[str] = []

    def fail_once(keeper: Keeper) -> None:
        tried.append(keeper.device.name)
        let_go(keeper)
        if len(tried) == 1:
            raise RuntimeError("what nobody has thought of")

    monkeypatch.setattr(kept, "_let_go", fail_once)
    with pytest.raises(RuntimeError, match="nobody has thought of"):
        kept.stop()
    assert sorted(tried) == sorted(f"ws{each.reqid}" for each in (DEFAULT, OTHER))
    assert names() == set()


def test_queues_are_closed_where_one_was_not_to_be_had(
    possible: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach, made = tun.attach, []

    def limited(name: str, ifindex: int = 0) -> int:
        if len(made) == 2:
            raise OSError(24, "no descriptors")
        made.append(attach(name, ifindex))
        return made[-1]

    monkeypatch.setattr(tun, "attach", limited)
    with pytest.raises(OSError, match="no descriptors"):
        Device.create(DEFAULT, 2)
    for fd in made:
        with pytest.raises(OSError):
            os.fstat(fd)
    assert names() == set()
