"""`wsasec.policy.Session` over the key daemon, between two hosts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest
from daemon_hosts import Host
from hanging import hang

import wsasec
from wsasec import SecurityError, Winsock
from wsasec.lab import Lab, Namespace
from wsasec.policy import (
    Direction,
    Encryption,
    Exchange,
    Group,
    Integrity,
    MainModePolicy,
    Method,
    Protocol,
    QuickModePolicy,
    QuickModeProposal,
    Session,
)

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("no_namespaces", "deadline")]

BULK = uuid.UUID("0b8d4d3c-6a53-4b57-9b7e-3a54a2a4a001")
PROFILE = f"""
[profile.bulk]
guid = "{BULK}"
reqid = 300
mark = 0x58000000
mask = 0xff000000
proposals = ["aes128-sha256-ecp256", "chacha20poly1305"]
rekey_seconds = 1000
rekey_bytes = 10485760
idle_seconds = 600
"""

ADDED = uuid.UUID("0b8d4d3c-6a53-4b57-9b7e-3a54a2a4a002")
POLICY = QuickModePolicy(
    "of a test",
    (QuickModeProposal(Encryption.AES_128, Integrity.SHA256, lifetime_seconds=900, pfs=Group.ECP_256),),
    guid=ADDED,
    idle_seconds=400,
)
PROGRAM = f"""
import sys, uuid
from wsasec.policy import *
session = Session()
strong, common = (QuickModeProposal(one, Integrity.SHA256, pfs=Group.ECP_256)
    for one in (Encryption.AES_256, Encryption.AES_128))
