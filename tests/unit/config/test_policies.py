"""Policies as strongSwan's proposals."""

from __future__ import annotations

import pytest

from wsasec.config.named import expanded
from wsasec.config.policies import main_mode, quick_mode
from wsasec.policy import (
    WINDOWS_VISTA_DEFAULT,
    Authentication,
    Encryption,
    Exchange,
    Group,
    Integrity,
    MainModePolicy,
    MainModeProposal,
    Method,
    Protocol,
    QuickModePolicy,
    QuickModeProposal,
    Transform,
)


def test_the_documented_default_of_windows() -> None:
    main, quick = (
        main_mode(WINDOWS_VISTA_DEFAULT.main_mode),
        quick_mode(WINDOWS_VISTA_DEFAULT.quick_mode),
    )
    assert main.proposals == ("aes128-sha1-ecp256", "3des-sha1-modp1024")
    assert (main.version, main.rekey_seconds, main.anonymous, main.secret) == (2, 7200, True, b"")
    assert quick.esp == ("null-sha1", "aes128-sha1", "3des-sha1")
    assert quick.ah == ("sha1",)
    assert (quick.rekey_seconds, quick.rekey_bytes) == (3600, 55 << 30)
    assert (quick.idle_seconds, quick.clear_seconds, quick.encrypting) == (300, 10, False)


def test_its_names_in_the_file() -> None:
    """What the file's policies come to is what the dataclasses do."""
    main, quick = main_mode(WINDOWS_VISTA_DEFAULT.main_mode), quick_mode(WINDOWS_VISTA_DEFAULT.quick_mode)
    for name, key, proposals in (
        ("windows-vista-default", "proposals", quick.esp),
        ("windows-vista-default-ah", "ah_proposals", quick.ah),
    ):
        assert expanded({"policy": name, "reqid": 5}) == {
            "policy": name,
            "reqid": 5,
            "ike_proposals": list(main.proposals),
            key: list(proposals),
            "ike_rekey_seconds": main.rekey_seconds,
            "rekey_seconds": quick.rekey_seconds,
            "rekey_bytes": quick.rekey_bytes,
            "idle_seconds": quick.idle_seconds,
            "identity": {"anonymous": True},
            "trust": {"anonymous": True},
        }
    assert expanded({"reqid": 5}) == {"reqid": 5}


def test_a_current_policy() -> None:
    policy = QuickModePolicy(
        "strong",
        (
            QuickModeProposal(Encryption.AES_GCM_256, pfs=Group.ECP_384, lifetime_seconds=600),
            QuickModeProposal(Encryption.AES_256, Integrity.SHA256, lifetime_bytes=1 << 20),
        ),
    )
    quick = quick_mode(policy)
    assert quick.esp == ("aes256gcm16-ecp384", "aes256-sha256")
    assert (quick.ah, quick.rekey_seconds, quick.rekey_bytes, quick.encrypting) == ((), 600, 1 << 20, True)
    main = main_mode(
        MainModePolicy(
            "strong",
            (MainModeProposal(Encryption.AES_GCM_256, Integrity.SHA384, Group.ECP_384),),
            (Authentication(Method.KERBEROS), Authentication(Method.CERTIFICATE)),
            exchange=Exchange.IKEV2,
        )
    )
    assert main.proposals == ("aes256gcm16-prfsha384-ecp384",)
    assert not main.anonymous


def test_gmac_and_old_ike() -> None:
    gmac = QuickModeProposal(Encryption.NONE, Integrity.AES_GMAC_256)
    assert quick_mode(QuickModePolicy("g", (gmac,))).esp == ("aes256gmac",)
    old = MainModePolicy(
        "old",
        (MainModeProposal(Encryption.TRIPLE_DES, Integrity.SHA1, Group.MODP_1024),),
        (Authentication(Method.PRESHARED_KEY, secret=b"a secret of the test"),),
        exchange=Exchange.IKE,
    )
    main = main_mode(old)
    assert (main.version, main.secret) == (1, b"a secret of the test")
    assert "secret of" not in repr(main)


@pytest.mark.parametrize(
    ("proposal", "word"),
    [
        (QuickModeProposal(Encryption.DES, Integrity.SHA1), "encryption"),
        (QuickModeProposal(Encryption.AES_128, Integrity.SHA1, pfs=Group.MAIN_MODE), "pfs"),
        (QuickModeProposal(Encryption.NONE, Integrity.SHA1, Protocol.ESP_FIRST_PACKET), "protocol"),
        (
            QuickModeProposal(
                Encryption.AES_GCM_128,
                further=(Transform(Encryption.NONE, Integrity.SHA1, Protocol.AH),),
            ),
            "further",
        ),
    ],
    ids=["des", "main mode", "first packet", "two"],
)
def test_what_there_is_not(proposal: QuickModeProposal, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        quick_mode(QuickModePolicy("x", (proposal,)))


def test_nobody_can_authenticate() -> None:
    policy = MainModePolicy(
        "k",
        (MainModeProposal(Encryption.AES_128, Integrity.SHA1, Group.ECP_256),),
        (Authentication(Method.KERBEROS),),
    )
    with pytest.raises(ValueError, match=r"authentication.*KERBEROS"):
        main_mode(policy)
