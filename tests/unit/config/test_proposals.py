"""Proposals: which of strongSwan's keywords go together."""

from __future__ import annotations

import pytest

from wsasec.config import proposals
from wsasec.config.model import ESP_PROPOSALS, IKE_PROPOSALS


def test_the_defaults() -> None:
    for proposal in IKE_PROPOSALS:
        proposals.ike(proposal)
    for proposal in ESP_PROPOSALS:
        assert proposals.esp(proposal)


@pytest.mark.parametrize(
    ("text", "encrypts"),
    [
        ("aes256gcm16", True),
        ("aes256gcm16-aes128gcm16-ecp384-x25519-esn", True),
        ("aes128-sha1", True),
        ("aes128-aes256-sha256-sha384-modp2048-noesn", True),
        ("3des-sha1", True),
        ("null-sha1", False),
        ("aes128gmac-esn", False),
    ],
)
def test_esp(text: str, encrypts: bool) -> None:
    assert proposals.esp(text) is encrypts


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("esp", "", "is no keyword"),
        ("esp", "aes128", "an integrity algorithm is wanted"),
        ("esp", "null", "an integrity algorithm is wanted"),
        ("esp", "sha256", "one kind of encryption is wanted"),
        ("esp", "aes128gcm16-sha256", "no integrity algorithm beside"),
        ("esp", "aes128gcm16-aes128-sha256", "one kind of encryption"),
        ("esp", "aes128-null-sha256", "one kind of encryption"),
        ("esp", "null-aes128gmac-sha256", "only one of null, aes256gmac"),
        ("esp", "aes128gmac-sha256", "no integrity algorithm beside"),
        ("esp", "aes128gcm16-esn-noesn", "either esn or noesn"),
        ("esp", "aes128gcm16-aes128gcm16", "'aes128gcm16' is there twice"),
        ("esp", "AES128GCM16", "is no keyword"),
        ("esp", "aes128gcm16-prfsha256", "'prfsha256' is no keyword"),
        ("esp", "aes128gcm16\n", "is no keyword"),
        ("ah", "esn", "one kind of integrity"),
        ("ah", "sha256-aes128gmac", "one kind of integrity"),
        ("ah", "aes128-sha256", "'aes128' is no keyword"),
        ("ah", "sha256-esn-noesn", "either esn or noesn"),
        ("ike", "aes128gcm16-ecp256", "a PRF is wanted"),
        ("ike", "aes128gcm16-prfsha256", "a group is wanted"),
        ("ike", "aes128gcm16-sha256-prfsha256-ecp256", "say prf"),
        ("ike", "aes128-ecp256", "an integrity algorithm is wanted"),
        ("ike", "null-sha256-ecp256", "'null' is no keyword"),
        ("ike", "aes128gcm16-aes128-sha256-ecp256", "one kind of encryption"),
        ("ike", "aes128gcm16-prfsha256-ecp256-esn", "'esn' is no keyword"),
    ],
)
def test_wrong_ones(kind: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(proposals, kind)(text)


def test_the_documented_default_of_windows() -> None:
    for text in ("null-sha1", "aes128-sha1", "3des-sha1"):
        proposals.esp(text)
    proposals.ah("sha1")
    for text in ("aes128-sha1-ecp256", "3des-sha1-modp1024"):
        proposals.ike(text)
