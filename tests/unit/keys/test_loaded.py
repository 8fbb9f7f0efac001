"""What charon has when addresses are pinned."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from ike_hosts import another_profile, certified, key_profile

from wsasec.config.model import KeyProfile, Trust
from wsasec.keys.credentials import Credentials
from wsasec.keys.groups import Group, groups
from wsasec.keys.loaded import Loaded
from wsasec.keys.reason import Reason
from wsasec.keys.session import RefusedError

PEER, OTHER = ipaddress.ip_address("10.9.0.2"), ipaddress.ip_address("10.9.0.3")
BOTH = tuple(ipaddress.ip_network(address) for address in (PEER, OTHER))


class FakeSession:
    """charon's connections, CAs and keys; of all else it has nothing.

    Attributes:
        connections: what was loaded, by name.
        authorities: the same.
        keys: the same, by number.
    """

    def __init__(self) -> None:
        self.connections: dict[str, Any] = {}
        self.authorities: dict[str, Any] = {}
        self.keys: dict[str, Any] = {}

    def request(self, command: str, message: Mapping[str, Any] | None, _: float) -> dict[str, Any]:
        if command == "load-conn":
            self.connections.update(message or {})
        elif command == "unload-conn":
            if self.connections.pop((message or {})["name"], None) is None:
                raise RefusedError(Reason.NEGOTIATION, "unload: connection not found")
        elif command == "get-conns":
            return _names("conns", self.connections)
        elif command == "load-authority":
            self.authorities.update(message or {})
        elif command == "get-authorities":
            return _names("authorities", self.authorities)
        elif command == "load-key":
            self.keys["1"] = "any"
            return {"id": b"1"}
        elif command == "get-keys":
            return _names("keys", self.keys)
        return {}

    def answering(self, address: ipaddress.IPv4Address) -> set[str]:
        """Return whom the connections take at an address."""
        return {
            each["remote"]["id"]
            for each in self.connections.values()
            for where in each["remote_addrs"]
            if _is_in(address, where)
        }


def _names(key: str, of: dict[str, Any]) -> dict[str, Any]:
    return {key: [name.encode() for name in of]}


def _is_in(address: ipaddress.IPv4Address, where: str) -> bool:
    first, dash, last = where.partition("-")
    if not dash:
        return address in ipaddress.ip_network(where)
    return ipaddress.IPv4Address(first) <= address <= ipaddress.IPv4Address(last)


def soon() -> float:
    return time.monotonic() + 10


@pytest.fixture
def profile(tmp_path: Path) -> KeyProfile:
    ca = Authority(tmp_path, "ca")
    return key_profile(certified("a.example", ca.issue("a.example")), Trust(ca=(ca.certificate,)), peers=BOTH)


def load(loaded: Loaded, session: Any, *profiles: KeyProfile) -> list[Group]:
    found = groups({each.profile.name: each for each in profiles})
    loaded.load(session, found, Credentials(found), soon())
    return found


def test_nobody_else_answers_when_all_addresses_are_pinned(profile: KeyProfile) -> None:
    session: Any = FakeSession()
    loaded = Loaded()
    load(loaded, session, profile)
    assert session.answering(PEER) == session.answering(OTHER) == {"%any"}
    loaded.pin(session, "default", PEER, "b.example", soon())
    assert (session.answering(PEER), session.answering(OTHER)) == ({"b.example"}, {"%any"})
    loaded.pin(session, "default", OTHER, "c.example", soon())
    assert (session.answering(PEER), session.answering(OTHER)) == ({"b.example"}, {"c.example"})
    loaded.unpin(session, "default", PEER, soon())
    assert (session.answering(PEER), session.answering(OTHER)) == ({"%any"}, {"c.example"})


def test_pins_are_there_again_after_a_configuration_that_failed(profile: KeyProfile) -> None:
    session: Any = FakeSession()
    loaded = Loaded()
    load(loaded, session, profile)
    loaded.pin(session, "default", PEER, "b.example", soon())
    load(loaded, session, replace(profile, profile=another_profile("site", 1)))
    assert loaded.pinned("default", PEER) is None
    load(loaded, session, profile)
    assert loaded.pinned("default", PEER) == "b.example"
    assert session.answering(PEER) == {"b.example"}


def test_what_others_took_out_is_put_back(profile: KeyProfile) -> None:
    session: Any = FakeSession()
    loaded = Loaded()
    load(loaded, session, profile)
    loaded.pin(session, "default", PEER, "b.example", soon())
    assert not loaded.restore(session, soon())
    lists: list[Any] = [session.connections, session.authorities, session.keys]
    before = [each.copy() for each in lists]
    for each in lists:
        for name in each.copy():
            del each[name]
            assert loaded.restore(session, soon())
            assert lists == before
            assert not loaded.restore(session, soon())


def test_nothing_is_put_back_where_nothing_was_loaded() -> None:
    session: Any = FakeSession()
    assert not Loaded().restore(session, soon())
