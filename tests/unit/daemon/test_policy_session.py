"""Sessions of `wsasec.policy` with a daemon: what they are told, and what they make of it."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from fake_ike import OWN
from session_daemon import session_daemon

from wsasec import SecurityError, Winsock
from wsasec.daemon.policies import refused
from wsasec.policy import (
    Direction,
    Encryption,
    MainModePolicy,
    QuickModePolicy,
    QuickModeProposal,
    Session,
    Transform,
)
from wsasec.profiles import DEFAULT

PEER = ip_address("10.9.0.2")
FAR = ip_address("2001:db8::2")
POLICY = QuickModePolicy("strong", (QuickModeProposal(Encryption.AES_GCM_256),))


def code_of(caught: pytest.ExceptionInfo[SecurityError]) -> tuple[Winsock, str]:
    return caught.value.winsock, caught.value.step


@pytest.mark.parametrize("dynamic", [True, False])
def test_no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dynamic: bool) -> None:
    monkeypatch.setenv("WSASEC_RUN", str(tmp_path))
    with pytest.raises(SecurityError) as caught:
        Session(dynamic=dynamic)
    assert code_of(caught) == (Winsock.WSAENETDOWN, "key daemon")
    assert "wsasec up" in caught.value.hint


def test_not_the_administrator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with session_daemon(tmp_path, monkeypatch) as daemon:
        daemon.said = refused("that is root's to ask", Winsock.WSAEACCES)
        with pytest.raises(SecurityError, match="root's") as caught:
            Session()
        assert code_of(caught) == (Winsock.WSAEACCES, "key daemon")


def test_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with session_daemon(tmp_path, monkeypatch), Session() as session:
        main, quick = session.list()
        assert isinstance(main, MainModePolicy)
        assert isinstance(quick, QuickModePolicy)
        assert main.guid == quick.guid == DEFAULT.guid
        assert main.authentication[0].root_count == 1
        assert quick.proposals[0].encryption is Encryption.AES_GCM_256


def test_associations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with session_daemon(tmp_path, monkeypatch) as daemon, Session() as session:
        near = daemon.charon.establish("default", PEER, "b.example")
        far = daemon.charon.establish("default", FAR, "b.example", ip_address("2001:db8::1"))
        found = session.security_associations()
        assert {one.main_mode_id for one in found} == {near.unique_id, far.unique_id}
        assert len(found) == 4
        for wanted in ({"remote": str(PEER)}, {"remote": "10.9.0.0/24"}, {"local": OWN, "remote": PEER}):
            one, other = session.security_associations(**wanted)
            assert {one.direction, other.direction} == {Direction.INBOUND, Direction.OUTBOUND}
            assert (one.local, one.remote, one.lookup, one.udp_ports) == (OWN, PEER, None, None)
            assert one.transform == Transform(Encryption.AES_GCM_256)
        assert session.security_associations(local="192.0.2.0/24") == []
        assert len(session.security_associations(remote="::/0")) == 2

        ike = session.ike_association(far.unique_id, DEFAULT.guid)
        assert (ike.number, ike.remote, ike.policy) == (far.unique_id, FAR, DEFAULT.guid)
        with pytest.raises(SecurityError, match="no main mode") as caught:
            session.ike_association(2**64 - 1)
        assert code_of(caught) == (Winsock.WSAEINVAL, "key daemon")

        daemon.dead = True
        for ask in (session.security_associations, lambda: session.ike_association(1)):
            with pytest.raises(SecurityError, match="charon") as caught:
                ask()
            assert code_of(caught) == (Winsock.WSAENETDOWN, "key daemon")
        assert len(session.list()) == 2


def test_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with session_daemon(tmp_path, monkeypatch):
        session = Session()
        cut_off = Session(dynamic=False)
        session.close()
        session.close()
        for use in (session.list, lambda: session.add(POLICY), lambda: session.delete(DEFAULT.guid)):
            with pytest.raises(ValueError, match="closed"):
                use()
    with pytest.raises(SecurityError) as caught:
        cut_off.list()
    assert code_of(caught) == (Winsock.WSAENETDOWN, "key daemon")
    cut_off.close()
