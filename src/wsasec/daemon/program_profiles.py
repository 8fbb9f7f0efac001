"""Profiles of policies that sessions have added, told to programs: a file in the daemon's folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ..profile import AH, Profile
from .place import PROFILES

__all__ = ["tell"]

_TABLE: Final = """\
[profile.{name}]
guid = "{guid}"
reqid = {reqid}
mark = {mark:#x}
mask = {mask:#x}
protection = "{protection}"
carrier = "{carrier}"
"""


def tell(path: Path, profiles: Iterable[Profile]) -> None:
    """Write the file into a folder, or remove it where there are none. Raises OSError."""
    file = path / PROFILES
    text = "".join(
        _TABLE.format(
            name=each.name,
            guid=each.guid,
            reqid=each.reqid,
            mark=each.mark,
            mask=each.mask,
            protection="encrypting" if each.encrypting else "integrity-only",
            carrier=each.carrier,
        )
        + ('ah_proposals = ["sha256"]\n' if each.protocol == AH else "")
        for each in profiles
    )
    if not text:
        file.unlink(missing_ok=True)
        return
    new = file.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o644)
    new.rename(file)
