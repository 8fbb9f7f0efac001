"""What is agreed on, and why not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from ike_hosts import another_profile, certified, config, key_profile, soon
from wire import wait_for

from wsasec.config.model import KeyProfile, Trust
from wsasec.keys.associations import Address, Event
from wsasec.keys.connections import peer
from wsasec.keys.listing import terminate_child
from wsasec.keys.reason import Reason
from wsasec.profiles import DEFAULT

pytestmark = pytest.mark.lab

MakePair = Callable[..., AbstractContextManager[Any]]
SITE = another_profile("site", 1)


@pytest.fixture
def profiles_of(papers: Any) -> Callable[..., tuple[KeyProfile, KeyProfile]]:
    """Return what makes the default profile of both hosts."""

    def make(*which: Any, **rest: Any) -> tuple[KeyProfile, KeyProfile]:
        trust = Trust(ca=(papers.ca.certificate,))
        a, b = certified("a.example", papers.a), certified("b.example", papers.b)
        return key_profile(a, trust, *which, **rest), key_profile(b, trust, *which, **rest)

    return make


def spis(host: Any) -> set[int]:
    return {sa.spi for sa in host.sas() if sa.algorithm or sa.integrity}


@contextmanager
def unheard(host: Any, peer: Address) -> Iterator[None]:
    """What a host sends to the peer gets nowhere; what the peer sends arrives."""
    to = ["to", str(peer), "dev", host.device]
    host.run(["ip", "neighbour", "replace", *to, "lladdr", "02:00:00:00:00:99", "nud", "permanent"])
    try:
        yield
    finally:
        host.run(["ip", "neighbour", "delete", *to])


def test_nothing_in_common(pair: MakePair, profiles_of: Any) -> None:
    a, _ = profiles_of()
    _, b = profiles_of(ike_proposals=("aes128-sha1-modp1024",))
    with pair(a, b) as two:
        outcome = two.a.initiate("default", two.v4[1], soon())
        assert (outcome.reason, "IKE" in outcome.detail) == (Reason.NO_PROPOSAL, True)


def test_nothing_in_common_for_the_association(pair: MakePair, profiles_of: Any) -> None:
    a, _ = profiles_of()
    _, b = profiles_of(esp_proposals=("aes128-sha1",))
    with pair(a, b) as two:
        outcome = two.a.initiate("default", two.v4[1], soon())
        assert (outcome.reason, "association" in outcome.detail) == (Reason.NO_PROPOSAL, True)
        assert not spis(two.lab.a)


def test_profile_that_the_peer_does_not_have(pair: MakePair, profiles_of: Any) -> None:
    (a, _), (site, _), (_, other) = profiles_of(), profiles_of(SITE, signal=700), profiles_of(signal=701)
    with pair([a, site], other) as two:
        outcome = two.a.initiate("site", two.v4[1], soon())
        assert (outcome.reason, "no such profile" in outcome.detail) == (Reason.NO_PROPOSAL, True)


def test_plain_profile_of_the_peer_serves(pair: MakePair, profiles_of: Any) -> None:
    """A profile without a signal takes any: by its own proposals."""
    (a, b), (site, _) = profiles_of(), profiles_of(SITE, signal=700)
    with pair([a, site], b) as two:
        outcome = two.a.initiate("site", two.v4[1], soon())
        assert (outcome.reason, outcome.child.reqid) == (Reason.NONE, SITE.reqid)
        (there,) = two.b.associations(soon())
        assert [child.reqid for child in there.children] == [DEFAULT.reqid]


def test_two_profiles_share_an_ike_sa(pair: MakePair, profiles_of: Any) -> None:
    (a, b), (site_a, site_b) = profiles_of(), profiles_of(SITE, signal=700, esp_proposals=("aes128gcm16",))
    with pair([a, site_a], [site_b, b]) as two:
        for mine, theirs in (two.v4, two.v6):
            outcomes = [two.a.initiate(name, theirs, soon()) for name in ("default", "site")]
            assert [o.reason for o in outcomes] == [Reason.NONE, Reason.NONE]
            assert outcomes[0].ike.unique_id == outcomes[1].ike.unique_id
            assert [o.child.reqid for o in outcomes] == [DEFAULT.reqid, SITE.reqid]
            (there,) = two.b.associations(soon(), mine)
            assert {(c.name, c.reqid, c.encryption_bits, c.esn) for c in there.children} == {
                ("default", DEFAULT.reqid, 256, True),
                ("site", SITE.reqid, 128, False),
            }
            # The signal does not get into the kernel: any port may use the association.
            assert {sa.set_mark for sa in two.lab.b.sas() if sa.dst == str(theirs)} == {
                (DEFAULT.mark, DEFAULT.mask),
                (SITE.mark, SITE.mask),
            }
        assert two.a.group("site") == "default"
        assert two.b.group("default") == "site"


def test_authentication_header(pair: MakePair, profiles_of: Any) -> None:
    with pair(*profiles_of(esp_proposals=(), ah_proposals=("sha256-esn",))) as two:
        outcome = two.a.initiate("default", two.v4[1], soon())
        assert (outcome.reason, outcome.child.protocol) == (Reason.NONE, "AH")
        assert {sa.proto for sa in two.lab.a.sas()} == {"ah"}


@pytest.mark.parametrize(
    ("esp", "ah", "protocol"),
    [("null-sha1", "", "ESP"), ("aes128-sha1", "", "ESP"), ("3des-sha1", "", "ESP"), ("", "sha1", "AH")],
)
def test_what_windows_does(pair: MakePair, profiles_of: Any, esp: str, ah: str, protocol: str) -> None:
    old = {
        "ike_version": 1,
        "ike_proposals": ("aes128-sha1-ecp256",),
        "esp_proposals": (esp,) if esp else (),
        "ah_proposals": (ah,) if ah else (),
    }
    with pair(*profiles_of(**old)) as two:
        outcome = two.a.initiate("default", two.v4[1], soon())
        assert (outcome.reason, outcome.child and outcome.child.protocol) == (Reason.NONE, protocol)
        assert (outcome.ike.version, outcome.ike.remote_id) == (1, "b.example")
        two.b.stop()
        end = soon(10)
        while spis(two.lab.a):
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("seconds", "least", "said"), [(10.0, 3.4, "no answer to 3 repetitions"), (1.0, 0.8, "no end after ")]
)
def test_silent_peer(pair: MakePair, profiles_of: Any, seconds: float, least: float, said: str) -> None:
    """It is given up after the last repetition, or at the deadline: what is said tells which."""
    with pair(*profiles_of()) as two:
        two.b.stop()
        two.lab.b.run(["ip", "link", "set", "lo", "up"])
        outcome = two.a.initiate("default", ip_address("10.9.0.77"), soon(seconds))
        assert outcome.reason is Reason.PEER_SILENT
        assert outcome.detail.startswith(said)
        assert outcome.seconds > least


def test_host_without_a_daemon(pair: MakePair, profiles_of: Any) -> None:
    with pair(*profiles_of()) as two:
        two.b.stop()
        assert two.a.initiate("default", two.v4[1], soon()).reason is Reason.PEER_SILENT


def test_no_route(pair: MakePair, profiles_of: Any) -> None:
    with pair(*profiles_of()) as two:
        for address in ("10.77.0.1", "fd00:77::1"):
            outcome = two.a.initiate("default", ip_address(address), soon())
            assert outcome.reason is Reason.UNREACHABLE
        # charon is not asked.
        assert "initiating IKE_SA " not in two.a._charon.log.read_text()


def test_networks_of_the_profile(pair: MakePair, profiles_of: Any) -> None:
    a, _ = profiles_of(peers=(ip_network("10.9.0.2/31"), ip_network("fd00:9::/64")))
    _, b = profiles_of(peers=(ip_network("10.9.0.128/25"), ip_network("fd00:9::/64")))
    with pair(a, b) as two:
        assert two.a.initiate("default", two.v6[1], soon()).reason is Reason.NONE
        assert two.a.initiate("default", two.v4[1], soon()).reason is Reason.NO_PROPOSAL
        outcome = two.a.initiate("default", ip_address("10.9.0.4"), soon())
        assert (outcome.reason, "not among the peers" in outcome.detail) == (Reason.NEGOTIATION, True)


def test_tunnel_mode_is_refused(pair: MakePair, profiles_of: Any) -> None:
    """A responder that wants a tunnel makes it one at both ends, without an error."""
    with pair(*profiles_of()) as two:
        with two.b._pool.session(soon()) as session:
            loaded = two.b._loaded
            group = loaded.group_of("default")
            connection = peer(group, loaded._credentials, two.v4[0], None, group.ways()[0], 0)
            tunnel = connection.message["children"]["default"] | {"mode": "tunnel"}
            session.request(
                "load-conn", {connection.name: connection.message | {"children": {"default": tunnel}}}, soon()
            )
        outcome = two.a.initiate("default", two.v4[1], soon())
        assert (outcome.reason, "tunnel" in outcome.detail) == (Reason.NOT_TRANSPORT, True)
        assert not two.a.associations(soon())
        assert not spis(two.lab.a)


def test_both_begin_at_once(pair: MakePair, profiles_of: Any) -> None:
    with pair(*profiles_of()) as two:
        for _ in range(5):
            ends = [(two.a, two.v4[1]), (two.b, two.v4[0])] * 4
            with ThreadPoolExecutor(8) as threads:
                asked = [threads.submit(who.initiate, "default", peer, soon()) for who, peer in ends]
            assert [each.result().reason for each in asked] == [Reason.NONE] * 8
            for ike in two.a.associations(soon()):
                two.a.terminate(ike.unique_id, soon())


def test_the_peer_ends_another_pair_meanwhile(pair: MakePair, profiles_of: Any) -> None:
    """charon takes the end of any pair for that of the one which it still asks the peer for."""
    (a, b), (site_a, site_b) = profiles_of(), profiles_of(SITE, signal=700)
    with pair([a, site_a], [site_b, b]) as two, ThreadPoolExecutor(1) as threads:
        assert two.a.initiate("default", two.v4[1], soon()).reason is Reason.NONE
        ((old,),) = (ike.children for ike in two.b.associations(soon()))
        with unheard(two.lab.a, two.v4[1]):
            outcome = threads.submit(two.a.initiate, "site", two.v4[1], soon())
            log = two.a._charon.log
            wait_for(lambda: "establishing CHILD_SA site" in log.read_text(), "the peer is asked")
            with two.b._pool.session(soon()) as session:
                assert terminate_child(session, old.unique_id, soon())
            wait_for(lambda: "CHILD_SA closed" in log.read_text(), "the old pair is gone")
        assert outcome.result().reason is Reason.NONE, outcome.result()
        for one in (two.a, two.b):
            (ike,) = one.associations(soon())
            assert [child.name for child in ike.children] == ["site"]


@pytest.mark.parametrize("told", [True, False])
def test_flushed_associations_are_made_anew(pair: MakePair, profiles_of: Any, told: bool) -> None:
    """Also those of which charon's events have not told yet."""
    with pair(*profiles_of()) as two:
        last = two.a.initiate("default", two.v4[1], soon())
        # Some times: the end of the old one must not be taken for that of the new one, whichever is quicker.
        for _ in range(10):
            first = last
            two.lab.a.run(["ip", "xfrm", "state", "flush"])
            if not told:
                wait_for(lambda: two.a._whereabouts.at("default", two.v4[1]), "charon's event")
                two.a._whereabouts.happened(Event("gone"))
            last = two.a.initiate("default", two.v4[1], soon())
            assert last.reason is Reason.NONE, last
            assert last.child.unique_id != first.child.unique_id
            assert spis(two.lab.a) == {last.child.spi_in, last.child.spi_out}
            (ike,) = two.a.associations(soon())
            assert [child.unique_id for child in ike.children] == [last.child.unique_id]


