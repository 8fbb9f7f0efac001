"""Why a negotiation failed, by what charon 5.9.8 logs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsasec.keys.reason import DETAIL_BYTES, Reason
from wsasec.keys.reasons import explain, shown_identity

BEFORE = [
    "initiating IKE_SA wsasec-default@10.9.0.2/0[1] to 10.9.0.2",
    "generating IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) ]",
    "sending packet: from 10.9.0.1[500] to 10.9.0.2[500] (396 bytes)",
    "authentication of 'a.example' (myself) with ECDSA_WITH_SHA256_DER successful",
]
GOOD = "authentication of 'b.example' with ECDSA_WITH_SHA256_DER successful"


@pytest.mark.parametrize(
    ("lines", "reason", "detail"),
    [
        (["received NO_PROPOSAL_CHOSEN notify error"], Reason.NO_PROPOSAL, "IKE's proposals"),
        (
            [GOOD, "received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built"],
            Reason.NO_PROPOSAL,
            "the association's proposals",
        ),
        (["received TS_UNACCEPTABLE notify, no CHILD_SA built"], Reason.NO_PROPOSAL, "no such profile"),
        (["received AUTHENTICATION_FAILED notify error"], Reason.AUTHENTICATION, "does not accept"),
        (
            ["no issuer certificate found for \"CN=b\"", "  issuer is \"CN=x\"",
             "no trusted ECDSA public key found for 'b'"],
            Reason.AUTHENTICATION,
            "CN=b is not believed",
        ),
        (["no trusted RSA public key found for 'b.example'"], Reason.AUTHENTICATION, "key of 'b.example'"),
        (["no shared key found for 'a' - 'b'"], Reason.AUTHENTICATION, "no pre-shared key for 'a' - 'b'"),
        (
            ["subject certificate invalid (valid from Nov 1 to Nov 2)"],
            Reason.AUTHENTICATION,
            "not valid now: valid from Nov 1 to Nov 2",
        ),
        (
            ["certificate was revoked on Nov 25 09:00:00 UTC 2026, reason: unspecified"],
            Reason.AUTHENTICATION,
            "was revoked",
        ),
        (
            [GOOD, "constraint check failed: RULE_CRL_VALIDATION is SKIPPED, but requires at least GOOD"],
            Reason.AUTHENTICATION,
            "nobody says",
        ),
        (
            [GOOD, "constraint check failed: identity '*.test' required "],
            Reason.OTHER_IDENTITY,
            "identity is 'b.example', '*.test' was asked for",
        ),
        (
            ["constraint check failed: identity 'x' required "],
            Reason.OTHER_IDENTITY,
            "identity is not 'x', which was asked for",
        ),
        (["retransmit 3 of request with message ID 0", "giving up after 3 retransmits"],
         Reason.PEER_SILENT, "3 repetitions"),
        ([], Reason.NEGOTIATION, "establishing CHILD_SA 'default' failed"),
        (["something new went wrong"], Reason.NEGOTIATION, "something new went wrong"),
    ],
)  # fmt: skip
def test_reasons(lines: list[str], reason: Reason, detail: str) -> None:
    error = explain([*BEFORE, *lines], "establishing CHILD_SA 'default' failed")
    assert (error.reason, detail in error.detail) == (reason, True), error


def test_time() -> None:
    error = explain(BEFORE, "CHILD_SA 'default' not established after 1000ms")
    assert (error.reason, error.detail) == (Reason.PEER_SILENT, "no end after 1000 ms")


@pytest.mark.parametrize(("asked", "said"), [("%any", False), ("*.example", False), ("b.example", True)])
def test_identity_that_was_asked_for(asked: str, said: bool) -> None:
    error = explain(["received AUTHENTICATION_FAILED notify error"], "", asked)
    assert ("is not 'b.example'" in error.detail) is said


def test_own_authentication_is_not_the_peers() -> None:
    assert shown_identity(BEFORE) is None
    assert shown_identity([*BEFORE, GOOD]) == "b.example"


@given(st.lists(st.text()), st.text(), st.text())
def test_anything(lines: list[str], said: str, asked: str) -> None:
    error = explain(lines, said, asked)
    assert len(error.detail.encode()) <= DETAIL_BYTES
    assert "\n" not in error.detail
