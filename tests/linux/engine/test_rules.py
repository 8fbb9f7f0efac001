"""The table of nftables, on the kernel: put in place at once, and known again."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from wsasec.engine import missing, rules
from wsasec.engine.rules import NftError, Rules
from wsasec.kernel.netlink import Message
from wsasec.kernel.nftables import NftSocket
from wsasec.lab import Namespace
from wsasec.profiles import DEFAULT, Profile

TABLE = f"wsasec_{DEFAULT.reqid}"
GETGEN = 0xA10  # of nfnetlink
OTHER = Profile("other", uuid.UUID(int=5), 7, 0x58000000, 0xFF000000)


@pytest.fixture
def nft(realm: Namespace) -> Iterator[NftSocket]:
    with NftSocket() as nft:
        yield nft


def ruleset(realm: Namespace) -> str:
    return realm.run(["nft", "list", "ruleset"]).stdout


def handles(realm: Namespace, chain: str) -> list[int]:
    listed = json.loads(realm.run(["nft", "-j", "list", "chain", "inet", TABLE, chain]).stdout)
    return [each["rule"]["handle"] for each in listed["nftables"] if "rule" in each]


def test_one_change_puts_all_in_place(realm: Namespace, nft: NftSocket) -> None:
    before = nft.generation()
    own = Rules(DEFAULT)
    assert own.faults(nft) == [f"the nftables table inet {TABLE} is missing"]
    own.install(nft)
    assert nft.generation() == before + 1
    assert own.faults(nft) == []
    own.install(nft)  # over itself
    assert nft.generation() == before + 2
    assert own.faults(nft) == []
    own.remove()
    assert ruleset(realm) == ""
    own.remove()  # nothing there


CHANGES = {
    "flush ruleset": "flush ruleset",
    "flush table": f"flush table inet {TABLE}",
    "flush chain": f"flush chain inet {TABLE} sent",
    "delete chain": f"flush chain inet {TABLE} sent\ndelete chain inet {TABLE} sent",
    "dormant": f"table inet {TABLE} {{ flags dormant; }}",
    "policy": f"chain inet {TABLE} sent {{ policy drop; }}",
    "rule before": f"insert rule inet {TABLE} sent accept",
    "rule after": f"add rule inet {TABLE} sent accept",
    "chain": f"add chain inet {TABLE} another",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_is_seen(realm: Namespace, nft: NftSocket, change: str) -> None:
    own = Rules(DEFAULT)
    own.install(nft)
    realm.run(["nft", "-f", "-"], input=change)
    assert len(own.faults(nft)) == 1
    own.install(nft)
    assert own.faults(nft) == []


def test_each_single_rule_is_missed(realm: Namespace, nft: NftSocket) -> None:
    own = Rules(DEFAULT)
    own.install(nft)
    for chain in ("fragments", "arriving", "delivered", "forwarded", "chosen", "sent", "leaving"):
        count = len(handles(realm, chain))
        assert count
        for index in range(count):
            handle = handles(realm, chain)[index]
            realm.run(["nft", "delete", "rule", "inet", TABLE, chain, "handle", str(handle)])
            assert own.faults(nft) == [f"the nftables table inet {TABLE} is not as it should be"]
            own.install(nft)
    assert own.faults(nft) == []


def test_the_order_counts(realm: Namespace, nft: NftSocket) -> None:
    own = Rules(DEFAULT)
    own.install(nft)
    first = handles(realm, "delivered")[0]
    realm.run(["nft", "delete", "rule", "inet", TABLE, "delivered", "handle", str(first)])
    rule = f'iifname != "ws{DEFAULT.reqid}" socket mark & 0xff000000 == 0x57000000 drop'
    realm.run(["nft", "-f", "-"], input=f"add rule inet {TABLE} delivered {rule}")
    assert own.faults(nft) == [f"the nftables table inet {TABLE} is not as it should be"]


def test_what_holds_the_mark_is_in_place_at_once_and_gone_with_the_next_device(
    realm: Namespace, nft: NftSocket
) -> None:
    own, held = Rules(DEFAULT), rules.held_name(DEFAULT)
    own.install(nft)
    before = nft.generation()
    own.hold()
    assert nft.generation() == before + 1
    assert nft.fingerprint(TABLE) is None
    assert nft.fingerprint(held) is not None
    own.install(nft)
    assert nft.generation() == before + 2
    assert own.faults(nft) == []
    assert nft.fingerprint(held) is None
    own.hold()
    own.remove()
    assert ruleset(realm) == ""


def listed(realm: Namespace) -> set[str]:
    return set(realm.run(["nft", "list", "tables"]).stdout.split()) - {"table", "inet"}


def test_mark_that_a_profile_had_is_held(realm: Namespace, nft: NftSocket) -> None:
    """Whoever had it put in place: a daemon that was killed, and the next one has another configuration."""
    Rules(DEFAULT).install(nft)
    changed = Rules(replace(DEFAULT, mark=0x59000000))
    before = nft.generation()
    changed.install(nft)
    assert nft.generation() == before + 1
    assert listed(realm) == {TABLE, rules.held_name(DEFAULT)}
    assert changed.faults(nft) == []
    changed.install(nft)  # over itself
    assert listed(realm) == {TABLE, rules.held_name(DEFAULT)}
    # A device of that mark has its own rules.
    Rules(replace(OTHER, mark=DEFAULT.mark)).install(nft)
    assert listed(realm) == {TABLE, f"wsasec_{OTHER.reqid}"}


def test_mark_that_another_profile_has_now_is_not_held(realm: Namespace, nft: NftSocket) -> None:
    Rules(DEFAULT).install(nft)
    Rules(replace(OTHER, mark=DEFAULT.mark)).install(nft)
    Rules(replace(DEFAULT, mark=0x59000000)).install(nft)
    assert listed(realm) == {TABLE, f"wsasec_{OTHER.reqid}"}


@pytest.mark.parametrize("given_up", [True, False])
def test_nothing_holds_what_has_the_mark_of_a_device(
    realm: Namespace, nft: NftSocket, given_up: bool
) -> None:
    """The same bits, of which others count: what would hold the one would hold the other, too."""
    own = Rules(DEFAULT)
    own.install(nft)
    if given_up:
        own.hold()
    Rules(replace(DEFAULT, mark=0x57570000, mask=0xFFFF0000)).install(nft)
    assert listed(realm) == {TABLE}


def test_nft_that_hangs_is_an_error_like_any(
    realm: Namespace, nft: NftSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "_DEADLINE", 0.0)
    with pytest.raises(NftError, match="nft took longer than 0 s"):
        Rules(DEFAULT).install(nft)
    assert ruleset(realm) == ""


def test_other_tables_do_not_matter(realm: Namespace, nft: NftSocket) -> None:
    own, other = Rules(DEFAULT), Rules(OTHER)
    own.install(nft)
    other.install(nft)
    realm.run(["nft", "-f", "-"], input=f"table ip {TABLE} {{ chain sent {{ }}; }}")
    assert own.faults(nft) == []
    assert other.faults(nft) == []
    other.remove()
    assert own.faults(nft) == []


def test_an_answer_that_was_not_waited_for_is_none_to_the_next_question(
    realm: Namespace, nft: NftSocket
) -> None:
    nft._netlink._send(Message(bytes(4)), GETGEN, 0)
    realm.run(["nft", "-f", "-"], input="table ip mine { chain c { }; }")
    with NftSocket() as other:
        assert nft.generation() == other.generation()


def test_somebody_else_changes_rules_at_the_same_time(realm: Namespace, nft: NftSocket) -> None:
    stop = threading.Event()

    def change() -> None:  # the thread is in the namespace of the one that starts it
        while not stop.is_set():
            realm.run(["nft", "-f", "-"], input="table ip busy\ndelete table ip busy\n")
            # Ten times what a transaction takes: without it there is hardly ever room for another.
            stop.wait(0.05)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        own = Rules(DEFAULT)
        for _ in range(5):
            own.install(nft)
            assert own.faults(nft) == []
    finally:
        stop.set()
        thread.join()


def test_a_refusal_changes_nothing(realm: Namespace, nft: NftSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Rules(DEFAULT)
    own.install(nft)
    before = ruleset(realm)
    monkeypatch.setattr(rules, "text", lambda _: f"table inet {TABLE} {{ chain x {{ nonsense; }}; }}")
    with pytest.raises(NftError, match="nft refused the rules"):
        own.install(nft)
    assert ruleset(realm) == before


def test_without_nft_the_error_names_the_remedy(
    realm: Namespace, nft: NftSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules.shutil, "which", lambda *_, **__: None)
    with pytest.raises(NftError, match="apt-get install nftables"):
        Rules(DEFAULT).install(nft)
    assert missing() == ["the program nft is missing: apt-get install nftables"]


def test_nothing_is_missing_and_nothing_was_changed(realm: Namespace, nft: NftSocket) -> None:
    assert missing() == []
    assert ruleset(realm) == ""


def test_without_privilege_it_says_so(realm: Namespace, without_net_admin) -> None:  # type: ignore[no-untyped-def]
    with without_net_admin():
        assert missing()[0] == "CAP_NET_ADMIN is missing: run it as root"
