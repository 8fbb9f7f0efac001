"""Policies that sessions add, as profiles: what there can be, and what it comes to."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from wsasec.config.added import UnsupportedError, key_profile, profile_of, supported
from wsasec.config.described import described
from wsasec.config.model import Authentication, Config, Identity, KeyProfile, Trust
from wsasec.policy import (
    WINDOWS_VISTA_DEFAULT,
    Encryption,
    Exchange,
    Group,
    Impersonation,
    Integrity,
    Method,
    Protocol,
    QuickModeFlags,
    QuickModePolicy,
    QuickModeProposal,
    Transform,
)
from wsasec.policy import (
    Authentication as Shown,
)
from wsasec.policy.reported import policy_of
from wsasec.profile import AH
from wsasec.profiles import DEFAULT

GUID = uuid.UUID(int=7)
BASE = KeyProfile(DEFAULT, Identity("a", Authentication.CERTIFICATE), Trust(), peers=(), names=("*.example",))
STRONG = QuickModeProposal(Encryption.AES_GCM_256, pfs=Group.ECP_384)
POLICY = QuickModePolicy("strong", (STRONG,), guid=GUID, idle_seconds=77)
NUMBERS = 0x80000001, 0xFFFF0000, 0xFFFF0000


def made(policy: QuickModePolicy) -> KeyProfile:
    return key_profile(policy, profile_of(policy, supported(policy), "session-7", NUMBERS), BASE)


def test_a_policy_is_a_profile_like_the_default() -> None:
    found = made(POLICY)
    assert found.esp_proposals == ("aes256gcm16-ecp384",)
    assert (found.rekey_seconds, found.rekey_bytes, found.rekey_packets) == (3600, 102_400_000, 2**31 - 1)
    assert (found.idle_seconds, found.profile.encrypting, found.profile.guid) == (77, True, GUID)
    assert 1 <= found.signal <= 0xFFFF
    for key in ("identity", "trust", "names", "peers", "ike_proposals", "ike_rekey_seconds", "ike_version"):
        assert getattr(found, key) == getattr(BASE, key)


def test_no_limit() -> None:
    endless = replace(STRONG, lifetime_bytes=(2**32 - 1) * 1024, lifetime_packets=2**32 - 1)
    found = made(replace(POLICY, proposals=(endless,)))
    assert (found.rekey_bytes, found.rekey_packets) == (0, 0)


def test_ah() -> None:
    proposal = QuickModeProposal(Encryption.NONE, Integrity.SHA256, Protocol.AH)
    found = made(replace(POLICY, proposals=(proposal,)))
    assert (found.esp_proposals, found.ah_proposals) == ((), ("sha256",))
    assert (found.profile.protocol, found.profile.encrypting) == (AH, False)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"persistent": True}, "persistent"),
        ({"flags": QuickModeFlags.ND_BOUNDARY}, "flags"),
        ({"flags": 0x100}, "flags"),
        ({"clear_seconds": 10}, "clear_seconds"),
        ({"extended": (Shown(Method.SSL),)}, "extended"),
        ({"impersonation": Impersonation.SOCKET_PRINCIPAL}, "impersonation"),
        ({"exchange": Exchange.IKE}, "exchange"),
        ({"proposals": (replace(STRONG, further=(Transform(Encryption.AES_GCM_128),)),)}, "further"),
        ({"proposals": (replace(STRONG, pfs=Group.MAIN_MODE),)}, "pfs"),
        ({"proposals": (QuickModeProposal(Encryption.DES, Integrity.SHA1),)}, "encryption"),
        ({"proposals": WINDOWS_VISTA_DEFAULT.quick_mode.proposals}, "proposals"),
    ],
)
def test_what_there_cannot_be(change: dict[str, object], word: str) -> None:
    with pytest.raises(UnsupportedError, match=f"^{word}|, {word}"):
        supported(replace(POLICY, **change))


def test_what_charon_does_anyway() -> None:
    flags = QuickModeFlags.DONT_NEGOTIATE_BYTE_LIFETIME | QuickModeFlags.NAT_ENCAP_ALLOW_PEER_BEHIND_NAT
    supported(replace(POLICY, flags=flags))


def test_it_is_listed_as_it_was_added() -> None:
    config = Config(Path("wsasec.toml"), {"default": BASE, "session-7": made(POLICY)})
    main, quick = [policy_of(each) for each in described(config, [POLICY])][2:]
    assert quick == POLICY
    assert (main.guid, main.name, main.persistent) == (GUID, "strong", False)
