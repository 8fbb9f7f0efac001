"""What a machine lacks for secure devices."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from ..kernel.nftables import NftSocket
from ..profile import Profile
from ..profiles import DEFAULT
from . import rules, tun
from .process import PROGRAM

__all__ = ["missing"]

_CAP_NET_ADMIN: Final = 12


def missing(profile: Profile = DEFAULT) -> list[str]:
    """Say why there can be no secure device, in the network namespace of this thread; nothing is changed.

    Args:
        profile: whose device; all need the same.

    Returns:
        The reasons, each with what helps; [] if there can be one. Without CAP_NET_ADMIN that is the first,
        and what only the kernel knows is not looked at.
    """
    found = []
    if not os.access(PROGRAM, os.X_OK):
        found.append(f"the engine {PROGRAM} is missing: install wsasec from a wheel for Linux")
    try:
        rules.program()
    except rules.NftError as error:
        found.append(str(error.strerror))
    if not _is_character_device(tun.CONTROL):
        found.append(f"{tun.CONTROL} is missing: modprobe tun, or give the container the device")
    elif not os.access(tun.CONTROL, os.R_OK | os.W_OK):
        found.append(f"{tun.CONTROL} cannot be opened: run it as root")
    if not _has_net_admin():
        return ["CAP_NET_ADMIN is missing: run it as root", *found]
    try:
        with NftSocket() as nft:
            nft.generation()
        rules.check_support(profile)
    except rules.NftError as error:
        if error.errno != 2:
            found.append(str(error.strerror))
    except OSError as error:
        found.append(f"the kernel has no nftables ({error.strerror}): CONFIG_NF_TABLES, modprobe nf_tables")
    return found


def _is_character_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False


def _has_net_admin() -> bool:
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    return False
