"""Settings: Python objects for the structures of WSASetSocketSecurity, with the bytes that Windows takes."""

from __future__ import annotations

import re
import struct
import uuid
from dataclasses import dataclass, field
from typing import Final

from .constants import IpsecFlags, SecurityFlags, SecurityProtocol
from .profile import Profile

__all__ = ["IpsecSettings", "Settings"]

_NO_GUID = uuid.UUID(int=0)
_SIZE: Final = 88
_STRINGS: Final = 84
_NAMES: Final = ("user_name", "domain_name", "password")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


class SettingsBase:
    """What `secure` takes as settings. Not to be subclassed outside wsasec."""

    __slots__ = ()
    _packed: bytes
    # The structure; or without its strings, where there are some, the 84 bytes before them. The boundary puts
    # the strings behind those for the time of a call.

    def __bytes__(self) -> bytes:
        """Return the structure as WSASetSocketSecurity takes it."""
        return self._packed


def _check_flags(kind: type[SecurityFlags] | type[IpsecFlags], name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {kind.__name__}, not {type(value).__name__}")
    known = 0
    for flag in kind:
        known |= flag.value
    if value & ~known:
        raise ValueError(f"{name} has unknown bits: {value & ~known:#x}")


@dataclass(frozen=True)
class Settings(SettingsBase):
    """SOCKET_SECURITY_SETTINGS (mstcpip.h), 8 bytes: the default policy, with flags.

    Attributes:
        flags: `SecurityFlags`; none by default: nothing passes in clear, with the protection that the
            default profile has.

    Raises:
        TypeError: flags are no flags.
        ValueError: unknown bits.

    """

    flags: SecurityFlags = SecurityFlags.NONE
    _packed: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_flags(SecurityFlags, "flags", self.flags)
        object.__setattr__(self, "_packed", struct.pack("=II", SecurityProtocol.DEFAULT, self.flags))


def _guid(name: str, value: uuid.UUID | Profile | None) -> uuid.UUID:
    if value is None:
        return _NO_GUID
    if isinstance(value, Profile):
        return value.guid
    if isinstance(value, uuid.UUID):
        return value
    raise TypeError(f"{name} is a uuid.UUID, a Profile or None, not {type(value).__name__}")


def utf16_size(name: str, value: str) -> int:
    """Return how many bytes of UTF-16 a text has, without making them.

    Raises:
        TypeError: no str.
        ValueError: it has none; the text is not in the error.

    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is str, not {type(value).__name__}")
    if _SURROGATES.search(value):
        raise ValueError(f"{name} is not valid Unicode")
    return 2 * (len(value) + sum(character > "\uffff" for character in value))


@dataclass(frozen=True)
class IpsecSettings(SettingsBase):
    """SOCKET_SECURITY_SETTINGS_IPSEC (mstcpip.h), 88 bytes and the strings.

    Attributes:
        flags: `SecurityFlags`.
        ipsec_flags: `IpsecFlags`.
        qm_policy: quick-mode policy (AuthipQMPolicyKey). On Linux it names the profile. None: the default.
        mm_policy: main-mode policy (AuthipMMPolicyKey). On Linux None, or that of the same profile.
        user_name, domain_name, password: credentials for Windows. Linux takes no notice of them: there,
            hosts are authenticated, not users.

    The credentials are in no repr() and no error. Their UTF-16 form is made for each call, in memory that is
    overwritten when the call ends; the str itself, and what bytes() or pickle make of the settings, last as
    long as Python's objects do. Settings can be pickled, with the password: `wsasec.fleet` sends them to its
    workers.

    Raises:
        TypeError: a member has a wrong type.
        ValueError: unknown flag bits, or text that has no UTF-16 form.

    """

    flags: SecurityFlags = SecurityFlags.NONE
    ipsec_flags: IpsecFlags = IpsecFlags.NONE
    qm_policy: uuid.UUID | Profile | None = None
    mm_policy: uuid.UUID | Profile | None = None
    user_name: str = field(default="", repr=False)
    domain_name: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    _packed: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_flags(SecurityFlags, "flags", self.flags)
        _check_flags(IpsecFlags, "ipsec_flags", self.ipsec_flags)
        sizes = [utf16_size(name, text) for name, text in zip(_NAMES, self._texts(), strict=True)]
        head = struct.pack(
            "=III16s16s16s4xQIII",
            SecurityProtocol.IPSEC,
            self.flags,
            self.ipsec_flags,
            _guid("mm_policy", self.mm_policy).bytes_le,
            _guid("qm_policy", self.qm_policy).bytes_le,
            bytes(16),
            0,
            *sizes,
        )
        object.__setattr__(self, "_packed", head if any(sizes) else head.ljust(_SIZE, b"\0"))

    def _texts(self) -> tuple[str, str, str]:
        """Return the strings in the order of the structure."""
        return self.user_name, self.domain_name, self.password

    def __bytes__(self) -> bytes:
        """Return the structure as WSASetSocketSecurity takes it, with the strings."""
        if len(self._packed) != _STRINGS:
            return self._packed
        from ._wsasec import settings_bytes

        return settings_bytes(self)