@pytest.mark.parametrize("told", [True, False])
def test_flushed_associations_with_a_silent_peer(pair: MakePair, profiles_of: Any, told: bool) -> None:
    """The end of the old one is not waited for beyond the deadline."""
    with pair(*profiles_of()) as two:
        two.a.initiate("default", two.v4[1], soon())
        two.lab.a.run(["ip", "xfrm", "state", "flush"])
        wait_for(lambda: two.a._whereabouts.at("default", two.v4[1]), "charon's event")
        if not told:
            two.a._whereabouts.happened(Event("gone"))
        two.lab.b.run(["ip", "link", "set", two.lab.b.device, "down"])
        # Well before charon itself gives the peer up.
        outcome = two.a.initiate("default", two.v4[1], soon(2.0))
        assert outcome.reason is Reason.PEER_SILENT
        assert int(outcome.detail.removeprefix("no end after ").removesuffix(" ms")) > 0


def test_source_address(pair: MakePair, profiles_of: Any) -> None:
    with pair(*profiles_of()) as two:
        two.lab.a.run(["ip", "address", "add", "10.9.0.9/24", "dev", two.lab.a.device])
        outcome = two.a.initiate("default", two.v4[1], soon(), ip_address("10.9.0.9"))
        assert (outcome.reason, str(outcome.ike.local)) == (Reason.NONE, "10.9.0.9")
        outcome = two.a.initiate("default", two.v4[1], soon())
        assert outcome.reason is Reason.NONE


