"""Policies as objects: what is taken, and what is not."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import pytest

from wsasec import IpsecSettings, policy
from wsasec.policy import (
    WINDOWS_VISTA_DEFAULT,
    Authentication,
    Encryption,
    Exchange,
    Group,
    Impersonation,
    Integrity,
    MainModePolicy,
    MainModeProposal,
    Method,
    Protocol,
    QuickModeFlags,
    QuickModePolicy,
    QuickModeProposal,
    Roots,
    Transform,
)

QUICK = QuickModeProposal(Encryption.AES_GCM_256)
MAIN = MainModeProposal(Encryption.AES_256, Integrity.SHA384, Group.ECP_384)
KERBEROS = Authentication(Method.KERBEROS)


def test_the_default_of_windows_vista() -> None:
    main, quick = WINDOWS_VISTA_DEFAULT.main_mode, WINDOWS_VISTA_DEFAULT.quick_mode
    assert [(one.encryption, one.integrity, one.group) for one in main.proposals] == [
        (Encryption.AES_128, Integrity.SHA1, Group.ECP_256),
        (Encryption.TRIPLE_DES, Integrity.SHA1, Group.MODP_1024),
    ]
    assert {(one.lifetime_seconds, one.quick_mode_limit) for one in main.proposals} == {(7200, 0)}
    assert main.authentication == (Authentication(Method.ANONYMOUS),)
    assert [(one.protocol, one.encryption, one.integrity) for one in quick.proposals] == [
        (Protocol.ESP, Encryption.NONE, Integrity.SHA1),
        (Protocol.ESP, Encryption.AES_128, Integrity.SHA1),
        (Protocol.ESP, Encryption.TRIPLE_DES, Integrity.SHA1),
        (Protocol.AH, Encryption.NONE, Integrity.SHA1),
    ]
    assert {(one.lifetime_seconds, one.lifetime_bytes, one.pfs) for one in quick.proposals} == {
        (3600, 55 * 2**30, Group.NONE)
    }
    assert (quick.flags, quick.clear_seconds) == (QuickModeFlags.ND_BOUNDARY, 10)
    assert (quick.idle_seconds, quick.idle_failover_seconds) == (300, 60)
    assert [one.method for one in quick.extended] == [Method.SSL, Method.KERBEROS, Method.SSL]
    assert {main.impersonation, quick.impersonation} == {Impersonation.NONE}


def test_names() -> None:
    assert policy.named("windows-vista-default") is WINDOWS_VISTA_DEFAULT
    with pytest.raises(ValueError, match="windows-vista-default"):
        policy.named("default")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encryption": Encryption.AES_128}, "integrity"),
        ({"encryption": Encryption.NONE}, "integrity"),
        ({"encryption": Encryption.AES_GCM_128, "integrity": Integrity.SHA1}, "AES-GCM has its own"),
        ({"encryption": Encryption.AES_128, "integrity": Integrity.AES_GMAC_128}, "take AES-GCM"),
        ({"encryption": Encryption.AES_128, "integrity": Integrity.SHA384}, "main modes"),
        ({"encryption": Encryption.AES_GCM_128, "protocol": Protocol.AH}, "only ESP encrypts"),
        ({"encryption": 3}, "reported number"),
        ({"encryption": Encryption.AES_GCM_128, "protocol": 0x10007}, "cannot be added"),
    ],
)
def test_no_such_transform(values: dict[str, Any], message: str) -> None:
    for kind in Transform, QuickModeProposal:
        with pytest.raises(ValueError, match=message):
            kind(**values)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("lifetime_seconds", 0, ValueError),
        ("lifetime_seconds", 2**32, ValueError),
        ("lifetime_seconds", True, TypeError),
        ("lifetime_bytes", 1000, ValueError),
        ("lifetime_bytes", 1025, ValueError),
        ("lifetime_bytes", 2**42, ValueError),
        ("lifetime_packets", -1, ValueError),
        ("pfs", Integrity.SHA1, TypeError),
        ("further", [Transform(Encryption.AES_GCM_128)], TypeError),
        ("further", (Transform(Encryption.AES_GCM_128),) * 4, ValueError),
        ("further", (MAIN,), TypeError),
    ],
)
def test_no_such_quick_mode_proposal(name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        dataclasses.replace(QUICK, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("encryption", Encryption.NONE, ValueError),
        ("encryption", Encryption.AES_GCM_192, ValueError),
        ("encryption", "AES_128", TypeError),
        ("integrity", Integrity.NONE, ValueError),
        ("integrity", Integrity.AES_GMAC_256, ValueError),
        ("group", Group.MAIN_MODE, ValueError),
        ("group", 14, ValueError),
        ("lifetime_seconds", 0, ValueError),
        ("quick_mode_limit", -1, ValueError),
    ],
)
def test_no_such_main_mode_proposal(name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        dataclasses.replace(MAIN, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"method": Method.PRESHARED_KEY}, ValueError, "secret"),
        ({"method": Method.KERBEROS, "secret": b"x"}, ValueError, "secret"),
        ({"method": Method.PRESHARED_KEY, "secret": "x"}, TypeError, "secret"),
        ({"method": Method.KERBEROS, "inbound_roots": Roots.ENTERPRISE_STORE}, ValueError, "roots"),
        ({"method": Method.SSL, "root_count": 1}, ValueError, "root_count"),
        ({"method": Protocol.AH}, TypeError, "method"),
        ({"method": Method.KERBEROS, "flags": -1}, ValueError, "flags"),
    ],
)
def test_no_such_authentication(values: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Authentication(**values)


def test_secrets_are_not_shown() -> None:
    key = Authentication(Method.PRESHARED_KEY, secret=b"hush")
    made = MainModePolicy("with a key", (MAIN,), (key,))
    assert "hush" not in repr(made)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("name", "", ValueError),
        ("name", "x" * 256, ValueError),
        ("name", "\U0001f512" * 128, ValueError),
        ("name", "a\0b", ValueError),
        ("name", "\ud800", ValueError),
        ("name", b"x", TypeError),
        ("guid", uuid.UUID(int=0), ValueError),
        ("guid", "0b8d4d3c-6a53-4b57-9b7e-3a54a2a4a001", TypeError),
        ("proposals", (), ValueError),
        ("proposals", (MAIN,), TypeError),
        ("proposals", (QUICK,) * 256, ValueError),
        ("exchange", Exchange.IKEV2, ValueError),
        ("exchange", 1, TypeError),
        ("extended", (KERBEROS,) * 17, ValueError),
        ("idle_seconds", 2**32, ValueError),
        ("clear_seconds", -1, ValueError),
        ("persistent", 1, TypeError),
    ],
)
def test_no_such_policy(name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        dataclasses.replace(QuickModePolicy("some", (QUICK,)), **{name: value})  # type: ignore[arg-type]


def test_main_modes_say_who_is_who() -> None:
    with pytest.raises(ValueError, match="authentication"):
        MainModePolicy("nobody", (MAIN,), ())
    without = dataclasses.replace(MAIN, group=Group.NONE)
    MainModePolicy("AuthIP may", (without,), (KERBEROS,))
    with pytest.raises(ValueError, match="without a group"):
        MainModePolicy("IKE may not", (without,), (KERBEROS,), exchange=Exchange.IKE)


def test_longest_names() -> None:
    QuickModePolicy("\U0001f512" * 127 + "x", (QUICK,))


def test_keys_are_for_settings() -> None:
    key = uuid.uuid4()
    assert bytes(IpsecSettings(qm_policy=key))[28:44] == key.bytes_le
