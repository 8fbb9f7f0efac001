"""The configuration's profiles as the policies that sessions list."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from wsasec.config.described import RAW_KEY, described
from wsasec.config.model import Authentication, Config, Identity, KeyProfile, Trust
from wsasec.config.policies import main_mode, quick_mode
from wsasec.policy import (
    WINDOWS_VISTA_DEFAULT,
    Encryption,
    Exchange,
    Group,
    Integrity,
    MainModePolicy,
    Method,
    Policy,
    Protocol,
    QuickModePolicy,
)
from wsasec.policy.checks import UNKNOWN
from wsasec.policy.reported import policy_of
from wsasec.profiles import DEFAULT, Profile

ANYBODY = Identity("anonymous", Authentication.ANONYMOUS)
CERTIFIED = Identity("a.example", Authentication.CERTIFICATE, Path("a.crt"), Path("a.key"))
OTHER = Profile("other", uuid.UUID(int=1), 1, 0x01000000, 0xFF000000, False)


def listed(*profiles: KeyProfile, default: str = "default") -> list[Policy]:
    by_name = {profile.profile.name: profile for profile in profiles}
    return [policy_of(policy) for policy in described(Config(Path("wsasec.toml"), by_name, default))]


def pair(profile: KeyProfile) -> tuple[MainModePolicy, QuickModePolicy]:
    main, quick = listed(profile)
    assert isinstance(main, MainModePolicy)
    assert isinstance(quick, QuickModePolicy)
    return main, quick


def test_what_is_built_in() -> None:
    main, quick = pair(KeyProfile(DEFAULT, CERTIFIED, Trust(ca=(Path("ca.crt"), Path("old.crt")))))
    for policy in (main, quick):
        assert (policy.name, policy.guid, policy.persistent) == ("default", DEFAULT.guid, True)
    assert (main.exchange, quick.exchange) == (Exchange.IKEV2, Exchange.AUTHIP)
    assert [(one.method, one.root_count) for one in main.authentication] == [(Method.CERTIFICATE, 2)]
    # Each word of a group, as charon tries them.
    assert [(one.encryption, one.integrity, one.group) for one in main.proposals[:3]] == [
        (Encryption.AES_GCM_256, Integrity.SHA384, Group.ECP_384),
        (Encryption.AES_GCM_256, Integrity.SHA384, Group.ECP_256),
        (Encryption.AES_GCM_256, Integrity.SHA384, UNKNOWN + 31),
    ]
    assert len(main.proposals) == 7
    assert {one.lifetime_seconds for one in main.proposals} == {14400}
    assert [(one.encryption, one.integrity) for one in quick.proposals] == [
        (Encryption.AES_GCM_256, Integrity.NONE),
        (Encryption.AES_GCM_128, Integrity.NONE),
        (UNKNOWN + 28, Integrity.NONE),
    ]
    for one in quick.proposals:
        assert (one.pfs, one.protocol, one.lifetime_seconds) == (Group.NONE, Protocol.ESP, 3600)
        # No limit is told as the greatest that a policy can have.
        assert (one.lifetime_bytes, one.lifetime_packets) == ((2**32 - 1) * 1024, 2**32 - 1)
    assert quick.idle_seconds == 0


@pytest.mark.parametrize("ah", [False, True])
def test_what_a_policy_came_to_is_told_as_that_policy(ah: bool) -> None:
    main_in, quick_in = WINDOWS_VISTA_DEFAULT.main_mode, WINDOWS_VISTA_DEFAULT.quick_mode
    main_mode_of, quick_mode_of = main_mode(main_in), quick_mode(quick_in)
    main, quick = pair(
        KeyProfile(
            OTHER,
            ANYBODY,
            Trust(anonymous=True),
            ike_proposals=main_mode_of.proposals,
            ike_rekey_seconds=main_mode_of.rekey_seconds,
            esp_proposals=() if ah else quick_mode_of.esp,
            ah_proposals=quick_mode_of.ah if ah else (),
            rekey_seconds=quick_mode_of.rekey_seconds,
            rekey_bytes=quick_mode_of.rekey_bytes,
            idle_seconds=quick_mode_of.idle_seconds,
        )
    )
    assert main.proposals == main_in.proposals
    assert [one.method for one in main.authentication] == [Method.ANONYMOUS]
    protocol = Protocol.AH if ah else Protocol.ESP
    wanted = [one for one in quick_in.proposals if one.protocol == protocol]
    found = [(one.encryption, one.integrity, one.lifetime_seconds) for one in quick.proposals]
    assert found == [(one.encryption, one.integrity, one.lifetime_seconds) for one in wanted]
    assert {one.lifetime_bytes for one in quick.proposals} == {55 << 30}
    assert quick.idle_seconds == 300


@pytest.mark.parametrize(
    ("words", "transform"),
    [
        ("aes256gmac-modp3072", (Encryption.NONE, Integrity.AES_GMAC_256, UNKNOWN + 15)),
        ("aes192-sha512-esn", (Encryption.AES_192, UNKNOWN + 14, Group.NONE)),
        ("3des-md5-modp2048s256", (Encryption.TRIPLE_DES, Integrity.MD5, Group.MODP_2048_256)),
    ],
)
def test_words(words: str, transform: tuple[Any, ...]) -> None:
    _, quick = pair(KeyProfile(DEFAULT, CERTIFIED, Trust(), esp_proposals=(words,), rekey_bytes=1))
    (one,) = quick.proposals
    assert (one.encryption, one.integrity, one.pfs) == transform
    assert one.lifetime_bytes == 1024


def test_ike_of_version_1_and_a_secret() -> None:
    secret = Identity("a.example", Authentication.PSK, psk=Path("psk"))
    main, quick = pair(KeyProfile(DEFAULT, secret, Trust(), ike_version=1))
    assert (main.exchange, quick.exchange) == (Exchange.IKE, Exchange.IKE)
    assert [(one.method, one.secret) for one in main.authentication] == [(Method.PRESHARED_KEY, b"")]


def test_raw_keys_and_order() -> None:
    raw = Identity("a.example", Authentication.RAW_KEY, key=Path("key"))
    found = listed(
        KeyProfile(DEFAULT, raw, Trust(pinned=(Path("b.pub"),), anonymous=True)),
        KeyProfile(OTHER, raw, Trust(pinned=(Path("b.pub"),))),
        default="other",
    )
    assert [policy.name for policy in found] == ["other", "other", "default", "default"]
    assert isinstance(found[2], MainModePolicy)
    assert [one.method for one in found[2].authentication] == [RAW_KEY, Method.ANONYMOUS]
