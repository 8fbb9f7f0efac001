"""nftables as the kernel has it, over nfnetlink: its generation, and what a table is made of."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from typing import Final

from .netlink import Message, NetlinkSocket, attribute, attributes
from .notifications import NETLINK_NETFILTER

__all__ = ["FAMILY_INET", "NftSocket"]

FAMILY_INET: Final = 1

_SUBSYSTEM: Final = 10 << 8
_GETTABLE: Final = _SUBSYSTEM | 1
_NEWTABLE: Final = _SUBSYSTEM | 0
_GETCHAIN: Final = _SUBSYSTEM | 4
_NEWCHAIN: Final = _SUBSYSTEM | 3
_GETRULE: Final = _SUBSYSTEM | 7
_NEWRULE: Final = _SUBSYSTEM | 6
_NEWGEN: Final = _SUBSYSTEM | 15
_GETGEN: Final = _SUBSYSTEM | 16

_GEN_ID: Final = 1
_TABLE_NAME: Final = 1
_CHAIN_NAME: Final = 3
# What a table, a chain and a rule are, less what the kernel numbers and counts: the attributes TABLE_FLAGS;
# CHAIN_NAME, _HOOK, _POLICY, _TYPE, _FLAGS; RULE_CHAIN, _EXPRESSIONS. The table's name is the first of each.
_OF_TABLE: Final = frozenset({1, 2})
_OF_CHAIN: Final = frozenset({1, 3, 4, 5, 7, 10})
_OF_RULE: Final = frozenset({1, 2, 4})

# struct nfgenmsg; the last member is in network order, and 0.
_GENERIC: Final = struct.Struct("=BBH")


class NftSocket:
    """The nftables of one network namespace: that of the thread that makes this."""

    def __init__(self) -> None:
        """Open it. OSError: the kernel has no nfnetlink."""
        self._netlink = NetlinkSocket(NETLINK_NETFILTER)

    def __enter__(self) -> NftSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._netlink.close()

    def generation(self) -> int:
        """Return the generation of the rule set, which each change counts up.

        Raises:
            OSError: CAP_NET_ADMIN is missing (EPERM), or the kernel has no nf_tables (EINVAL).
        """
        answers = self._netlink.ask(Message(_GENERIC.pack(0, 0, 0)), _GETGEN, "asking nftables")
        for kind, payload in answers:
            if kind != _NEWGEN:
                continue
            for which, value in attributes(memoryview(payload)[_GENERIC.size :]):
                if which == _GEN_ID and len(value) == 4:
                    return int.from_bytes(value, "big")
        raise OSError(0, "nftables did not say its generation")

    def fingerprint(self, table: str, family: int = FAMILY_INET) -> bytes | None:
        """Digest what a table holds: its flags, chains and rules, in their order; not handles, nor counts.

        Returns:
            None if there is no such table.

        Raises:
            OSError: the kernel refused, or the rule set changed during each of many listings.
        """
        name = os.fsencode(table) + b"\0"
        found = self._list(_GETTABLE, _NEWTABLE, family, name, _OF_TABLE)
        if not found:
            return None
        found += self._list(_GETCHAIN, _NEWCHAIN, family, name, _OF_CHAIN)
        found += self._list(_GETRULE, _NEWRULE, family, name, _OF_RULE, attribute(_TABLE_NAME, name))
        digest = hashlib.sha256()
        for part in found:
            digest.update(len(part).to_bytes(4, "big"))
            digest.update(part)
        return digest.digest()

    def chains(self, family: int = FAMILY_INET) -> set[tuple[str, str]]:
        """Return the chains of a family: the name of the table, and its own.

        Raises:
            OSError: the kernel refused, or the rule set changed during each of many listings.
        """

        def take(kind: int, payload: memoryview) -> tuple[str, str] | None:
            if kind != _NEWCHAIN or len(payload) < _GENERIC.size or payload[0] != family:
                return None
            found = {
                number: os.fsdecode(bytes(value).rstrip(b"\0"))
                for number, value in attributes(payload[_GENERIC.size :])
                if number in (_TABLE_NAME, _CHAIN_NAME)
            }
            return found.get(_TABLE_NAME, ""), found.get(_CHAIN_NAME, "")

        body = _GENERIC.pack(family, 0, 0)
        return set(self._netlink.listing(_GETCHAIN, "listing nftables", take, body))

    def _list(
        self,
        ask: int,
        answer: int,
        family: int,
        table: bytes,
        which: frozenset[int],
        body: bytes = b"",
    ) -> list[bytes]:
        take = _taker(answer, family, table, which)
        return self._netlink.listing(ask, "listing nftables", take, _GENERIC.pack(family, 0, 0) + body)


def _taker(
    answer: int, family: int, table: bytes, which: frozenset[int]
) -> Callable[[int, memoryview], bytes | None]:
    def take(kind: int, payload: memoryview) -> bytes | None:
        if kind != answer or len(payload) < _GENERIC.size or payload[0] != family:
            return None
        found = list(attributes(payload[_GENERIC.size :]))
        if not any(number == _TABLE_NAME and bytes(value) == table for number, value in found):
            return None
        return answer.to_bytes(2, "big") + b"".join(
            number.to_bytes(2, "big") + len(value).to_bytes(4, "big") + bytes(value)
            for number, value in found
            if number in which
        )

    return take
