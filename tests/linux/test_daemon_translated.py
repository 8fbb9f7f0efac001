"""`wsasec up` at both ends of a path with a translator of addresses (NAT), for profiles on devices."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from charon_plugin import plugin
from daemon_hosts import Host, open_folder, two_hosts
from esp_packets import outer_packets
from frames import RingSniffer, source_of
from routed_wire import ETHERNET, Routed, cannot_translate
from wire import Stream, run_streams, wait_for

import wsasec
from wsasec import engine, profiles
from wsasec.keys.plugin import ENVIRONMENT
from wsasec.lab import Namespace, parse

DEVICE = """
[profile.default]
carrier = "device"
"""
LONG = 30.0
# From where charon draws SPIs.
SPIS = range(0xC0000000, 0xD0000000)
KEEPALIVE = b"\xff"


@pytest.fixture
def folder(realm: Namespace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root: charon and the engine are other users' processes")
    if lack := "; ".join(engine.missing()) or cannot_translate(realm):
        pytest.skip(lack)
    monkeypatch.setenv(ENVIRONMENT, str(plugin()))
    with open_folder() as made:
        monkeypatch.setenv("WSASEC_RUN", str(made / "run"))
        yield made


def is_esp(frame: bytes) -> bool:
    found, _ = outer_packets([frame])
    return len(found) == 1 and int.from_bytes(found[0].esp[:4], "big") in SPIS


def check(frames: list[bytes], router: str) -> int:
    """There is ESP, IKE, keepalives, and what the router says of ESP; return how many packets of ESP."""
    found, others = outer_packets(frames)
    assert all(int.from_bytes(outer.esp[:4], "big") in SPIS for outer in found)
    header = ETHERNET + (40 if ":" in router else 20)
    for frame in others:
        if parse(frame).group in ("neighbour", "ike") or frame[header + 8 :] == KEEPALIVE:
            continue
        assert parse(frame).state in ("ICMP", "ICMPV6"), frame.hex()
        assert source_of(frame) == router, frame.hex()
        assert is_esp(frame[:ETHERNET] + frame[header + 8 :]), frame.hex()
    return len(found)


def port_of(host: Host, address: str) -> int:
    """Return from which port a host's charon knows that a peer's packets come."""
    log = next(Path(host.status()["folder"]).glob("charon/*/log")).read_text()
    changed = [line for line in log.splitlines() if f"changed to {address}[" in line]
    return int(changed[-1].rpartition(f"{address}[")[2].partition("]")[0]) if changed else 0


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def test_who_is_behind_it_is_found_again(folder: Path, family: socket.AddressFamily) -> None:
    """Also after the router gave it another port, between two packets of one connection."""
    with ExitStack() as stack:
        lab, a, b = stack.enter_context(two_hosts(folder, Routed(keys=False)))
        assert isinstance(lab, Routed)
        lab.translate("6000-6999")
        for host in (a, b):
            host.configure(DEVICE)
        stack.callback(profiles.use, profiles.active())
        profiles.use(profiles.load([a.config]))
        v4 = family == socket.AF_INET
        there, router = (lab.b.v4, lab.r.v4) if v4 else (lab.b.v6, lab.r.v6)
        sniffers = [stack.enter_context(RingSniffer(each)) for each in (lab.a, lab.r, lab.b)]
        a.up()
        b.up()
        with lab.b.socket(family) as door, lab.a.socket(family) as client:
            for sock in (door, client):
                wsasec.secure(sock)
                sock.settimeout(LONG)
            door.bind((there, 0))
            door.listen(4)
            with lab.a.entered():
                wsasec.connect(client, door.getsockname(), LONG)
            server = stack.enter_context(door.accept()[0])
            server.settimeout(LONG)
            client.settimeout(LONG)
            assert server.getpeername()[0] == router
            with lab.b.entered():
                found = wsasec.query(server)
            assert (found.secured, found.encrypted, found.peer) == (True, True, "a.example")
            run_streams(Stream(client, server, 1 << 18), Stream(server, client, 1 << 18))
            lab.translate("7000-7999")
            run_streams(Stream(client, server, 1 << 18), Stream(server, client, 1 << 18))
            wait_for(lambda: port_of(b, router) in range(7000, 8000), "charon knows the new port", LONG)
            run_streams(Stream(server, client, 1 << 18))
        assert all(check(sniffer.frames(), router) > 3 << 18 >> 11 for sniffer in sniffers)
