"""The voucher: what is written into the alias of a secure device when all that belongs to it is in place.

It says for which profile the device is, and at which generation of nftables the whole set was last seen
right. Who secures a socket compares both: a change of any rule since then makes it worthless until it was
looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ..profile import Profile

__all__ = ["Voucher", "parse", "voucher"]

_FORM: Final = re.compile(
    r"wsasec/1 reqid=(0|[1-9][0-9]{0,9}) mark=0x([0-9a-f]{8})/0x([0-9a-f]{8}) nft=(0|[1-9][0-9]{0,9})"
)


@dataclass(frozen=True, slots=True)
class Voucher:
    """What a voucher says: the numbers of the profile, and the generation of nftables."""

    reqid: int
    mark: int
    mask: int
    generation: int

    def __str__(self) -> str:
        return f"wsasec/1 reqid={self.reqid} mark=0x{self.mark:08x}/0x{self.mask:08x} nft={self.generation}"


def voucher(profile: Profile, generation: int) -> Voucher:
    """Make the voucher of a profile's device."""
    return Voucher(profile.reqid, profile.mark, profile.mask, generation)


def parse(alias: str) -> Voucher | None:
    """Read an alias; None if it is no voucher."""
    found = _FORM.fullmatch(alias)
    if found is None:
        return None
    reqid, mark, mask, generation = found.groups()
    return Voucher(int(reqid), int(mark, 16), int(mask, 16), int(generation))
