"""Sessions of `wsasec.policy` with a daemon: what they are told, and what they make of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from daemon_talk import serving
from fake_ike import OWN, FakeIke, FakeSas

from wsasec import SecurityError, Winsock
from wsasec.config.model import Authentication, Config, Identity, KeyProfile, Trust
from wsasec.daemon.place import folder
from wsasec.daemon.policies import VERBS, Policies, refused
from wsasec.daemon.server import Asked, Later
from wsasec.keys.reason import CharonError, Reason
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
CONFIG = Config(
    Path("wsasec.toml"),
    {
        "default": KeyProfile(
            DEFAULT,
            Identity("a.example", Authentication.CERTIFICATE, Path("a.crt"), Path("a.key")),
            Trust(ca=(Path("ca.crt"),)),
        )
    },
)
POLICY = QuickModePolicy("strong", (QuickModeProposal(Encryption.AES_GCM_256),))


class Daemon:
    """Answers CONTROL as `wsasec.daemon.service` does, of a charon that is none."""

    def __init__(self) -> None:
        self.charon = FakeIke(FakeSas(), {"default": DEFAULT.reqid})
        self.policies = Policies(lambda: CONFIG, self, self.charon.sas)
        self.dead = False
        self.said: dict[str, Any] | None = None

    def associations(self, deadline: float) -> list[Any]:
        if self.dead:
            raise CharonError(Reason.NO_CHARON, "it is dead")
        return [
            ike.__class__(**{name: getattr(ike, name) for name in ike.__slots__} | {"group": "default"})
            for ike in self.charon.ikes
        ]

    def control(self, asked: Asked) -> bytes | Later:
        question = json.loads(bytes(asked.body))
        assert question["verb"] in VERBS
        return lambda: json.dumps(self.said or self.policies.answer(question["verb"], question)).encode()


@contextmanager
def up(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setenv("WSASEC_RUN", str(path))
    folder().mkdir()
    daemon = Daemon()
    with serving(folder(), control=daemon.control):
        yield daemon


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
    with up(tmp_path, monkeypatch) as daemon:
        daemon.said = refused("that is root's to ask", Winsock.WSAEACCES)
        with pytest.raises(SecurityError, match="root's") as caught:
            Session()
        assert code_of(caught) == (Winsock.WSAEACCES, "key daemon")


def test_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with up(tmp_path, monkeypatch), Session() as session:
        main, quick = session.list()
        assert isinstance(main, MainModePolicy)
        assert isinstance(quick, QuickModePolicy)
        assert main.guid == quick.guid == DEFAULT.guid
        assert main.authentication[0].root_count == 1
        assert quick.proposals[0].encryption is Encryption.AES_GCM_256


def test_associations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with up(tmp_path, monkeypatch) as daemon, Session() as session:
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
    with up(tmp_path, monkeypatch):
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


def test_nothing_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with up(tmp_path, monkeypatch), Session() as session:
        for step, use in (
            ("add policy", lambda: session.add(POLICY)),
            ("delete policy", lambda: session.delete(DEFAULT.guid)),
        ):
            with pytest.raises(SecurityError) as caught:
                use()
            assert code_of(caught) == (Winsock.WSAEOPNOTSUPP, step)
            assert "/etc/wsasec/wsasec.toml" in caught.value.hint
            assert "wsasec reload" in caught.value.hint