def test_many_addresses_of_a_host_at_once(pair: MakePair, profiles_of: Any) -> None:
    """One host's negotiations are no flood: none is asked for a cookie, or left without an answer."""
    with pair(*profiles_of()) as two:
        peers = [ip_address(f"10.9.0.{number}") for number in range(50, 62)]
        for each in peers:
            two.lab.b.run(["ip", "address", "add", f"{each}/24", "dev", two.lab.b.device])
        with ThreadPoolExecutor(len(peers)) as threads:
            asked = [threads.submit(two.a.initiate, "default", each, soon(30)) for each in peers]
        assert [each.result().reason for each in asked] == [Reason.NONE] * len(peers)
        # A cookie would have it begin again.
        assert two.a._charon.log.read_text().count("initiating IKE_SA ") == len(peers)


def test_rekeying_is_told(pair: MakePair, profiles_of: Any) -> None:
    with pair(*profiles_of(rekey_seconds=2, ike_rekey_seconds=3)) as two:
        events: list[Any] = []
        two.a.watch(events.append)
        first = two.a.initiate("default", two.v4[1], soon())
        end = soon(15)
        while not {"child-rekey", "ike-rekey"} <= {event.kind for event in events}:
            assert time.monotonic() < end, events
            time.sleep(0.05)
        rekeyed = next(event for event in events if event.kind == "child-rekey")
        assert [child.spi_in for child in rekeyed.replaced] == [first.child.spi_in]
        assert rekeyed.ike.children[0].reqid == DEFAULT.reqid
        again = next(event for event in events if event.kind == "ike-rekey")
        assert (again.old_ike, again.ike.remote_id) == (first.ike.unique_id, "b.example")
        two.b.stop()
        while not any(event.kind == "ike-updown" and not event.up for event in events):
            assert time.monotonic() < end + 10, [(e.kind, e.up, e.ike and e.ike.unique_id) for e in events]
            time.sleep(0.05)
        assert [event.kind for event in events[:2]] == ["ike-updown", "child-updown"]
        assert all(event.up for event in events[:2])


