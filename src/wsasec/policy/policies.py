"""Policies of both modes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ..ranges import check_range
from .algorithms import Exchange, Group, Impersonation, MainModeFlags, QuickModeFlags
from .authentication import Authentication
from .checks import check_number, check_tuple
from .proposals import MainModeProposal, QuickModeProposal

_NO_GUID: Final = uuid.UUID(int=0)


def _check_common(name: object, guid: object, exchange: object, persistent: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"name is str, not {type(name).__name__}")
    try:
        size = len(name.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        raise ValueError("name is not valid Unicode") from None
    if not 1 <= size <= 255 or "\0" in name:
        raise ValueError("name has 1 to 255 units of UTF-16, and no zero")
    if guid is not None and not isinstance(guid, uuid.UUID):
        raise TypeError(f"guid is a uuid.UUID or None, not {type(guid).__name__}")
    if guid == _NO_GUID:
        raise ValueError("guid: the zero GUID means 'no policy' and cannot name one")
    if not isinstance(exchange, Exchange):
        raise TypeError(f"exchange is Exchange, not {type(exchange).__name__}")
    if not isinstance(persistent, bool):
        raise TypeError(f"persistent is bool, not {type(persistent).__name__}")


MAIN: Final = {Exchange.IKE: 5, Exchange.AUTHIP: 6, Exchange.IKEV2: 10}
QUICK: Final = {Exchange.IKE: 1, Exchange.AUTHIP: 3}


@dataclass(frozen=True, slots=True)
class MainModePolicy:
    """IKEEXT_POLICY1 (iketypes.h): how hosts negotiate, for ``IpsecSettings(mm_policy=...)``.

    Attributes:
        name: for people; 1 to 255 units of UTF-16.
        proposals: of `MainModeProposal`, the one that is liked best first.
        authentication: of `Authentication`, in order; at least one. Nothing is taken for granted here: with
            ``Method.ANONYMOUS`` a man in the middle is not found out.
        guid: None for a new one.
        exchange: of `Exchange`; sockets use AUTHIP.
        flags: of `MainModeFlags`.
        impersonation: of `Impersonation`.
        dynamic_filters: how many filters of its own the negotiation may have (maxDynamicFilters).
        retransmit_seconds: 0 for the system's default.
        persistent: it outlives the system's restart; not in a dynamic session.

    Raises:
        TypeError: a member has a wrong type.
        ValueError: a value out of range; the message begins with the member's name.

    """

    name: str
    proposals: tuple[MainModeProposal, ...]
    authentication: tuple[Authentication, ...]
    guid: uuid.UUID | None = None
    exchange: Exchange = Exchange.AUTHIP
    flags: MainModeFlags | int = MainModeFlags.NONE
    impersonation: Impersonation | int = Impersonation.NONE
    dynamic_filters: int = 0
    retransmit_seconds: int = 0
    persistent: bool = False

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> None:
        _check_common(self.name, self.guid, self.exchange, self.persistent)
        check_tuple("proposals", self.proposals, MainModeProposal, 1, 255)
        check_tuple("authentication", self.authentication, Authentication, 1, 16)
        for proposal in self.proposals:
            proposal._check()
        for authentication in self.authentication:
            authentication._check()
        if self.exchange != Exchange.AUTHIP and Group.NONE in {item.group for item in self.proposals}:
            raise ValueError("proposals: without a group there is AuthIP only")
        check_range("flags", self.flags)
        check_number(Impersonation, "impersonation", self.impersonation)
        check_range("dynamic_filters", self.dynamic_filters)
        check_range("retransmit_seconds", self.retransmit_seconds)

    def _described(self, guid: uuid.UUID) -> tuple[Any, ...]:
        return (
            guid.bytes_le,
            self.name,
            MAIN[self.exchange],
            self.persistent,
            int(self.flags),
            int(self.impersonation),
            self.dynamic_filters,
            self.retransmit_seconds,
            0,
            0,
            0,
            tuple(item._described() for item in self.authentication),
            tuple(item._described() for item in self.proposals),
        )


@dataclass(frozen=True, slots=True)
class QuickModePolicy:
    """IPSEC_TRANSPORT_POLICY1 (ipsectypes.h): how traffic is protected, for ``IpsecSettings(qm_policy=...)``.

    Attributes:
        name: for people; 1 to 255 units of UTF-16.
        proposals: of `QuickModeProposal`, the one that is liked best first.
        guid: None for a new one.
        exchange: AUTHIP, which sockets use, or IKE.
        flags: of `QuickModeFlags`.
        clear_seconds: with negotiation discovery: after so many seconds without an answer traffic may go in
            clear (ndAllowClearTimeoutSeconds); 0 for never.
        idle_seconds: an association without traffic ends after this.
        idle_failover_seconds: the same where the peer may have gone over to another host.
        extended: of `Authentication`, in order, for the users of AuthIP's extended mode; () for none.
        impersonation: of `Impersonation`, in the extended mode.
        persistent: it outlives the system's restart; not in a dynamic session.

    Raises:
        TypeError: a member has a wrong type.
        ValueError: a value out of range; the message begins with the member's name.

    """

    name: str
    proposals: tuple[QuickModeProposal, ...]
    guid: uuid.UUID | None = None
    exchange: Exchange = Exchange.AUTHIP
    flags: QuickModeFlags | int = QuickModeFlags.NONE
    clear_seconds: int = 0
    idle_seconds: int = 300
    idle_failover_seconds: int = 60
    extended: tuple[Authentication, ...] = ()
    impersonation: Impersonation | int = Impersonation.NONE
    persistent: bool = False

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> None:
        _check_common(self.name, self.guid, self.exchange, self.persistent)
        if self.exchange not in QUICK:
            raise ValueError(f"exchange: quick modes of sockets have no {self.exchange.name}")
        check_tuple("proposals", self.proposals, QuickModeProposal, 1, 255)
        check_tuple("extended", self.extended, Authentication, 0, 16)
        for proposal in self.proposals:
            proposal._check()
        for authentication in self.extended:
            authentication._check()
        if self.extended and self.exchange != Exchange.AUTHIP:
            raise ValueError("extended: only AuthIP has an extended mode")
        check_range("flags", self.flags)
        check_range("clear_seconds", self.clear_seconds)
        check_range("idle_seconds", self.idle_seconds)
        check_range("idle_failover_seconds", self.idle_failover_seconds)
        check_number(Impersonation, "impersonation", self.impersonation)

    def _described(self, guid: uuid.UUID) -> tuple[Any, ...]:
        return (
            guid.bytes_le,
            self.name,
            QUICK[self.exchange],
            self.persistent,
            int(self.flags),
            int(self.impersonation),
            0,
            0,
            self.clear_seconds,
            self.idle_seconds,
            self.idle_failover_seconds,
            tuple(item._described() for item in self.extended),
            tuple(item._described() for item in self.proposals),
        )


Policy: TypeAlias = MainModePolicy | QuickModePolicy
