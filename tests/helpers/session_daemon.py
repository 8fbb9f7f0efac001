"""A daemon that has sessions of `wsasec.policy`, without a charon and without the kernel."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from daemon_talk import serving
from fake_ike import FakeIke, FakeSas

from wsasec.config.model import Authentication, Config, Identity, KeyProfile, Trust
from wsasec.daemon.added import Added
from wsasec.daemon.changing import VERBS as CHANGES
from wsasec.daemon.changing import Changing
from wsasec.daemon.place import folder
from wsasec.daemon.policies import VERBS as POLICIES
from wsasec.daemon.policies import Policies
from wsasec.daemon.program_profiles import tell
from wsasec.daemon.server import Asked, Later
from wsasec.keys.associations import IkeSa
from wsasec.keys.reason import CharonError, Reason
from wsasec.profile import Profile
from wsasec.profiles import DEFAULT

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


class SessionDaemon:
    """Answers CONTROL as `wsasec.daemon.service` does."""

    def __init__(self) -> None:
        self.charon = FakeIke(FakeSas(), {"default": DEFAULT.reqid})
        self.config = CONFIG
        self.marks: set[tuple[int, int]] = set()
        self.added = Added(lambda: self.marks)
        self.changing = Changing(CONFIG, self, self.added)
        self.policies = Policies(lambda: self.config, self, self.changing.policies, self.charon.sas)
        self.dead = False
        self.said: dict[str, Any] | None = None
        self.failure: Exception | None = None
        self.changes = 0
        self.ended: set[int] = set()

    def associations(self, deadline: float) -> list[IkeSa]:
        if self.dead:
            raise CharonError(Reason.NO_CHARON, "it is dead")
        return [dataclasses.replace(ike, group="default") for ike in self.charon.ikes]

    def control(self, asked: Asked) -> bytes | Later:
        question = json.loads(bytes(asked.body))
        verb = question["verb"]
        if self.said is not None:
            return json.dumps(self.said).encode()
        if verb in CHANGES:
            answer = self.changing.answer(verb, question, asked)
            return lambda: json.dumps(answer()).encode()
        assert verb in POLICIES
        return lambda: json.dumps(self.policies.answer(verb, question)).encode()

    def change(self, config: Config) -> None:
        if self.failure is not None:
            raise self.failure
        self.changes += 1
        self.config = config

    def withdraw(self, config: Config, reqids: Collection[int]) -> None:
        self.config = config
        self.ended |= set(reqids)

    def tell(self, added: Iterable[Profile]) -> None:
        tell(folder(), added)


@contextmanager
def session_daemon(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionDaemon]:
    """Serve as the daemon of this network namespace; path is its base folder."""
    monkeypatch.setenv("WSASEC_RUN", str(path))
    folder().mkdir()
    daemon = SessionDaemon()
    with serving(folder(), control=daemon.control):
        yield daemon
