"""The nftables rules of a secure device: a table of its own, put in place in one transaction.

What they are for, beside a socket's binding to the device and its mark:

- what comes out of the device gets the mark, so that answers of the kernel itself (RST, ICMP, SYN cookies),
  which have no socket, carry it too (sysctl fwmark_reflect) and are routed into the device;
- what has the mark leaves by the device, or not at all: a datagram socket can leave its binding, or name
  another device, without any privilege. That is looked at before the rules of everybody else, too, as they
  may take the mark away;
- the mark is put back where rules of others took it away, as those do that restore a mark of the connection:
  the kernel looks for another route then. In the hook "output" oifname is what the first one said, so that
  packet goes into the device again;
- what comes in by another way never gets to a socket with the mark, and what comes out of the device never to
  one without it: that would answer in clear;
- no fragment comes out of the device, as it would share a queue of reassembly with clear ones: the engine
  reassembles before;
- nothing is forwarded from or to the device.

When the device is given up, sockets with the mark may still be there, and some are in no list of the kernel:
those that are neither bound nor connected. So another table, named by the mark, holds them: nothing with the
mark comes in or goes out but by the kernel's IPsec. It is gone when a device of that mark is there again.

Who puts a table in place of another one, as that of a daemon that was killed, holds the mark that the other
one was for, if it is no device's now: an empty chain is named by it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Final, TypeAlias

from ..kernel.nftables import NftSocket
from ..profile import Profile
from .device import device_name

__all__ = ["NftError", "Rules", "check_support", "held_name", "program", "table_name", "text"]

_DEADLINE: Final = 30.0
_FOLDERS: Final = ("/usr/sbin", "/sbin", "/usr/bin")
_TRIES: Final = 20
_U32: Final = 0xFFFFFFFF

# Before the rules of everybody else; and after them, but before the kernel's own last steps (INT_MAX).
_FIRST: Final = -2_000_000_000
_LAST: Final = 2_000_000_000

# A mark, and which bits of it count.
_Mark: TypeAlias = tuple[int, int]
_MARK_FORM: Final = re.compile(r"([0-9a-f]{8})_([0-9a-f]{8})")
# The chain that says which mark a table is for, and the table that holds one: with the mark behind.
_FOR: Final = "mark_"
_HOLDS: Final = "wsasec_held_"

_TABLE: Final = """\
table inet {table} {{
	chain {chain} {{
	}}
	chain fragments {{
		type filter hook prerouting priority -500; policy accept;
		iifname "{device}" ip frag-off & 0x3fff != 0 drop
		iifname "{device}" exthdr frag exists drop
	}}
	chain arriving {{
		type filter hook prerouting priority {last}; policy accept;
		iifname "{device}" meta mark set meta mark & {rest} | {mark}
	}}
	chain delivered {{
		type filter hook input priority {last}; policy accept;
		iifname "{device}" meta mark set meta mark & {rest} | {mark}
		iifname != "{device}" socket mark & {mask} == {mark} drop
		iifname "{device}" socket mark & {mask} != {mark} meta l4proto tcp reject with tcp reset
		iifname "{device}" socket mark & {mask} != {mark} reject
	}}
	chain forwarded {{
		type filter hook forward priority {last}; policy accept;
		iifname "{device}" drop
		oifname "{device}" drop
	}}
	chain chosen {{
		type filter hook output priority {first}; policy accept;
		meta mark & {mask} == {mark} oifname != "{device}" drop
	}}
	chain sent {{
		type route hook output priority {last}; policy accept;
		meta mark & {mask} == {mark} oifname != "{device}" drop
		oifname "{device}" meta mark & {mask} != {mark} meta mark set meta mark & {rest} | {mark}
	}}
	chain leaving {{
		type filter hook postrouting priority {last}; policy accept;
		meta mark & {mask} == {mark} oifname != "{device}" drop
	}}
}}
"""
_HELD: Final = """\
table inet {table} {{
	chain delivered {{
		type filter hook input priority {last}; policy accept;
		socket mark & {mask} == {mark} meta ipsec missing drop
	}}
	chain chosen {{
		type filter hook output priority {first}; policy accept;
		meta mark & {mask} == {mark} rt ipsec missing drop
	}}
	chain leaving {{
		type filter hook postrouting priority {last}; policy accept;
		meta mark & {mask} == {mark} rt ipsec missing drop
	}}
}}
"""


class NftError(OSError):
    """The program nft is missing, or it refused."""


def program() -> str:
    """Return the path of the program nft. Raises NftError."""
    found = shutil.which("nft") or shutil.which("nft", path=os.pathsep.join(_FOLDERS))
    if found is None:
        raise NftError(2, "the program nft is missing: apt-get install nftables")
    return found


def table_name(profile: Profile) -> str:
    """Return the name of a profile's table, of the family inet."""
    return f"wsasec_{profile.reqid}"


def held_name(profile: Profile) -> str:
    """Return the name of the table that holds what has the mark of a profile whose device was given up."""
    return _name(_HOLDS, (profile.mark, profile.mask))


