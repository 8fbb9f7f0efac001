"""The documented default policy of Windows, proposal by proposal, between two hosts."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from ike_hosts import another_profile, host, key_profile, soon
from wire import receive

import wsasec
from wsasec.config.model import Authentication, Identity, Trust
from wsasec.config.policies import main_mode, quick_mode
from wsasec.keys.reason import Reason
from wsasec.lab import Lab
from wsasec.profile import AH, Profile

pytestmark = pytest.mark.lab

POLICY = wsasec.policy.named("windows-vista-default")
MAIN = main_mode(POLICY.main_mode)
QUICK = quick_mode(POLICY.quick_mode)
ANONYMOUS = Identity("anonymous", Authentication.ANONYMOUS)
SIZE = 20_000

ESP = {
    "null-sha1": ("NULL", "HMAC_SHA1_96"),
    "aes128-sha1": ("AES_CBC", "HMAC_SHA1_96"),
    "3des-sha1": ("3DES_CBC", "HMAC_SHA1_96"),
}


def profile(name: str, *, ah: bool = False) -> Profile:
    made = replace(another_profile(name, 1), encrypting=False)
    return replace(made, protocol=AH) if ah else made


def negotiated(lab: Lab, folder: Path, chosen: Profile, mine: dict[str, object], theirs: dict[str, object]):
    """Two hosts, b with the whole policy, a with a part of it, and what they agree on."""
    stack = ExitStack()
    with stack:
        trust = Trust(anonymous=True)
        a = stack.enter_context(host(lab.a, folder, key_profile(ANONYMOUS, trust, chosen, **mine)))
        stack.enter_context(host(lab.b, folder, key_profile(ANONYMOUS, trust, chosen, **theirs)))
        outcome = a.initiate(chosen.name, ipaddress.ip_address(lab.b.v4), soon(30))
        assert outcome.reason is Reason.NONE, outcome.detail
        return stack.pop_all(), outcome


def exchange(lab: Lab) -> None:
    """Send over a secured connection, both ways."""
    with (
        lab.b.socket() as listener,
        lab.a.socket() as client,
    ):
        wsasec.secure_many([listener, client])
        listener.bind((lab.b.v4, 0))
        listener.listen()
        wsasec.connect(client, listener.getsockname(), timeout=10.0)
        server, _ = wsasec.accept(listener)
        with server:
            for one, other in ((client, server), (server, client)):
                one.setblocking(True)
                other.setblocking(True)
                one.sendall(b"x" * SIZE)
                assert receive(other, SIZE) == b"x" * SIZE


@pytest.mark.parametrize("proposal", QUICK.esp)
def test_esp(no_namespaces, deadline, use_profiles, tmp_path, proposal):
    """Each proposal of ESP is agreed on with a host that has all of them, and carries traffic."""
    chosen = profile("vista")
    mine = {"ike_proposals": MAIN.proposals, "esp_proposals": (proposal,)}
    theirs = {"ike_proposals": MAIN.proposals, "esp_proposals": QUICK.esp}
    use_profiles(chosen)
    with Lab(chosen, keys=False) as lab:
        stack, outcome = negotiated(lab, tmp_path, chosen, mine, theirs)
        with stack:
            assert (outcome.child.encryption, outcome.child.integrity) == ESP[proposal]
            assert (outcome.ike.encryption, outcome.ike.dh_group) == ("AES_CBC", "ECP_256")
            with lab.capture() as wire:
                exchange(lab)
        assert wire.counts.clear == 0, wire.counts
        assert wire.counts.esp > 20


def test_the_first_is_liked_best(no_namespaces, deadline, use_profiles, tmp_path):
    """Two hosts with the whole policy end up without encryption: it says so."""
    chosen = profile("vista")
    whole = {"ike_proposals": MAIN.proposals, "esp_proposals": QUICK.esp}
    with Lab(chosen, keys=False) as lab:
        stack, outcome = negotiated(lab, tmp_path, chosen, whole, whole)
        with stack:
            assert outcome.child.encryption == "NULL"


def test_ah(no_namespaces, deadline, use_profiles, tmp_path):
    """The last proposal: sockets of a profile of AH."""
    chosen = profile("vista-ah", ah=True)
    whole = {"ike_proposals": MAIN.proposals, "esp_proposals": (), "ah_proposals": QUICK.ah}
    use_profiles(chosen)
    with Lab(chosen, keys=False) as lab:
        stack, outcome = negotiated(lab, tmp_path, chosen, whole, whole)
        with stack:
            assert (outcome.child.protocol, outcome.child.integrity) == ("AH", "HMAC_SHA1_96")
            with lab.capture() as wire:
                exchange(lab)
        # The capture counts what can be read as clear: here all of it has an authentication header.
        assert set(wire.counts.clear_by_state) == {"AH"}, wire.counts
        assert wire.counts.clear_by_state["AH"] > 20


def test_the_second_main_mode(no_namespaces, deadline, tmp_path):
    """3DES and a group of 1,024 bits, with a host that likes them less."""
    chosen = profile("vista")
    mine = {"ike_proposals": MAIN.proposals[1:], "esp_proposals": QUICK.esp}
    theirs = {"ike_proposals": MAIN.proposals, "esp_proposals": QUICK.esp}
    with Lab(chosen, keys=False) as lab:
        stack, outcome = negotiated(lab, tmp_path, chosen, mine, theirs)
        with stack:
            assert (outcome.ike.encryption, outcome.ike.dh_group) == ("3DES_CBC", "MODP_1024")


@pytest.mark.parametrize("protocol", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_an_encrypting_profile_does_not_come_to_it(no_namespaces, deadline, use_profiles, tmp_path, protocol):
    """A socket that is guaranteed encryption refuses the profile."""
    use_profiles(profile("vista"))
    guarantee = wsasec.Settings(wsasec.SecurityFlags.GUARANTEE_ENCRYPTION)
    with (
        Lab(keys=False) as lab,
        lab.a.socket(type=protocol) as sock,
        pytest.raises(wsasec.SecurityError, match="integrity-only"),
    ):
        wsasec.secure(sock, guarantee)
