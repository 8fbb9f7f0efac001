"""secure() on devices that a real engine serves and a real keeper vouches for."""

from __future__ import annotations

import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import wsasec
from wsasec import IpsecSettings, Profile, Winsock, profiles
from wsasec.engine import missing
from wsasec.lab import EngineLab, Namespace

PROFILE = Profile("carried", uuid.UUID(int=0xDE51CE), 0x77, 0x60000000, 0xFF000000, carrier="device")
ON_DEVICE = IpsecSettings(qm_policy=PROFILE.guid)
PATIENCE = 30.0


@pytest.fixture
def lab(realm: Namespace) -> Iterator[EngineLab]:
    lack = missing(PROFILE)
    if lack:
        pytest.skip("; ".join(lack))
    profiles.use(profiles.Profiles({"default": profiles.DEFAULT, PROFILE.name: PROFILE}, profiles.DEFAULT))
    with EngineLab(PROFILE) as made:
        yield made


def secured(namespace: Namespace, family: int) -> socket.socket:
    with namespace.entered():
        sock = socket.socket(family)
    sock.settimeout(PATIENCE)
    try:
        wsasec.secure(sock, ON_DEVICE)
    except BaseException:
        sock.close()
        raise
    return sock


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_connection_in_esp(lab: EngineLab, family: int) -> None:
    with lab.capture() as capture, ExitStack() as stack:
        listener = stack.enter_context(secured(lab.b, family))
        listener.bind((lab.b.v4 if family == socket.AF_INET else lab.b.v6, 0))
        listener.listen()
        client = stack.enter_context(secured(lab.a, family))
        client.connect(listener.getsockname()[:2])
        accepted, _ = wsasec.accept(listener)
        stack.enter_context(accepted)
        accepted.settimeout(PATIENCE)
        client.sendall(b"there")
        assert accepted.recv(100) == b"there"
        accepted.sendall(b"and back")
        assert client.recv(100) == b"and back"
        for sock in (client, accepted):
            assert wsasec.query(sock).encrypted
        assert capture.wait(lambda counts: counts.esp > 0, PATIENCE)
    assert capture.counts.clear == 0


def test_while_nftables_changes(lab: EngineLab) -> None:
    """The keeper looks at the rules after each change; what is secured meanwhile waits for that."""
    at_once = 0
    for number in range(20):
        with lab.a.entered():
            subprocess.run(["nft", "add", "table", "inet", f"other{number}"], check=True, timeout=60)
        try:
            secured(lab.a, socket.AF_INET).close()
            at_once += 1
        except wsasec.SecurityError as error:
            # The keeper had to wait for the processor for longer than that waits for the keeper.
            if error.winsock is not Winsock.WSAENETDOWN or "nftables changed" not in str(error):
                raise
        if at_once == 5:
            break
    assert at_once == 5


def test_after_the_rules_were_taken_away(lab: EngineLab) -> None:
    """Either they are in force again, or it is refused."""
    with lab.a.entered():
        subprocess.run(["nft", "flush", "ruleset"], check=True, timeout=60)
    refused = None
    try:
        secured(lab.a, socket.AF_INET).close()
    except wsasec.SecurityError as error:
        refused = error
    if refused is not None:
        assert refused.winsock == wsasec.Winsock.WSAENETDOWN
        return
    with lab.a.entered():
        argv = ["nft", "list", "tables"]
        tables = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    assert f"wsasec_{PROFILE.reqid}" in tables.stdout
