"""Folders of pytest's, for tests in which another user reads them."""

from __future__ import annotations

import os
from pathlib import Path


def open_to_all(folder: Path, mode: int = 0o711) -> None:
    """Let everybody reach what is in a folder of pytest's.

    Each folder above it is looked at: pytest shuts its topmost again whenever another run of it begins, while
    those below stay as an earlier test left them.
    """
    folder.chmod(folder.stat().st_mode | mode)
    for each in folder.parents:
        found = each.stat()
        # What belongs to the system is open already.
        if found.st_uid == os.geteuid() and found.st_mode & 0o111 != 0o111:
            each.chmod(found.st_mode | 0o111)
