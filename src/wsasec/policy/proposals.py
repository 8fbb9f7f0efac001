"""What hosts offer to each other: proposals of both modes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ..ranges import U32, check_range
from .algorithms import Encryption, Group, Integrity, Protocol
from .checks import check_enum, check_tuple, enum

_KILOBYTE: Final = 1024
AES_GCM: Final = {Encryption.AES_GCM_128, Encryption.AES_GCM_192, Encryption.AES_GCM_256}
AES_GMAC: Final = {Integrity.AES_GMAC_128, Integrity.AES_GMAC_192, Integrity.AES_GMAC_256}


@dataclass(frozen=True)
class Transform:
    """How traffic is protected.

    Attributes:
        encryption: of `Encryption`; NONE for integrity only.
        integrity: of `Integrity`; NONE with AES-GCM, which has its own.
        protocol: of `Protocol`; AH has no encryption.

    Raises:
        TypeError: a member has a wrong type.
        ValueError: there is no such transform, or it encrypts without integrity.

    """

    encryption: Encryption | int
    integrity: Integrity | int = Integrity.NONE
    protocol: Protocol | int = Protocol.ESP

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> None:
        check_enum(Encryption, "encryption", self.encryption)
        check_enum(Integrity, "integrity", self.integrity)
        check_enum(Protocol, "protocol", self.protocol)
        if self.protocol not in (Protocol.ESP, Protocol.AH, Protocol.ESP_FIRST_PACKET):
            raise ValueError(f"protocol: {self.protocol} cannot be added")
        if self.protocol != Protocol.ESP and self.encryption != Encryption.NONE:
            raise ValueError("encryption: only ESP encrypts")
        if self.integrity == Integrity.SHA384:
            raise ValueError("integrity: SHA384 is for main modes")
        if self.encryption in AES_GCM and self.integrity != Integrity.NONE:
            raise ValueError("integrity: AES-GCM has its own; leave it NONE")
        if self.encryption != Encryption.NONE and self.integrity in AES_GMAC:
            raise ValueError("integrity: AES-GMAC does not go with a cipher; take AES-GCM")
        if self.integrity == Integrity.NONE and self.encryption not in AES_GCM:
            what = "encryption" if self.encryption != Encryption.NONE else "protocol"
            raise ValueError(f"integrity: without it {what} protects from nobody who changes packets")

    def _packed(self) -> tuple[int, int, int]:
        return int(self.protocol), int(self.encryption), int(self.integrity)


@dataclass(frozen=True)
class QuickModeProposal(Transform):
    """IPSEC_PROPOSAL0 (ipsectypes.h): one of the ways in which traffic may be protected.

    Attributes:
        encryption, integrity, protocol: as in `Transform`.
        lifetime_seconds: of the security association; 1 to 2**32-1. Windows has narrower limits.
        lifetime_bytes: it ends after this traffic, too; a multiple of 1,024.
        lifetime_packets: and after so many packets.
        pfs: of `Group`: the key exchange for perfect forward secrecy; NONE to derive keys from the main mode.
        further: transforms beside this one, as AH beside ESP; at most three.

    Raises:
        TypeError: a member has a wrong type.
        ValueError: a value out of range, or no such transform.

    """

    lifetime_seconds: int = 3600
    lifetime_bytes: int = 100_000 * _KILOBYTE
    lifetime_packets: int = 0x7FFFFFFF
    pfs: Group | int = Group.NONE
    further: tuple[Transform, ...] = ()

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> None:
        Transform._check(self)
        check_range("lifetime_seconds", self.lifetime_seconds, 1)
        check_range("lifetime_bytes", self.lifetime_bytes, _KILOBYTE, U32 * _KILOBYTE)
        if self.lifetime_bytes % _KILOBYTE:
            raise ValueError(f"lifetime_bytes is a multiple of 1024, not {self.lifetime_bytes}")
        check_range("lifetime_packets", self.lifetime_packets, 1)
        check_enum(Group, "pfs", self.pfs)
        check_tuple("further", self.further, Transform, 0, 3)
        for transform in self.further:
            transform._check()

    def _described(self) -> tuple[Any, ...]:
        transforms = (self._packed(), *(transform._packed() for transform in self.further))
        kilobytes = self.lifetime_bytes // _KILOBYTE
        return transforms, int(self.pfs), self.lifetime_seconds, kilobytes, self.lifetime_packets, 0


@dataclass(frozen=True, slots=True)
class MainModeProposal:
    """IKEEXT_PROPOSAL0 (iketypes.h): one of the ways in which hosts may negotiate.

    Attributes:
        encryption: of `Encryption`.
        integrity: of `Integrity`, also with AES-GCM: it makes the keys.
        group: of `Group`; NONE with AuthIP only.
        lifetime_seconds: of the main mode's keys; 1 to 2**32-1. Windows has narrower limits.
        quick_mode_limit: quick modes with its keys; 0 for no limit.

    Raises:
        TypeError: a member has a wrong type.
        ValueError: a value out of range, or one that is for quick modes.

    """

    encryption: Encryption | int
    integrity: Integrity | int
    group: Group | int
    lifetime_seconds: int = 28800
    quick_mode_limit: int = 0

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> None:
        check_enum(Encryption, "encryption", self.encryption)
        check_enum(Integrity, "integrity", self.integrity)
        check_enum(Group, "group", self.group)
        if self.encryption in (Encryption.NONE, Encryption.AES_GCM_192):
            raise ValueError(f"encryption: main modes have no {enum(Encryption, self.encryption)!r}")
        if self.integrity == Integrity.NONE or self.integrity in AES_GMAC:
            raise ValueError(f"integrity: main modes have no {enum(Integrity, self.integrity)!r}")
        if self.group == Group.MAIN_MODE:
            raise ValueError("group: MAIN_MODE is for quick modes")
        check_range("lifetime_seconds", self.lifetime_seconds, 1)
        check_range("quick_mode_limit", self.quick_mode_limit)

    def _described(self) -> tuple[Any, ...]:
        transform = 0, int(self.encryption), int(self.integrity)
        return (transform,), int(self.group), self.lifetime_seconds, 0, 0, self.quick_mode_limit


Proposal: TypeAlias = MainModeProposal | QuickModeProposal
