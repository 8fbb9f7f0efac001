"""Policies of sessions: their numbers, their ends, and what is refused before anything changes."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from daemon_talk import until
from session_daemon import CONFIG, SessionDaemon, session_daemon

import wsasec
from wsasec import IpsecSettings, SecurityError, Winsock, profiles
from wsasec.daemon import added as limits
from wsasec.daemon.added import Added, TakenError
from wsasec.daemon.added import Session as Owner
from wsasec.daemon.place import PROFILES, folder
from wsasec.keys.associations import Event
from wsasec.keys.reason import CharonError, Reason
from wsasec.policy import WINDOWS_VISTA_DEFAULT, Encryption, Integrity, Protocol, Session
from wsasec.policy import QuickModePolicy as Quick
from wsasec.policy import QuickModeProposal as Proposal
from wsasec.profile import AH
from wsasec.profiles import DEFAULT

pytestmark = pytest.mark.filterwarnings("ignore::wsasec.SecurityWarning")

GUID = uuid.UUID(int=7)
POLICY = Quick("strong", (Proposal(Encryption.AES_GCM_256),), guid=GUID)
WEAK = Quick("weak", (Proposal(Encryption.NONE, Integrity.SHA256, Protocol.AH),), guid=uuid.UUID(int=8))


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionDaemon]:
    before = profiles.active()
    with session_daemon(tmp_path, monkeypatch) as made:
        yield made
    profiles.use(before)


def refusal(session: Session, policy: Quick) -> Winsock:
    with pytest.raises(SecurityError) as caught:
        session.add(policy)
    return caught.value.winsock


def test_a_program_knows_what_it_has_added(daemon: SessionDaemon) -> None:
    with Session() as session:
        assert session.add(POLICY) == GUID
        (profile,) = [each for each in profiles.active().values() if each.guid == GUID]
        assert daemon.config.profiles[profile.name].profile == profile
        assert session.list()[3] == POLICY
        # And so does one that begins now.
        assert profiles.load()[profile.name] == profile
        assert (folder() / PROFILES).stat().st_mode & 0o777 == 0o644
        session.delete(GUID)
        assert GUID not in {each.guid for each in profiles.active().values()}
        assert daemon.ended == {profile.reqid}
        assert daemon.config == CONFIG
        assert not (folder() / PROFILES).exists()
        assert len(session.list()) == 2


def test_another_guid_each_time(daemon: SessionDaemon) -> None:
    with Session() as session:
        first, second = (session.add(dataclasses.replace(POLICY, guid=None)) for _ in range(2))
        assert first != second
        made = [each for each in profiles.load().values() if each.guid in (first, second)]
        assert len({each.reqid for each in made}) == len({each.mark for each in made}) == 2
    assert set(profiles.active()) == {"default"}


def test_of_ah(daemon: SessionDaemon) -> None:
    with Session() as session:
        session.add(WEAK)
        (profile,) = [each for each in profiles.load().values() if each.guid == WEAK.guid]
        assert (profile.protocol, profile.encrypting) == (AH, False)


@pytest.mark.parametrize("dynamic", [True, False])
def test_the_end_of_a_session(daemon: SessionDaemon, dynamic: bool) -> None:
    with Session(dynamic=dynamic) as session:
        session.add(POLICY)
    assert (len(daemon.config.profiles) == 1) is dynamic
    assert (GUID not in {each.guid for each in profiles.active().values()}) is dynamic
    if not dynamic:
        with Session() as other:
            other.delete(GUID)
        assert daemon.config == CONFIG


def test_the_end_of_a_program(daemon: SessionDaemon, tmp_path: Path) -> None:
    program = """
