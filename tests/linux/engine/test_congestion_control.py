"""The congestion control that a profile names: connections on its device have it, and no others."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from engine_host import Host

import wsasec
from wsasec import IpsecSettings, profiles
from wsasec.daemon.devices import Devices
from wsasec.engine.routes import table_of
from wsasec.kernel.routing import UNICAST, RoutingSocket
from wsasec.lab import EngineLab, Lab, Namespace
from wsasec.profiles import DEFAULT, Profile

PATIENCE = 30.0
SO_BINDTOIFINDEX = 62
RENO = "reno"  # what every kernel has
PROFILE = Profile(
    *("carried", uuid.UUID(int=0xC0E), 0x78, 0x61000000, 0xFF000000),
    carrier="device",
    congestion_control=RENO,
)
ON_DEVICE = IpsecSettings(qm_policy=PROFILE.guid)
FAMILIES = [socket.AF_INET, socket.AF_INET6]


@pytest.fixture
def others(realm: Namespace) -> str:
    """Return what connections have that are made otherwise."""
    name = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    if name == RENO:
        pytest.skip("net.ipv4.tcp_congestion_control is reno, so that nothing tells the two apart")
    return name


@pytest.fixture
def engines(others: str) -> Iterator[EngineLab]:
    profiles.use(profiles.Profiles({"default": DEFAULT, PROFILE.name: PROFILE}, DEFAULT))
    with EngineLab(PROFILE) as made:
        yield made


def of(sock: socket.socket) -> str:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


def has(name: str) -> bool:
    """Whether all routes of the device, of which there are some, have it."""
    with RoutingSocket() as routing:
        found = [
            route.congestion_control
            for family in FAMILIES
            for route in routing.routes(family, table_of(DEFAULT))
            if route.kind == UNICAST
        ]
    return set(found) == {name}


@pytest.mark.parametrize("family", FAMILIES, ids=["v4", "v6"])
@pytest.mark.parametrize("secured", [True, False], ids=["secured", "plain"])
def test_connections_both_ways(
    engines: EngineLab, others: str, family: socket.AddressFamily, secured: bool
) -> None:
    with ExitStack() as stack:
        ends = []
        for host in (engines.a, engines.b):
            with host.entered():
                sock = stack.enter_context(socket.socket(family))
            sock.settimeout(PATIENCE)
            if secured:
                wsasec.secure(sock, ON_DEVICE)
            ends.append(sock)
        client, listener = ends
        listener.bind((engines.b.v4 if family == socket.AF_INET else engines.b.v6, 0))
        listener.listen()
        client.connect(listener.getsockname()[:2])
        accepted = stack.enter_context(listener.accept()[0])
        assert of(client) == of(accepted) == (RENO if secured else others)


@pytest.mark.parametrize("in_use", [True, False], ids=["in use", "unused"])
def test_another_one_is_taken_over(lab: Lab, tmp_path: Path, in_use: bool) -> None:
    carried = replace(DEFAULT, carrier="device")
    kept = Devices(tmp_path / "engine")
    kept.start([carried])
    try:
        assert has("")
        with socket.socket() as sock:
            if in_use:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, carried.device.encode())
            for name in (RENO, ""):
                kept.use([replace(carried, congestion_control=name)])
                assert has(name)
                assert not any(each["faults"] for each in kept.status()["devices"])
                if in_use:
                    bound = sock.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX)
                    assert bound == socket.if_nametoindex(carried.device)
    finally:
        kept.stop()


def test_one_that_the_kernel_lacks(lab: Lab, tmp_path: Path) -> None:
    carried = replace(DEFAULT, carrier="device")
    lacking = replace(carried, congestion_control="no-such")
    said = "this kernel has no 'no-such', but .*reno.* modprobe tcp_no-such"
    kept = Devices(tmp_path / "engine")
    with pytest.raises(ValueError, match=said):
        kept.start([lacking])
    kept = Devices(tmp_path / "engine")
    kept.start([carried])
    try:
        with pytest.raises(ValueError, match=said):
            kept.use([lacking])
        assert has("")
        assert not any(each["faults"] for each in kept.status()["devices"])
    finally:
        kept.stop()


def test_a_keeper_takes_no_other_profile(host: Host) -> None:
    with pytest.raises(ValueError, match="of another profile"):
        host.keeper.use(replace(DEFAULT, mark=0x58000000))
    host.keeper.use(replace(DEFAULT, carrier=DEFAULT.carrier))
    host.keeper.wait(PATIENCE)
