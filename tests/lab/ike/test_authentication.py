"""Who a peer is: every way to show it, and every way to fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest
from certificates import write, write_key
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from ike_hosts import another_profile, certified, key_profile, soon
from wire import wait_for

from wsasec.config.model import Authentication, Identity, Revocation, Trust
from wsasec.keys.associations import Outcome
from wsasec.keys.reason import Reason
from wsasec.profiles import DEFAULT

pytestmark = pytest.mark.lab

MakePair = Callable[..., AbstractContextManager[Any]]
ANONYMOUS = Identity("anonymous", Authentication.ANONYMOUS)


def initiate(pair: Any, *, back: bool = False) -> Outcome:
    """Negotiate from A to B, or back, over IPv4."""
    return (pair.b if back else pair.a).initiate("default", pair.v4[0 if back else 1], soon())


def check_good(outcome: Outcome, remote: str) -> None:
    assert outcome.reason is Reason.NONE, outcome
    assert outcome.ike is not None
    assert outcome.child is not None
    assert outcome.ike.remote_id == remote
    assert (outcome.child.reqid, outcome.child.mode, outcome.child.protocol) == (
        DEFAULT.reqid,
        "TRANSPORT",
        "ESP",
    )
    assert outcome.child.esn
    assert (outcome.child.encryption, outcome.child.encryption_bits) == ("AES_GCM_16", 256)


def check_bad(pair: Any, outcome: Outcome, reason: Reason, *words: str) -> None:
    """It failed for this reason, says these words, and leaves nothing in either kernel."""
    assert outcome.reason is reason, outcome
    assert all(word in outcome.detail for word in words), outcome.detail
    # The peer may have been content before this host was not: it hears of that.
    end = soon()
    while any(sa.algorithm for host in (pair.lab.a, pair.lab.b) for sa in host.sas()):
        assert time.monotonic() < end, "associations left"
        time.sleep(0.01)


def test_certificates_by_both_families(pair: MakePair, papers: Any) -> None:
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("b.example", papers.b)
    with pair(key_profile(a, trust), key_profile(b, trust)) as two:
        for mine, theirs in (two.v4, two.v6):
            outcome = two.a.initiate("default", theirs, soon())
            check_good(outcome, "b.example")
            assert (outcome.ike.local, outcome.ike.remote) == (mine, theirs)
            assert two.a.initiate("default", theirs, soon()).child.unique_id == outcome.child.unique_id
            # Before that b would begin one of its own.
            wait_for(partial(two.b._whereabouts.at, "default", mine), "charon's event")
            assert two.b.associations(soon(), mine)  # once charon has put it away
            check_good(two.b.initiate("default", mine, soon()), "a.example")
        assert len(two.a.associations(soon())) == 2
        assert [ike.remote_id for ike in two.a.associations(soon(), two.v6[1])] == ["b.example"]
        marks = {sa.set_mark for sa in two.lab.a.sas() if sa.dst == two.lab.a.v4}
        assert marks == {(DEFAULT.mark, DEFAULT.mask)}
        (certificate,) = two.a.certificates(soon(), "alias.example")
        assert certificate.der == x509.load_pem_x509_certificate(
            papers.b.certificate.read_bytes()
        ).public_bytes(Encoding.DER)
        assert not certificate.own
        assert [c.own for c in two.a.certificates(soon(), "a.example")] == [True]
        assert two.a.terminate(outcome.ike.unique_id, soon())
        assert not two.a.terminate(outcome.ike.unique_id, soon())


@pytest.mark.parametrize("name", ["b.example", "host/b.example", "alias.example", "CN=b.example"])
def test_identity_of_any_form(pair: MakePair, papers: Any, name: str) -> None:
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified(name, papers.b)
    with pair(key_profile(a, trust, names=(name,)), key_profile(b, trust)) as two:
        check_good(initiate(two), name)
        two.a.pin("default", two.v4[1], name, soon())
        check_good(initiate(two), name)


def test_raw_keys(pair: MakePair, tmp_path: Any) -> None:
    (_, a), (_, b) = write_key(tmp_path, "a.example"), write_key(tmp_path, "b.example")
    identities = [
        Identity(name, Authentication.RAW_KEY, key=files.key)
        for name, files in (("a.example", a), ("b.example", b))
    ]
    with pair(
        key_profile(identities[0], Trust(pinned=(b.public,))),
        key_profile(identities[1], Trust(pinned=(a.public,))),
    ) as two:
        outcome = initiate(two)
        shown = outcome.ike.remote_id
        assert len(shown) == 59
        check_good(outcome, shown)
        two.a.pin("default", two.v4[1], shown, soon())
        check_good(initiate(two), shown)
        two.a.terminate(initiate(two).ike.unique_id, soon())
        check_good(initiate(two), shown)


def test_raw_key_of_somebody_else(pair: MakePair, tmp_path: Any) -> None:
    (_, a), (_, b) = write_key(tmp_path, "a.example"), write_key(tmp_path, "b.example")
    (_, other) = write_key(tmp_path, "other")
    identities = [
        Identity(name, Authentication.RAW_KEY, key=files.key)
        for name, files in (("a.example", a), ("b.example", b))
    ]
    with pair(
        key_profile(identities[0], Trust(pinned=(other.public,))),
        key_profile(identities[1], Trust(pinned=(a.public,))),
    ) as two:
        check_bad(two, initiate(two), Reason.AUTHENTICATION)


def test_pre_shared_key(pair: MakePair, tmp_path: Any) -> None:
    secret = write(tmp_path / "psk", b"correct horse battery\n")
    a, b = (Identity(f"{x}.example", Authentication.PSK, psk=secret) for x in "ab")
    with pair(key_profile(a, Trust()), key_profile(b, Trust())) as two:
        check_good(initiate(two), "b.example")


def test_different_pre_shared_keys(pair: MakePair, tmp_path: Any) -> None:
    a, b = (
        Identity(f"{x}.example", Authentication.PSK, psk=write(tmp_path / f"{x}.psk", x.encode() * 20))
        for x in "ab"
    )
    with pair(key_profile(a, Trust()), key_profile(b, Trust())) as two:
        outcome = initiate(two)
        check_bad(two, outcome, Reason.AUTHENTICATION)
        assert "aaaa" not in outcome.detail


def test_anonymous_client(pair: MakePair, papers: Any) -> None:
    believes = Trust(ca=(papers.ca.certificate,))
    takes = Trust(ca=(papers.ca.certificate,), anonymous=True)
    b = certified("b.example", papers.b)
    with pair(key_profile(ANONYMOUS, believes), key_profile(b, takes)) as two:
        check_good(initiate(two), "b.example")
        check_good(initiate(two, back=True), "anonymous")


def test_anonymous_server(pair: MakePair, papers: Any) -> None:
    """The reverse: who has a name and takes the anonymous reaches them, too."""
    takes = Trust(ca=(papers.ca.certificate,), anonymous=True)
    b = certified("b.example", papers.b)
    with pair(key_profile(b, takes), key_profile(ANONYMOUS, Trust(ca=(papers.ca.certificate,)))) as two:
        check_good(initiate(two), "anonymous")


def test_both_anonymous(pair: MakePair) -> None:
    with pair(
        key_profile(ANONYMOUS, Trust(anonymous=True)), key_profile(ANONYMOUS, Trust(anonymous=True))
    ) as two:
        check_good(initiate(two), "anonymous")


def test_anonymous_is_not_taken_by_default(pair: MakePair, papers: Any) -> None:
    believes = Trust(ca=(papers.ca.certificate,))
    b = certified("b.example", papers.b)
    with pair(key_profile(ANONYMOUS, believes), key_profile(b, believes)) as two:
        check_bad(two, initiate(two), Reason.AUTHENTICATION)


def test_certificate_of_another_ca(pair: MakePair, papers: Any) -> None:
    a, b = (
        certified("a.example", papers.a),
        certified("b.example", papers.rogue.issue("rogue-b", ["b.example"])),
    )
    both = Trust(ca=(papers.ca.certificate, papers.rogue.certificate))
    with pair(key_profile(a, Trust(ca=(papers.ca.certificate,))), key_profile(b, both)) as two:
        check_bad(two, initiate(two), Reason.AUTHENTICATION, "rogue", "not believed")
        check_bad(two, initiate(two, back=True), Reason.AUTHENTICATION)


def test_ca_of_another_profile_does_not_count(pair: MakePair, papers: Any) -> None:
    """All CAs are in one charon; each profile believes its own only."""
    a, b = (
        certified("a.example", papers.a),
        certified("b.example", papers.rogue.issue("rogue-b", ["b.example"])),
    )
    both = Trust(ca=(papers.ca.certificate, papers.rogue.certificate))
    on_a = [
        key_profile(a, Trust(ca=(papers.ca.certificate,))),
        key_profile(a, Trust(ca=(papers.rogue.certificate,)), another_profile("rogues", 1), signal=7),
    ]
    with pair(on_a, key_profile(b, both)) as two:
        check_bad(two, initiate(two), Reason.AUTHENTICATION)


def test_expired(pair: MakePair, papers: Any) -> None:
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = (
        certified("a.example", papers.a),
        certified("b.example", papers.ca.issue("expired-b", ["b.example"], end=-0.1)),
    )
    with pair(key_profile(a, trust), key_profile(b, trust)) as two:
        check_bad(two, initiate(two), Reason.AUTHENTICATION, "not valid now", "to")


def test_not_valid_yet(pair: MakePair, papers: Any) -> None:
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = (
        certified("a.example", papers.a),
        certified("b.example", papers.ca.issue("early-b", ["b.example"], start=1)),
    )
    with pair(key_profile(a, trust), key_profile(b, trust)) as two:
        check_bad(two, initiate(two), Reason.AUTHENTICATION, "not valid now")


def test_revoked(pair: MakePair, papers: Any) -> None:
    revoked = papers.ca.issue("revoked.example")
    crl = papers.ca.revoke("revoked.example")
    knows = Trust(ca=(papers.ca.certificate,), crl=(crl,), revocation=Revocation.STRICT)
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("revoked.example", revoked)
    with pair(key_profile(a, knows), key_profile(b, trust)) as two:
        check_bad(two, initiate(two), Reason.AUTHENTICATION, "revoked")
        check_bad(two, initiate(two, back=True), Reason.AUTHENTICATION)


def test_strict_without_a_list(pair: MakePair, papers: Any) -> None:
    strict = Trust(ca=(papers.rogue.certificate,), revocation=Revocation.STRICT)
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = (
        certified("a.example", papers.a),
        certified("b.example", papers.rogue.issue("rogue-b", ["b.example"])),
    )
    with pair(key_profile(a, strict), key_profile(b, trust)) as two:
        check_bad(two, initiate(two), Reason.AUTHENTICATION, "revoked")


def test_own_name_that_is_not_in_the_certificate(pair: MakePair, papers: Any) -> None:
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("m.example", papers.b)
    with pair(key_profile(a, trust), key_profile(b, trust)) as two:
        check_bad(two, initiate(two), Reason.AUTHENTICATION)


def test_name_that_is_asked_for(pair: MakePair, papers: Any) -> None:
    """The peer is asked for it, and only says that it is not it."""
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("b.example", papers.b)
    with pair(key_profile(a, trust, names=("m.example",)), key_profile(b, trust)) as two:
        check_bad(two, initiate(two), Reason.AUTHENTICATION, "or is not 'm.example'")
        check_bad(two, initiate(two, back=True), Reason.AUTHENTICATION)


@pytest.mark.parametrize("names", [("*.test",), ("m.example", "*.test")])
def test_name_that_is_not_among_the_profiles(pair: MakePair, papers: Any, names: tuple[str, ...]) -> None:
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("b.example", papers.b)
    with pair(key_profile(a, trust, names=names), key_profile(b, trust)) as two:
        outcome = initiate(two)
        check_bad(two, outcome, Reason.OTHER_IDENTITY, "identity is 'b.example'", "'*.test'")
        check_bad(two, initiate(two, back=True), Reason.AUTHENTICATION)


@pytest.mark.parametrize("names", [("b.example",), ("*.example",), ("m.test", "*.test", "b.example")])
def test_name_that_is_among_the_profiles(pair: MakePair, papers: Any, names: tuple[str, ...]) -> None:
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("b.example", papers.b)
    with pair(key_profile(a, trust, names=names), key_profile(b, trust)) as two:
        check_good(initiate(two), "b.example")
        for ike in two.a.associations(soon()):
            two.a.terminate(ike.unique_id, soon())
        # b hears of that a moment later; until then it has what it wants.
        wait_for(lambda: not two.b.associations(soon()), "it has ended at b, too")
        check_good(initiate(two, back=True), "a.example")


def many(name: str) -> tuple[str, ...]:
    """Return names of which this is the last."""
    return (*(f"x{number}.example" for number in range(40)), name)


def begun(pair: Any) -> int:
    """Return how many negotiations host A has begun."""
    return str(pair.a._charon.log.read_text()).count("initiating IKE_SA ")


def check_question_is_gone(pair: Any) -> None:
    """Nothing is left of what asked who the peer is, at either end."""
    with pair.a._pool.session(soon()) as session:
        names = session.request("get-conns", None, soon())["conns"]
    assert names
    assert not [name for name in names if b"who" in name]
    assert not [ike for host in (pair.a, pair.b) for ike in host.associations(soon()) if not ike.children]


def test_one_of_many_names(pair: MakePair, papers: Any) -> None:
    """The peer is asked who it is, and then for this name alone."""
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("b.example", papers.b)
    with pair(
        key_profile(a, trust, names=many("b.example")), key_profile(b, trust, names=many("a.example"))
    ) as two:
        check_good(initiate(two), "b.example")
        assert begun(two) == 2
        check_question_is_gone(two)
        for ike in two.a.associations(soon()):
            two.a.terminate(ike.unique_id, soon())
        check_good(initiate(two), "b.example")
        assert begun(two) == 3
        check_good(initiate(two, back=True), "a.example")


def test_none_of_many_names(pair: MakePair, papers: Any) -> None:
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("b.example", papers.b)
    with pair(key_profile(a, trust, names=many("m.example")), key_profile(b, trust)) as two:
        check_bad(two, initiate(two), Reason.OTHER_IDENTITY, "identity is 'b.example'", "none of the")
        # As it might have other identities, some names are tried all the same.
        assert begun(two) == 17
        check_question_is_gone(two)
        check_bad(two, initiate(two, back=True), Reason.AUTHENTICATION)


def test_one_of_many_names_by_a_pre_shared_key(pair: MakePair, tmp_path: Any) -> None:
    secret = write(tmp_path / "psk", b"correct horse battery\n")
    a, b = (Identity(f"{x}.example", Authentication.PSK, psk=secret) for x in "ab")
    with pair(
        key_profile(a, Trust(), names=many("b.example")), key_profile(b, Trust(), names=many("a.example"))
    ) as two:
        check_good(initiate(two), "b.example")
        assert begun(two) == 2
        check_question_is_gone(two)


def test_another_identity_of_a_host_with_many_names(pair: MakePair, papers: Any) -> None:
    """The peer shows that of its first profile; the other is among the names that are tried then."""
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("b.example", papers.b)
    other = certified("m.example", papers.ca.issue("m.example"))
    on_b = [key_profile(b, trust), key_profile(other, trust, another_profile("other", 1))]
    with pair(key_profile(a, trust, names=("m.example", *many("z.example"))), on_b) as two:
        outcome = initiate(two)
        assert (outcome.reason, outcome.ike.remote_id) == (Reason.NONE, "m.example")
        check_question_is_gone(two)


def test_who_has_the_name_that_nobody_has(pair: MakePair, papers: Any) -> None:
    """The pattern by which peers are asked who they are lets nobody in who could have an association."""
    trust = Trust(ca=(papers.ca.certificate,))
    a = certified("a.example", papers.a)
    b = certified("m.wsasec.invalid", papers.ca.issue("m.wsasec.invalid"))
    with pair(key_profile(a, trust, names=many("z.example")), key_profile(b, trust)) as two:
        check_bad(two, initiate(two), Reason.OTHER_IDENTITY, "identity is 'm.wsasec.invalid'")
        check_question_is_gone(two)
        check_bad(two, initiate(two, back=True), Reason.AUTHENTICATION)
