"""Who alone is taken at an address."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from ipaddress import ip_address
from typing import Any, cast

import pytest
from ike_hosts import certified, key_profile, soon
from wire import wait_for

from wsasec.config.model import Authentication, Identity, Trust
from wsasec.keys import connections
from wsasec.keys.reason import CharonError, Reason

pytestmark = pytest.mark.lab

MakePair = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def two(no_namespaces: None, lasting_pair: Any, deadline: None) -> Iterator[Any]:
    """Two hosts without pins and associations."""
    yield lasting_pair
    for ike in (lasting_pair.a, lasting_pair.b):
        for address in (*lasting_pair.v4, *lasting_pair.v6):
            ike.unpin("default", address, soon())
        for each in ike.associations(soon()):
            ike.terminate(each.unique_id, soon())
    ends = soon()
    while any(sa.usable for host in (lasting_pair.lab.a, lasting_pair.lab.b) for sa in host.sas()):
        assert time.monotonic() < ends, "associations left"
        time.sleep(0.01)
    for ike in (lasting_pair.a, lasting_pair.b):
        ike._pool.close()


@pytest.mark.parametrize("which", ["v4", "v6"])
def test_the_right_one_is_taken_both_ways(two: Any, which: str) -> None:
    mine, theirs = getattr(two, which)
    first = two.a.initiate("default", theirs, soon())
    two.a.pin("default", theirs, "b.example", soon())
    # What it had already stays.
    (ike,) = two.a.associations(soon())
    assert ike.unique_id == first.ike.unique_id
    two.a.terminate(ike.unique_id, soon())
    assert two.a.initiate("default", theirs, soon()).reason is Reason.NONE
    for ike in two.a.associations(soon()):
        two.a.terminate(ike.unique_id, soon())
    # b hears of that a moment later; until then it has what it wants.
    wait_for(lambda: not two.b.associations(soon()), "it has ended at b, too")
    assert two.b.initiate("default", mine, soon()).reason is Reason.NONE


@pytest.mark.parametrize("which", ["v4", "v6"])
@pytest.mark.parametrize("identity", ["alias.example", "m.example", "CN=b.example"])
def test_another_is_ended_and_kept_out(two: Any, which: str, identity: str) -> None:
    mine, theirs = getattr(two, which)
    two.a.initiate("default", theirs, soon())
    two.b.initiate("default", mine, soon())
    assert two.a.associations(soon())
    two.a.pin("default", theirs, identity, soon())
    assert not two.a.associations(soon())
    assert not [sa for sa in two.lab.a.sas() if sa.algorithm]
    outcome = two.a.initiate("default", theirs, soon())
    assert (outcome.reason, identity in outcome.detail) == (Reason.AUTHENTICATION, True)
    assert two.b.initiate("default", mine, soon()).reason is Reason.AUTHENTICATION
    assert not two.a.associations(soon())
    two.a.unpin("default", theirs, soon())
    assert two.a.pinned("default", theirs) is None
    assert two.b.initiate("default", mine, soon()).reason is Reason.NONE


def test_another_address_is_not_concerned(two: Any) -> None:
    two.a.pin("default", two.v4[1], "m.example", soon())
    assert two.a.initiate("default", two.v6[1], soon()).reason is Reason.NONE


def test_two_identities_at_one_address(two: Any) -> None:
    two.a.pin("default", two.v4[1], "m.example", soon())
    two.a.pin("default", two.v4[1], "m.example", soon())
    with pytest.raises(CharonError, match="other programs") as raised:
        two.a.pin("default", two.v4[1], "b.example", soon())
    assert raised.value.reason is Reason.OTHER_IDENTITY
    assert two.a.pinned("default", two.v4[1]) == "m.example"


@pytest.mark.parametrize("identity", ["%any", "*.example", "*", "0.0.0.0", "::", "fqdn:b", "@#00", ""])
def test_patterns_are_no_identities(two: Any, identity: str) -> None:
    with pytest.raises(CharonError) as raised:
        two.a.pin("default", two.v4[1], identity, soon())
    assert raised.value.reason is Reason.OTHER_IDENTITY
    assert two.a.pinned("default", two.v4[1]) is None


def test_pins_outlast_charon(pair: MakePair, papers: Any) -> None:
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("b.example", papers.b)
    with pair(key_profile(a, trust), key_profile(b, trust)) as two:
        two.a.pin("default", two.v4[1], "m.example", soon())
        with two.lab.a.entered():
            two.a.start(soon(30))
        assert two.a.pinned("default", two.v4[1]) == "m.example"
        assert two.b.initiate("default", two.v4[0], soon()).reason is Reason.AUTHENTICATION


def test_identity_that_no_way_is_open_to(pair: MakePair, papers: Any) -> None:
    a = certified("a.example", papers.a)
    trust = Trust(ca=(papers.ca.certificate,))
    anonymous = Identity("anonymous", Authentication.ANONYMOUS)
    with pair(key_profile(a, trust, names=("*.example",)), key_profile(anonymous, trust)) as made:
        with pytest.raises(CharonError, match="cannot be told"):
            made.a.pin("default", made.v4[1], "b.test", soon())
        made.a.pin("default", made.v4[1], "b.example", soon())


class Translation:
    """Takes IKE to another host from other addresses than its own, as a translating router does."""

    PORT = 20500

    def __init__(self, inside: str, outside: str, beyond: str) -> None:
        """Translate what comes to INSIDE's PORT to ports of OUTSIDE, on its way to BEYOND."""
        self._outside = outside
        self._beyond = beyond
        self._wires = selectors.DefaultSelector()
        self._ended = threading.Event()
        self._inside = self._bound(inside, self.PORT)
        self._ways: dict[tuple[str, int], socket.socket] = {}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _bound(self, address: str, port: int = 0, data: object = None) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((address, port))
        self._wires.register(made, selectors.EVENT_READ, data)
        return made

    def move(self, outside: str) -> None:
        """From now on translate to another address."""
        self._outside = outside

    def _out(self, data: bytes, source: tuple[str, int]) -> None:
        way = self._outside, source[1]
        if way not in self._ways:
            self._ways[way] = self._bound(self._outside, data=source)
        self._ways[way].sendto(data, (self._beyond, source[1]))

    def _run(self) -> None:
        while not self._ended.is_set():
            for key, _ in self._wires.select(0.1):
                data, source = cast("socket.socket", key.fileobj).recvfrom(65536)
                if key.data is None:
                    self._out(data, source)
                else:
                    self._inside.sendto(data, key.data)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for each in (self._inside, *self._ways.values()):
            each.close()
        self._wires.close()