def test_dead_peer_is_noticed(pair: MakePair, profiles_of: Any) -> None:
    with pair(*profiles_of(dpd_seconds=1)) as two:
        assert two.a.initiate("default", two.v4[1], soon()).reason is Reason.NONE
        os.kill(two.b.pid, 9)
        end = soon(10)
        while two.a.associations(soon()):
            assert time.monotonic() < end
            time.sleep(0.05)
        # charon takes an association out of its own table first.
        wait_for(lambda: not spis(two.lab.a), "its associations are gone")


def test_other_configuration(pair: MakePair, profiles_of: Any, papers: Any) -> None:
    (a, b), (site_a, _) = profiles_of(), profiles_of(SITE, signal=700)
    with pair(a, b) as two:
        two.a.pin("default", two.v4[1], "b.example", soon())
        assert two.a.initiate("default", two.v4[1], soon()).reason is Reason.NONE
        two.a.load(config(a, site_a), soon())
        assert two.a.pinned("default", two.v4[1]) == "b.example"
        assert len(two.a.associations(soon())) == 1
        assert two.a.initiate("site", two.v4[1], soon()).reason is Reason.NONE
        two.a.load(config(site_a), soon())
        assert two.a.pinned("default", two.v4[1]) is None
        with pytest.raises(KeyError):
            two.a.initiate("default", two.v4[1], soon())
        rogue = Trust(ca=(papers.rogue.certificate,))
        two.a.load(config(key_profile(a.identity, rogue)), soon())
        for ike in two.a.associations(soon()):
            two.a.terminate(ike.unique_id, soon())
        assert two.a.initiate("default", two.v4[1], soon()).reason is Reason.AUTHENTICATION
        with pytest.raises(ValueError, match="another IKE daemon"):
            two.a.load(config(a, vici="unix:///nowhere"), soon())


def test_vici_of_others_is_left_alone(pair: MakePair, profiles_of: Any) -> None:
    """What is not ours is not listed as ours."""
    with pair(*profiles_of()) as two:
        with two.a._pool.session(soon()) as session:
            session.request("load-conn", {"theirs": {"version": 2, "remote_addrs": ["10.9.0.2"]}}, soon())
        two.a.load(two.a._config, soon())
        with two.a._pool.session(soon()) as session:
            assert b"theirs" in session.request("get-conns", None, soon())["conns"]