session.add(QuickModePolicy("of a program", (strong, common), guid=uuid.UUID("{ADDED}")))
print("added", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def test_seconds() -> int:
    return 120


def until(what: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)


def of_sessions(namespace: Namespace) -> set[int]:
    """The reqids of associations that are of neither profile of the file."""
    return {sa.reqid for sa in namespace.sas() if sa.spi} - {wsasec.profiles.DEFAULT.reqid, 300}


def refusal(work: Callable[[], object]) -> tuple[Winsock, str]:
    with pytest.raises(SecurityError) as caught:
        work()
    return caught.value.winsock, str(caught.value)


def connected(lab: Lab, settings: wsasec.IpsecSettings) -> tuple[socket.socket, socket.socket]:
    """A connection from a to b whose sockets have a policy, and that has carried something."""
    with lab.b.socket() as listener, lab.a.socket() as client:
        wsasec.secure_many([listener, client], settings)
        listener.bind((lab.b.v4, 0))
        listener.listen()
        wsasec.connect(client, listener.getsockname(), timeout=20)
        server, _ = wsasec.accept(listener)
        client.sendall(b"x" * 100)
        assert len(server.recv(100, socket.MSG_WAITALL)) == 100
        return client.dup(), server


def test_sessions(hosts: tuple[Lab, Host, Host], use_profiles: Callable[..., None]) -> None:
    """One test, as daemons take their time to come up."""
    lab, a, b = hosts
    for host in (a, b):
        host.configure(PROFILE)
    with lab.a.entered():
        assert refusal(Session)[0] is Winsock.WSAENETDOWN
    a.up()
    b.up()
    use_profiles(*wsasec.profiles.load([a.config]).values())
    with lab.a.entered():
        os.seteuid(65534)
        try:
            assert refusal(Session)[0] is Winsock.WSAEACCES
        finally:
            os.seteuid(0)
        session = Session()
    with session:
        look(lab, session)
    add_and_delete(lab, b)


def test_policy_ends_though_charon_hangs(
    hosts: tuple[Lab, Host, Host], use_profiles: Callable[..., None]
) -> None:
    """It is started anew, and knows of the policy no more; what has other policies goes on."""
    lab, a, b = hosts
    a.up()
    b.up()
    settings = wsasec.IpsecSettings(qm_policy=ADDED)
    with ExitStack() as stack:
        listener, client = (stack.enter_context(each.socket()) for each in (lab.b, lab.a))
        for namespace, sock in ((lab.a, client), (lab.b, listener)):
            with namespace.entered():
                session = stack.enter_context(Session(dynamic=False))
                session.add(POLICY)
                wsasec.secure(sock, settings)
        listener.bind((lab.b.v4, 0))
        listener.listen()
        with lab.a.entered():
            wsasec.connect(client, listener.getsockname(), timeout=20)
        assert of_sessions(lab.b)
        pid = b.status()["charon"]["pid"]
        hang(pid)
        with lab.b.entered():
            session.delete(ADDED)
        assert not of_sessions(lab.b)
        until(lambda: b.status()["charon"]["restarts"] == 1, 20)
        assert b.status()["charon"]["pid"] not in (None, pid)
        for each in connected(lab, wsasec.IpsecSettings()):
            stack.enter_context(each)
        assert not of_sessions(lab.b)


def look(lab: Lab, session: Session) -> None:
    """What a session of a's lists."""
    policies = session.list()
    assert [policy.name for policy in policies] == ["default", "default", "bulk", "bulk"]
    main, quick = policies[2:]
    assert isinstance(main, MainModePolicy)
    assert isinstance(quick, QuickModePolicy)
    assert (main.guid, main.exchange, main.persistent) == (BULK, Exchange.IKEV2, True)
    assert [(one.method, one.root_count) for one in main.authentication] == [(Method.CERTIFICATE, 1)]
    assert (quick.guid, quick.idle_seconds) == (BULK, 600)
    strong = quick.proposals[0]
    assert strong == QuickModeProposal(
        *(Encryption.AES_128, Integrity.SHA256, Protocol.ESP, 1000, 10485760, 2**32 - 1, Group.ECP_256)
    )
    assert session.security_associations() == []

    client, server = connected(lab, wsasec.IpsecSettings(qm_policy=quick.guid, mm_policy=main.guid))
    with client, server:
        with lab.a.entered():
            found = wsasec.query(client, ipsec2=True)
        out, back = sorted(session.security_associations(remote=lab.b.v4), key=lambda one: one.direction)
        for one in (out, back):
            assert (one.main_mode_id, one.quick_mode_id) == (found.mm_sa_id, found.qm_sa_id)
            assert (str(one.local), str(one.remote)) == (lab.a.v4, lab.b.v4)
            assert one.transform == wsasec.policy.Transform(Encryption.AES_128, Integrity.SHA256)
            assert one.lifetime_seconds > 1000
            assert one.lifetime_bytes > 10485760
            assert (one.idle_seconds, one.filter_id, one.tunnel, one.udp_ports) == (600, 300, False, None)
        assert (out.direction, back.direction) == (Direction.OUTBOUND, Direction.INBOUND)
        assert {(sa.src, sa.spi) for sa in lab.a.sas()} == {(lab.a.v4, out.spi), (lab.b.v4, back.spi)}
        assert session.security_associations(local="192.0.2.0/24") == []
        assert len(session.security_associations(local=lab.a.v4 + "/32")) == 2

        ike = session.ike_association(found.mm_sa_id, found.sa_lookup_context)
        assert (ike.number, ike.exchange) == (found.mm_sa_id, Exchange.IKEV2)
        assert (str(ike.local), str(ike.remote), ike.udp_ports) == (lab.a.v4, lab.b.v4, None)
        assert (ike.proposal.encryption, ike.proposal.integrity) == (
            Encryption.AES_GCM_256,
            Integrity.SHA384,
        )
        assert ike.proposal.group is Group.ECP_384
        assert ike.initiator_cookie
        assert ike.responder_cookie
        assert ike.policy in {policy.guid for policy in policies}
        assert [(own, peer) for own, _, peer, _ in ike.credentials] == [
            (Method.CERTIFICATE, Method.CERTIFICATE)
        ]
        with pytest.raises(SecurityError) as caught:
            session.ike_association(found.mm_sa_id + 1000)
        assert caught.value.winsock is Winsock.WSAEINVAL


def add_and_delete(lab: Lab, b: Host) -> None:
    """Each host has it by a session of its own: b's stays until it is deleted, a's ends with its program."""
    settings = wsasec.IpsecSettings(qm_policy=ADDED)
    with ExitStack() as stack:
        with lab.b.entered():
            session = stack.enter_context(Session(dynamic=False))
            for policy, code, word in (
                (replace(POLICY, persistent=True), Winsock.WSAEOPNOTSUPP, "persistent"),
                (replace(POLICY, clear_seconds=1), Winsock.WSAEOPNOTSUPP, "clear_seconds"),
                (replace(POLICY, guid=wsasec.profiles.DEFAULT.guid), Winsock.WSAEINVAL, "GUID"),
                (wsasec.policy.WINDOWS_VISTA_DEFAULT.quick_mode, Winsock.WSAEOPNOTSUPP, ""),
                (wsasec.policy.WINDOWS_VISTA_DEFAULT.main_mode, Winsock.WSAEOPNOTSUPP, "wsasec.toml"),
            ):
                told = refusal(lambda policy=policy: session.add(policy))
                assert told[0] is code
                assert word in told[1]
            assert len(session.list()) == 4
            assert session.add(POLICY) == ADDED
            assert refusal(lambda: session.add(POLICY))[0] is Winsock.WSAEINVAL
            main, quick = session.list()[4:]
            assert quick == POLICY
            assert (main.guid, main.name, main.persistent) == (ADDED, POLICY.name, False)
            listener = stack.enter_context(lab.b.socket())
            wsasec.secure(listener, settings)
        listener.bind((lab.b.v4, 0))
        listener.listen()
        b.wsasec("reload")  # the policy stays

        program = stack.enter_context(
            lab.a.popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        assert program.stdout.readline() == b"added\n"
        wire = stack.enter_context(lab.capture())
        with lab.a.entered():
            wsasec.profiles.use(wsasec.profiles.load())
            client, late = (stack.enter_context(lab.a.socket()) for _ in range(2))
            wsasec.secure_many([client, late], settings)
            wsasec.connect(client, listener.getsockname(), timeout=20)
            server = stack.enter_context(wsasec.accept(listener)[0])
            client.sendall(b"x" * 100)
            assert len(server.recv(100, socket.MSG_WAITALL)) == 100
            found = wsasec.query(client)
            assert found.profile == f"session-{ADDED}"
            assert found.association.encryption_bits == 128
        assert len(of_sessions(lab.a)) == 1

        program.kill()
        until(lambda: not of_sessions(lab.a), 20)
        with pytest.raises(BlockingIOError):
            late.connect(listener.getsockname())
        client.send(b"never")
        with pytest.raises(SecurityError):
            wsasec.connect(late, listener.getsockname(), timeout=0.5)
        assert not of_sessions(lab.a)
        with lab.a.entered(), Session() as other:
            assert len(other.list()) == 4

        with lab.b.entered():
            session.delete(ADDED)
            assert len(session.list()) == 4
            assert refusal(lambda: session.delete(ADDED))[0] is Winsock.WSAEINVAL
            told = refusal(lambda: session.delete(wsasec.profiles.DEFAULT.guid))
            assert told[0] is Winsock.WSAEOPNOTSUPP
            assert str(b.config) in told[1]
            with pytest.raises(SecurityError):
                wsasec.secure(stack.enter_context(lab.b.socket()), settings)
        assert not of_sessions(lab.b)
    assert wire.counts.clear == 0, wire.counts
    assert wire.counts.esp >= 5  # what was connected, and nothing after