def test_who_gets_there_by_translation_is_ended(
    pair: MakePair, papers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("b.example", papers.b)
    inside, pinned = ip_address("10.8.0.1"), ip_address("10.9.0.77")
    plain = connections._connection

    def with_port(group: Any, way: Any, credentials: Any, remote_addrs: list[str]) -> dict[str, object]:
        message = plain(group, way, credentials, remote_addrs)
        ports = {"local_port": 4500, "remote_port": Translation.PORT}
        return message | (ports if remote_addrs == [str(inside)] else {})

    monkeypatch.setattr(connections, "_connection", with_port)
    with pair(key_profile(a, trust, dpd_seconds=1), key_profile(b, trust, dpd_seconds=1)) as made:
        events: list[Any] = []
        made.a.watch(events.append)
        made.lab.b.run(["ip", "link", "set", "lo", "up"])
        made.lab.b.run(["ip", "address", "add", f"{inside}/32", "dev", "lo"])
        made.lab.b.run(["ip", "address", "add", f"{pinned}/24", "dev", made.lab.b.device])
        made.a.pin("default", pinned, "m.example", soon())
        with made.lab.b.entered():
            router = Translation(str(inside), str(made.v4[1]), str(made.v4[0]))
            try:
                assert made.b.initiate("default", inside, soon()).reason is Reason.NONE
                (ike,) = made.a.associations(soon())
                assert (ike.remote, ike.remote_id) == (made.v4[1], "b.example")
                router.move(str(pinned))
                end = soon()
                while "ike-update" not in [event.kind for event in events] or made.a.associations(soon()):
                    assert time.monotonic() < end, made.a.associations(soon())
                    time.sleep(0.1)
            finally:
                router.close()
        # charon takes an association out of its own table first.
        wait_for(lambda: not [sa for sa in made.lab.a.sas() if sa.algorithm], "its associations are gone")
