"""The configuration as connections."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority, write, write_key
from hypothesis import given
from hypothesis import strategies as st
from ike_hosts import another_profile, certified, key_profile

from wsasec.config.model import Authentication, Identity, KeyProfile, Revocation, Trust
from wsasec.keys.connections import group_of, peer, question, responders, ways_of
from wsasec.keys.credentials import Credentials
from wsasec.keys.exclusion import remaining
from wsasec.keys.groups import ANONYMOUS, Way, groups
from wsasec.keys.identities import for_charon, is_exact, is_key, of_key
from wsasec.keys.messages import decode, encode
from wsasec.profiles import DEFAULT, ConfigError

ADDRESS = ipaddress.ip_address("10.9.0.2")
SITE = another_profile("site", 1)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("papers"), "ca")


@pytest.fixture
def profile(ca: Authority) -> Callable[..., KeyProfile]:
    """Return what makes a profile with a certificate."""
    identity = certified("a.example", ca.issue("a.example"))

    def make(*which: Any, trust: Trust | None = None, **rest: Any) -> KeyProfile:
        return key_profile(
            rest.pop("identity", identity), trust or Trust(ca=(ca.certificate,)), *which, **rest
        )

    return make


def one(*profiles: KeyProfile) -> tuple[Any, Credentials]:
    """Return the only group of profiles, and its credentials."""
    (group,) = groups({each.profile.name: each for each in profiles})
    return group, Credentials([group])


def test_responder(profile: Any) -> None:
    (connection,) = responders(*one(profile(rekey_bytes=5, idle_seconds=7, dpd_seconds=3)), ())
    assert (connection.name, connection.way) == ("wsasec-default@any/0", Way("ca"))
    message = connection.message
    assert message["version"] == 2
    assert (message["remote_addrs"], message["mobike"], message["unique"]) == (["%any"], "no", "never")
    assert message["dpd_delay"] == "3s"
    child = message["children"]["default"]
    assert child == {
        "mode": "transport",
        "policies": "no",
        "reqid": DEFAULT.reqid,
        "set_mark_in": f"{DEFAULT.mark:#x}/{DEFAULT.mask:#x}",
        "local_ts": ["dynamic"],
        "remote_ts": ["dynamic"],
        "replay_window": 1024,
        "rekey_time": "3600s",
        "life_time": "3960s",
        "start_action": "none",
        "close_action": "none",
        "dpd_action": "clear",
        "esp_proposals": ["aes256gcm16-esn", "aes128gcm16-esn", "chacha20poly1305-esn"],
        "rekey_bytes": 5,
        "inactivity": "7s",
    }
    assert decode(encode({connection.name: message}))


def test_children_of_a_group(profile: Any) -> None:
    group, credentials = one(profile(), profile(SITE, signal=700, esp_proposals=(), ah_proposals=("sha1",)))
    (connection,) = responders(group, credentials, ())
    site = connection.message["children"]["site"]
    assert site["remote_ts"] == ["dynamic[253/700]"]
    assert (site["ah_proposals"], "esp_proposals" in site) == (["sha1"], False)
    assert site["reqid"] == SITE.reqid


def test_groups_are_of_what_ike_negotiates(profile: Any) -> None:
    profiles = [
        profile(),
        profile(SITE, signal=1, rekey_seconds=9, idle_seconds=3),
        profile(another_profile("old", 2), ike_version=1),
        profile(another_profile("named", 3), names=("b.example",)),
    ]
    found = groups({each.profile.name: each for each in profiles})
    assert [(g.name, len(g.profiles)) for g in found] == [("default", 2), ("old", 1), ("named", 1)]
    (connection,) = responders(found[1], Credentials(found), ())
    assert (connection.message["version"], connection.message["dpd_timeout"]) == (1, "6s")


def test_initiator(profile: Any) -> None:
    group, credentials = one(profile(names=("b.example", "*.test")))
    made = [peer(group, credentials, ADDRESS, None, way, n) for n, way in enumerate(group.ways())]
    assert [c.name for c in made] == ["wsasec-default@10.9.0.2/0", "wsasec-default@10.9.0.2/1"]
    assert [c.message["remote"]["id"] for c in made] == ["b.example", "*.test"]
    assert made[0].message["remote_addrs"] == ["10.9.0.2"]
    assert "local_addrs" not in made[0].message
    local = ipaddress.ip_address("10.9.0.1")
    (way,) = ways_of(group, credentials, "x.test")
    pinned = peer(group, credentials, ADDRESS, local, way, 0)
    assert pinned.name == "wsasec-default@10.9.0.2,10.9.0.1/0"
    assert (pinned.message["local_addrs"], pinned.message["remote"]["id"]) == (["10.9.0.1"], "x.test")
    assert ways_of(group, credentials, "x.other") == []


def test_every_way_counts_only_what_the_profile_believes(profile: Any, tmp_path: Path) -> None:
    (_, b), (_, c) = write_key(tmp_path, "b"), write_key(tmp_path, "c")
    ca = profile().trust.ca
    trust = Trust(ca=ca, pinned=(b.public, c.public), anonymous=True, revocation=Revocation.STRICT)
    group, credentials = one(profile(trust=trust))
    by_ca, by_key, anonymous = (c.message["remote"] for c in responders(group, credentials, ()))
    assert (len(by_ca["cacerts"]), by_ca["revocation"], by_ca["auth"]) == (1, "strict", "pubkey")
    assert (by_key["auth"], by_key["id"], len(by_key["pubkeys"])) == ("pubkey", "%any", 2)
    assert anonymous == {"auth": "psk", "id": ANONYMOUS}
    # One key: else charon would take its identity from the others.
    key = of_key(credentials.pinned(trust)[0])
    (way,) = ways_of(group, credentials, key)
    connection = peer(group, credentials, ADDRESS, None, way, 0)
    assert connection.message["remote"]["id"] == "@#" + key.replace(":", "")
    assert connection.message["remote"]["pubkeys"] == [credentials.pinned(trust)[0]]
    assert (
        ways_of(group, credentials, key.translate(str.maketrans("0123456789abcdef", "123456789abcdef0")))
        == []
    )
    assert ways_of(group, credentials, "b.example") == [Way("ca", "b.example")]
    assert Way("pinned", "b.example") not in ways_of(group, credentials, ANONYMOUS)
    with pytest.raises(ValueError, match="no key"):
        peer(group, credentials, ADDRESS, None, Way("pinned", "b.example"), 0)


@pytest.mark.parametrize("kind", ["ca", "psk"])
def test_question_who_a_peer_is(profile: Any, tmp_path: Path, kind: str) -> None:
    """By it nobody gets an association: it has none, and no identity will do."""
    names = ("x.example", "b.example")
    of = profile(names=names) if kind == "ca" else psk(tmp_path, "one", "1", names=names)
    group, credentials = one(of)
    made = question(group, credentials, ADDRESS, None, 7)
    assert made.name == f"wsasec-{group.name}@10.9.0.2/who-7"
    assert group_of(made.name) == group.name
    assert made.message["children"] == {}
    assert made.message["remote_addrs"] == ["10.9.0.2"]
    remote = made.message["remote"]
    # With a wildcard, so that charon does not ask for it; and below a domain that there is not.
    assert remote["id"] == "*.wsasec.invalid"
    assert remote["auth"] == ("pubkey" if kind == "ca" else "psk")
    assert ways_of(group, credentials, "wsasec.invalid") == []


def test_own_raw_key_is_the_identity(tmp_path: Path) -> None:
    (_, a), (_, b) = write_key(tmp_path, "a"), write_key(tmp_path, "b")
    identity = Identity("a.example", Authentication.RAW_KEY, key=a.key)
    (connection,) = responders(*one(key_profile(identity, Trust(pinned=(b.public,)))), ())
    assert connection.message["local"]["id"].startswith("@#")


def test_secrets_are_not_in_connections(tmp_path: Path) -> None:
    secret = write(tmp_path / "psk", b"s3cret, and long enough")
    identity = Identity("a.example", Authentication.PSK, psk=secret)
    (connection,) = responders(*one(key_profile(identity, Trust())), ())
    assert b"s3cret" not in encode(connection.message)
    assert connection.message["local"] == {"auth": "psk", "id": "a.example"}


def psk(folder: Path, name: str, file: str, **rest: Any) -> KeyProfile:
    path = folder / file
    if not path.exists():
        write(path, f"the secret in file {file}".encode())
    number = sum(name.encode()) % 100
    return key_profile(
        Identity(f"{name}.example", Authentication.PSK, psk=path),
        Trust(),
        another_profile(name, number),
        **rest,
    )


def check_apart(*profiles: KeyProfile) -> None:
    groups({each.profile.name: each for each in profiles})


def test_pre_shared_keys_that_cannot_be_kept_apart(tmp_path: Path, profile: Any) -> None:
    named = psk(tmp_path, "one", "1", names=("p.example",))
    takes = profile(trust=Trust(ca=profile().trust.ca, anonymous=True))
    check_apart(psk(tmp_path, "one", "1"), psk(tmp_path, "two", "1"))
    check_apart(psk(tmp_path, "one", "1"), profile())
    check_apart(
        psk(tmp_path, "one", "1", names=("p.example",)), psk(tmp_path, "two", "2", names=("q.example",))
    )
    check_apart(psk(tmp_path, "one", "1", names=("p.example",)), takes)
    for others in (
        (psk(tmp_path, "two", "2"),),
        (psk(tmp_path, "two", "2", names=("*.test",)),),
        (psk(tmp_path, "two", "2", names=("p.example",)),),
        (psk(tmp_path, "two", "2", names=("one.example",)),),
    ):
        with pytest.raises(ValueError, match="another pre-shared key"):
            check_apart(named, *others)
    with pytest.raises(ValueError, match="anonymous"):
        check_apart(psk(tmp_path, "one", "1"), takes)
    with pytest.raises(ValueError, match="anonymous"):
        check_apart(psk(tmp_path, "one", "1", names=("*",)), takes)


def test_nobody_is_believed(profile: Any) -> None:
    with pytest.raises(ValueError, match="nobody"):
        groups({"default": profile(trust=Trust(revocation=Revocation.STRICT))})


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("wsasec-a-b@any/0", "a-b"),
        ("wsasec-a@::1/3", "a"),
        ("wsasec-a", None),
        ("other@any/0", None),
        ("", None),
    ],
)
def test_group_of(name: str, group: str | None) -> None:
    assert group_of(name) == group


networks = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(24, 32)).map(
        lambda n: ipaddress.ip_network((n[0] >> (32 - n[1]) << (32 - n[1]), n[1]))
    ),
    st.tuples(st.integers(0, 2**128 - 1), st.integers(120, 128)).map(
        lambda n: ipaddress.ip_network((ipaddress.IPv6Address(n[0] >> (128 - n[1]) << (128 - n[1])), n[1]))
    ),
)


@given(st.lists(networks, min_size=1, max_size=3, unique=True), st.data())
def test_exclusion(found: list[Any], data: Any) -> None:
    inside = [address for network in found for address in network]
    excluded = data.draw(st.sets(st.sampled_from(inside), max_size=20))
    left = remaining(found, excluded)
    covered = set()
    for piece in left:
        first, dash, last = piece.partition("-")
        if not dash:
            covered |= set(ipaddress.ip_network(piece))
            continue
        low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
        assert low <= high  # type: ignore[operator]
        covered |= {type(low)(n) for n in range(int(low), int(high) + 1)}
    assert covered == set(inside) - excluded


def test_exclusion_from_everything() -> None:
    assert remaining((), ()) == ["%any"]
    assert remaining((), [ADDRESS]) == [
        "0.0.0.0-10.9.0.1",
        "10.9.0.3-255.255.255.255",
        "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ]
    ends = [ipaddress.ip_address(a) for a in ("0.0.0.0", "255.255.255.255", "::")]
    assert remaining((), ends) == ["0.0.0.1-255.255.255.254", "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]
    assert remaining((ipaddress.ip_network("10.9.0.2/32"),), [ADDRESS]) == []


def test_nothing_is_left_to_answer(profile: Any) -> None:
    group, credentials = one(profile(peers=(ipaddress.ip_network("10.9.0.2/32"),)))
    assert responders(group, credentials, [ADDRESS]) == []


KEY = of_key(b"x")


@pytest.mark.parametrize(
    "identity", ["b.example", "host/b.example", "m@b.example", "C=DE, CN=x", "10.0.0.1", "::1", KEY]
)
def test_exact_identities(identity: str) -> None:
    assert is_exact(identity)
    assert is_key(identity) is (identity == KEY)
    assert for_charon(identity) == (identity if identity != KEY else "@#" + KEY.replace(":", ""))


@pytest.mark.parametrize(
    "identity",
    ["", "%any", "%any6", "*", "*.example", "*@b", "C=DE, CN=*", "0.0.0.0", "::", "@b", "@#00", "@@b",
     "dns:b", "keyid:1", "asn1dn:#30", "b\n", "b example", "10.0.0.0/8", "10.0.0.1-10.0.0.9",
     "fe80::1%eth0", "{1}:x", KEY[:-1]],
)  # fmt: skip
def test_identities_that_are_none_or_many(identity: str) -> None:
    assert not is_exact(identity)


JUNK = "AAAA"


def check_refused(profile: KeyProfile, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        one(profile)
    assert JUNK not in str(raised.value)
    assert raised.value.__cause__ is None


def test_files_that_are_wrong(profile: Any, ca: Authority, tmp_path: Path) -> None:
    good = profile().identity
    other = ca.issue("other.example")
    junk = write(
        tmp_path / "junk", f"-----BEGIN PRIVATE KEY-----\n{JUNK}\n-----END PRIVATE KEY-----\n".encode()
    )
    open_key = write(tmp_path / "open.key", good.key.read_bytes(), 0o640)

    def by(certificate: Path | None, key: Path) -> KeyProfile:
        return profile(identity=Identity("a", Authentication.CERTIFICATE, certificate, key))

    check_refused(by(good.certificate, other.key), "not that of")
    check_refused(by(good.certificate, junk), "no private key")
    check_refused(by(good.certificate, open_key), "chmod 0600")
    check_refused(by(junk, good.key), "no certificate")
    check_refused(by(None, good.key), "certificate: missing")
    check_refused(profile(identity=Identity("a", Authentication.RAW_KEY)), "key: missing")
    check_refused(profile(trust=Trust(ca=(junk,))), "no certificate")
    check_refused(profile(trust=Trust(pinned=(junk,))), "no public key")
    check_refused(profile(trust=Trust(ca=(ca.certificate,), crl=(junk,))), "no revocation list")
    empty = write(tmp_path / "empty", b"\n")
    check_refused(profile(identity=Identity("a", Authentication.PSK, psk=empty)), "shorter than 16 bytes")
    check_refused(profile(identity=Identity("a", Authentication.PSK)), "psk: missing")
    check_refused(
        profile(identity=Identity("a", Authentication.PSK, psk=Path("/dev/null"))), "not a regular file"
    )
    with pytest.raises(FileNotFoundError):
        one(profile(trust=Trust(ca=(tmp_path / "none",))))


def test_chain_and_lists(profile: Any, ca: Authority, tmp_path: Path) -> None:
    files = ca.issue("chained.example")
    chain = write(tmp_path / "chain.crt", files.certificate.read_bytes() + ca.certificate.read_bytes())
    identity = Identity("chained.example", Authentication.CERTIFICATE, chain, files.key)
    trust = Trust(ca=(ca.certificate,), crl=(ca.revoke("chained.example"),))
    _, credentials = one(profile(identity=identity, trust=trust))
    assert credentials.between() == credentials.all_authorities()
    assert len(credentials.crls()) == 1
    assert credentials.key_files() == [files.key]


def test_pre_shared_keys_for_peers_that_are_not_known_yet(tmp_path: Path, profile: Any) -> None:
    """This host's identity is enough for its key only where no other profile could be entered by that."""
    two = psk(tmp_path, "two", "2", names=("q.example",), peers=(ipaddress.ip_network("10.1.0.0/16"),))
    named = psk(tmp_path, "one", "1", names=("p.example",), peers=(ipaddress.ip_network("10.2.0.0/16"),))

    def owners(*profiles: KeyProfile) -> tuple[str, ...]:
        first, *_ = groups({each.profile.name: each for each in profiles})
        assert first.can_ask is (first.identity.id in first.key_owners())
        return first.key_owners()

    assert owners(named) == owners(named, two) == owners(named, profile()) == ("p.example", "one.example")
    same = replace(named.identity, id="ONE.example", psk=two.identity.psk)
    assert owners(named, replace(two, identity=same)) == ("p.example",)
    assert owners(replace(named, ike_version=1)) == ("p.example",)
    with pytest.raises(ValueError, match="another pre-shared key"):
        owners(named, replace(two, names=("ONE.example", "p.example")))