import sys, uuid
from wsasec.policy import *
session = Session()
session.add(QuickModePolicy("x", (QuickModeProposal(Encryption.AES_128, Integrity.SHA1),), uuid.UUID(int=7)))
print("added", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"added\n"
        with Session(dynamic=False) as session:
            with pytest.raises(SecurityError, match="another session") as caught:
                session.delete(GUID)
            assert caught.value.winsock is Winsock.WSAEINVAL
            assert refusal(session, POLICY) is Winsock.WSAEINVAL
        process.kill()
    until(lambda: daemon.config == CONFIG)
    until(lambda: len(daemon.ended) == 1)


def test_what_is_refused_changes_nothing(daemon: SessionDaemon) -> None:
    with Session(dynamic=False) as session:
        assert refusal(session, dataclasses.replace(POLICY, persistent=True)) is Winsock.WSAEOPNOTSUPP
        assert refusal(session, WINDOWS_VISTA_DEFAULT.quick_mode) is Winsock.WSAEOPNOTSUPP
        assert refusal(session, dataclasses.replace(POLICY, guid=DEFAULT.guid)) is Winsock.WSAEINVAL
        with pytest.raises(SecurityError, match="main modes") as caught:
            session.add(WINDOWS_VISTA_DEFAULT.main_mode)
        assert caught.value.winsock is Winsock.WSAEOPNOTSUPP
        with pytest.raises(SecurityError, match=f"no policy {GUID}") as caught:
            session.delete(GUID)
        assert caught.value.winsock is Winsock.WSAEINVAL
        with pytest.raises(SecurityError, match="configuration") as caught:
            session.delete(DEFAULT.guid)
        assert caught.value.winsock is Winsock.WSAEOPNOTSUPP
        assert "wsasec.toml" in caught.value.hint
        daemon.failure = CharonError(Reason.NO_CHARON, "it is dead")
        assert refusal(session, POLICY) is Winsock.WSAENETDOWN
        assert (daemon.changes, daemon.config) == (0, CONFIG)
        assert set(profiles.active()) == {"default"}


def test_a_profile_of_the_program_is_in_the_way(daemon: SessionDaemon) -> None:
    """Then it is taken back: the program could not use it."""
    own = dataclasses.replace(DEFAULT, name="own", guid=GUID, reqid=1, mark=0x01000000)
    profiles.use(profiles.Profiles({"default": DEFAULT, "own": own}, DEFAULT))
    with Session() as session:
        assert refusal(session, POLICY) is Winsock.WSAEINVAL
        assert daemon.config == CONFIG
    # Nor does one that begins now take it for its own.
    daemon.tell([dataclasses.replace(DEFAULT, name="like-it", guid=GUID)])
    assert set(profiles.load()) == {"default"}


def test_numbers_are_never_another_policys(daemon: SessionDaemon) -> None:
    with Session() as session:
        session.add(POLICY)
        first = {each.guid: each for each in profiles.load().values()}[GUID]
        session.delete(GUID)
        session.add(dataclasses.replace(POLICY, idle_seconds=1))
        other = {each.guid: each for each in profiles.load().values()}[GUID]
        assert (other.reqid, other.mark) != (first.reqid, first.mark)
        session.delete(GUID)
        session.add(POLICY)
        assert {each.guid: each for each in profiles.load().values()}[GUID] == first


def test_marks() -> None:
    """None that a guard in the kernel has, also one of an earlier daemon's."""

    def mark(marks: set[tuple[int, int]]) -> int:
        return Added(lambda: marks).entry(CONFIG, POLICY, Owner(dynamic=True)).profile.mark

    assert mark(set()) == 0xFFFF0000
    assert mark({(0xFFFF0000, 0xFFFF0000), (42, 0xFF)}) == 0xFFFE0000
    assert mark({(0xFF000000, 0xFF000000)}) == 0xFEFF0000
    with pytest.raises(TakenError, match="mark"):
        mark({(0x10000, 0x10000), (0, 0x10000)})


def test_there_are_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    added, owner = Added(set), Owner(dynamic=False)
    monkeypatch.setattr(limits, "_AT_ONCE", 1)
    monkeypatch.setattr(limits, "_EVER", 2)
    entry = added.entry(CONFIG, POLICY, owner)
    added.put(entry)
    with pytest.raises(TakenError, match="delete some"):
        added.entry(CONFIG, WEAK, owner)
    added.drop([entry])
    second = added.entry(CONFIG, WEAK, owner)
    added.put(second)
    added.drop([second])
    with pytest.raises(TakenError, match="again"):
        added.entry(CONFIG, dataclasses.replace(WEAK, idle_seconds=2), owner)
    assert added.entry(CONFIG, POLICY, owner) == entry


def test_another_file(daemon: SessionDaemon) -> None:
    """Policies go on with it; one that has a profile like theirs is not taken."""
    with Session() as session:
        session.add(POLICY)
        name = next(name for name in daemon.config.profiles if name != "default")
        base = CONFIG.profiles["default"]
        named = dataclasses.replace(base, names=("b.example",))
        new = dataclasses.replace(CONFIG, profiles={"default": named})
        with daemon.changing.lock:
            daemon.changing.reload(new)
        assert daemon.config.profiles[name].names == ("b.example",)
        taken = dataclasses.replace(base, profile=dataclasses.replace(DEFAULT, name="x", guid=GUID, reqid=9))
        wrong = dataclasses.replace(CONFIG, profiles={"default": base, "x": taken})
        with daemon.changing.lock, pytest.raises(TakenError, match="profile 'x' has this GUID"):
            daemon.changing.reload(wrong)
        assert daemon.config.profiles[name].names == ("b.example",)


def test_what_charon_makes_of_a_policy_that_is_no_more(daemon: SessionDaemon) -> None:
    with Session() as session:
        session.add(POLICY)
        reqid = {each.guid: each for each in profiles.load().values()}[GUID].reqid
        daemon.charon.reqids["late"] = reqid
        event = Event(
            "child-updown", True, daemon.charon.establish("late", ip_address("10.9.0.2"), "b.example")
        )
        assert not daemon.changing.over(event)
        session.delete(GUID)
        assert daemon.changing.over(event) == {reqid}
        session.add(POLICY)
        assert not daemon.changing.over(event)


def test_another_users_file_tells_nothing(daemon: SessionDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.tell([dataclasses.replace(DEFAULT, name="theirs", guid=GUID, reqid=9, mark=0x01000000)])
    assert "theirs" in profiles.load()
    if os.geteuid() == 0:
        os.chown(folder() / PROFILES, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "theirs" not in profiles.load()


def test_sockets_of_what_was_deleted(daemon: SessionDaemon) -> None:
    with Session() as session, socket.socket() as sock:
        session.add(POLICY)
        session.delete(GUID)
        with pytest.raises(SecurityError) as caught:
            wsasec.secure(sock, IpsecSettings(qm_policy=GUID))
        assert caught.value.winsock is Winsock.WSAEINVAL
