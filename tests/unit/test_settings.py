"""The bytes of settings, against an independent declaration of the structures."""

from __future__ import annotations

import ctypes
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsasec import IpsecFlags, IpsecSettings, Profile, SecurityFlags, Settings


class Guid(ctypes.Structure):
    _fields_ = (
        ("data1", ctypes.c_uint32),
        ("data2", ctypes.c_uint16),
        ("data3", ctypes.c_uint16),
        ("data4", ctypes.c_uint8 * 8),
    )


class Ipsec(ctypes.Structure):
    """SOCKET_SECURITY_SETTINGS_IPSEC as the Windows SDK declares it (x64, wchar_t of 16 bits)."""

    _fields_ = (
        ("SecurityProtocol", ctypes.c_int32),
        ("SecurityFlags", ctypes.c_uint32),
        ("IpsecFlags", ctypes.c_uint32),
        ("AuthipMMPolicyKey", Guid),
        ("AuthipQMPolicyKey", Guid),
        ("Reserved", Guid),
        ("Reserved2", ctypes.c_uint64),
        ("UserNameStringLen", ctypes.c_uint32),
        ("DomainNameStringLen", ctypes.c_uint32),
        ("PasswordStringLen", ctypes.c_uint32),
        ("AllStrings", ctypes.c_uint16 * 1),
    )


TEXT = st.text(max_size=40).filter(lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text))
GUIDS = st.uuids(allow_nil=False)


def test_layout() -> None:
    assert ctypes.sizeof(Ipsec) == 88
    assert Ipsec.AllStrings.offset == 84


@pytest.mark.parametrize("flags", range(4))
def test_settings(flags: int) -> None:
    assert bytes(Settings(SecurityFlags(flags))) == bytes(4) + flags.to_bytes(4, "little")


def test_defaults() -> None:
    assert bytes(Settings()) == bytes(8)
    assert bytes(IpsecSettings()) == b"\1" + bytes(87)


@given(
    flags=st.integers(0, 3),
    ipsec_flags=st.integers(0, 15),
    qm_policy=st.none() | GUIDS,
    mm_policy=st.none() | GUIDS,
    strings=st.tuples(TEXT, TEXT, TEXT),
)
def test_ipsec_settings(
    flags: int,
    ipsec_flags: int,
    qm_policy: uuid.UUID | None,
    mm_policy: uuid.UUID | None,
    strings: tuple[str, str, str],
) -> None:
    packed = bytes(
        IpsecSettings(SecurityFlags(flags), IpsecFlags(ipsec_flags), qm_policy, mm_policy, *strings)
    )
    encoded = [text.encode("utf-16-le") for text in strings]
    head = Ipsec.from_buffer_copy(packed)
    assert len(packed) == max(88, 84 + sum(map(len, encoded)))
    assert (head.SecurityProtocol, head.SecurityFlags, head.IpsecFlags) == (1, flags, ipsec_flags)
    assert bytes(head.AuthipQMPolicyKey) == (qm_policy.bytes_le if qm_policy else bytes(16))
    assert bytes(head.AuthipMMPolicyKey) == (mm_policy.bytes_le if mm_policy else bytes(16))
    assert bytes(head.Reserved) == bytes(16)
    assert head.Reserved2 == 0
    assert [head.UserNameStringLen, head.DomainNameStringLen, head.PasswordStringLen] == [
        len(e) for e in encoded
    ]
    assert packed[84:].startswith(b"".join(encoded))


def test_a_profile_stands_for_its_guid() -> None:
    profile = Profile("p", uuid.uuid4(), 1, 1, 1)
    assert bytes(IpsecSettings(qm_policy=profile)) == bytes(IpsecSettings(qm_policy=profile.guid))


def test_secrets_do_not_show() -> None:
    settings = IpsecSettings(user_name="hunter0", domain_name="hunter1", password="hunter2")
    assert "hunter" not in repr(settings)
    assert "hunter" not in str(settings)
    with pytest.raises(ValueError, match="password is not valid") as caught:
        IpsecSettings(password="hunter2\ud800")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # which would quote the text


def test_strings_are_kept_in_one_place_only() -> None:
    settings = IpsecSettings(user_name="u", password="hunter2")
    kept = [value for name, value in vars(settings).items() if name != "password"]
    for form in "hunter2", "hunter2".encode("utf-16-le"), "hunter2".encode("utf-16-be"):
        assert all(form not in value for value in kept if isinstance(value, type(form)))
    assert "hunter2".encode("utf-16-le") in bytes(settings)


def test_settings_that_were_tampered_with() -> None:
    settings = IpsecSettings(user_name="u", password="1234")
    object.__setattr__(settings, "password", "12345")
    with pytest.raises(ValueError, match="were changed"):
        bytes(settings)
    object.__setattr__(settings, "password", b"1234")
    with pytest.raises(TypeError):
        bytes(settings)
    object.__setattr__(settings, "password", "")
    assert bytes(settings)[84:] == b"u\0" + bytes(8)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Settings(4), ValueError),
        (lambda: Settings(-1), ValueError),
        (lambda: Settings("x"), TypeError),
        (lambda: Settings(None), TypeError),
        (lambda: Settings(True), TypeError),
        (lambda: IpsecSettings(8), ValueError),
        (lambda: IpsecSettings(ipsec_flags=16), ValueError),
        (lambda: IpsecSettings(ipsec_flags=1.0), TypeError),
        (lambda: IpsecSettings(qm_policy="default"), TypeError),
        (lambda: IpsecSettings(mm_policy=b"x" * 16), TypeError),
        (lambda: IpsecSettings(user_name=b"bytes"), TypeError),
        (lambda: IpsecSettings(domain_name=None), TypeError),
    ],
)
def test_bad_values(make: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()