def _name(prefix: str, of: _Mark) -> str:
    return f"{prefix}{of[0]:08x}_{of[1]:08x}"


def _named(prefix: str, name: str) -> _Mark | None:
    """Return the mark that is in a name; None if it has none, or not that prefix."""
    found = _MARK_FORM.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
    return None if found is None else (int(found[1], 16), int(found[2], 16))


def _fill(form: str, of: _Mark, **names: str) -> str:
    mark, mask = of
    return form.format(
        mark=f"0x{mark:08x}",
        mask=f"0x{mask:08x}",
        rest=f"0x{mask ^ _U32:08x}",
        first=_FIRST,
        last=_LAST,
        **names,
    )


def text(profile: Profile) -> str:
    """Return the table of a profile, as nft reads it."""
    of = profile.mark, profile.mask
    names = {"table": table_name(profile), "chain": _name(_FOR, of), "device": device_name(profile)}
    return _fill(_TABLE, of, **names)


def _held(of: _Mark) -> str:
    """Return what holds a mark, in place of what does."""
    table = _name(_HOLDS, of)
    return _without(table) + _fill(_HELD, of, table=table)


def _marks(chains: set[tuple[str, str]]) -> set[tuple[str, _Mark]]:
    """Return which tables are for which marks."""
    return {(table, of) for table, chain in chains if (of := _named(_FOR, chain)) is not None}


def _meet(one: _Mark, other: _Mark) -> bool:
    """Whether something may have both marks."""
    return not (one[0] ^ other[0]) & one[1] & other[1]


def _without(table: str) -> str:
    # Made so that it can be deleted: there is no other way to say "if it is there".
    return f"table inet {table}\ndelete table inet {table}\n"


def _run(script: str, *options: str) -> None:
    """Have nft do a script: all of it, or nothing."""
    try:
        done = subprocess.run(
            [program(), *options, "-f", "-"],
            input=script,
            text=True,
            errors="replace",
            capture_output=True,
            timeout=_DEADLINE,
            check=False,
            env={"PATH": os.pathsep.join(_FOLDERS), "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise NftError(110, f"nft took longer than {_DEADLINE:.0f} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["without a word"]
        raise NftError(5, f"nft refused the rules: {lines[0]}")


def check_support(profile: Profile) -> None:
    """Have the kernel look at the rules without putting them in place.

    Raises:
        NftError: nft is missing, or the kernel has not all that the rules need.
    """
    try:
        _run(text(profile), "--check")
    except NftError as error:
        if error.errno == 2:
            raise
        raise NftError(
            error.errno,
            f"{error.strerror}; the kernel needs CONFIG_NF_TABLES_INET, _NFT_SOCKET, _NFT_REJECT_INET",
        ) from error


class Rules:
    """The table of a profile in one network namespace: that of the thread that uses this."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.name = table_name(profile)
        self._right: bytes | None = None

    def faults(self, nft: NftSocket) -> list[str]:
        """Say what is wrong with the rules; nothing if they are as they were put in place here. OSError."""
        now = nft.fingerprint(self.name)
        if now is None:
            return [f"the nftables table inet {self.name} is missing"]
        if now != self._right:
            return [f"the nftables table inet {self.name} is not as it should be"]
        return []

    def install(self, nft: NftSocket) -> None:
        """Put the table in place of whatever has its name, and of what held the mark, in one transaction.

        A mark that the table before was for, and none is now, is held from then on.

        Raises:
            NftError: nft is missing, or refused: nothing was changed.
            OSError: the kernel refused, or somebody else changes rules all the time (EBUSY).
        """
        former: set[_Mark] = set()
        for _ in range(_TRIES):
            before = nft.generation()
            chains = nft.chains()
            # Also what an earlier try has put its own in place of.
            former |= {of for table, of in _marks(chains) if table == self.name}
            _run(self._script(chains, former))
            # What is there one generation later is what was put there: nobody else was in between.
            found = nft.fingerprint(self.name)
            if found is not None and nft.generation() == (before + 1) & _U32:
                self._right = found
                return
        raise OSError(16, "somebody else changes the rules of nftables all the time")

    def _script(self, chains: set[tuple[str, str]], former: set[_Mark]) -> str:
        own = self.profile.mark, self.profile.mask
        of_devices = {own} | {of for table, of in _marks(chains) if table != self.name}
        script = ""
        for of in former:
            if not any(_meet(of, each) for each in of_devices):
                script += _held(of)
        for table in {table for table, _ in chains}:
            held = _named(_HOLDS, table)
            if held is not None and _meet(held, own):
                script += _without(table)
        return script + _without(self.name) + text(self.profile)

    def hold(self) -> None:
        """Put what holds the mark in place of the table, in one transaction, whatever becomes of the device.

        Raises:
            NftError: nft is missing, or refused: nothing was changed.
        """
        _run(_held((self.profile.mark, self.profile.mask)) + _without(self.name))

    def remove(self) -> None:
        """Delete the table, and what held the mark, if they are there. NftError."""
        _run(_without(self.name) + _without(held_name(self.profile)))
