"""Where results go."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["writable", "write"]


def writable(file: Path) -> Path:
    """Return a file after its folder was made; fail now, not after minutes, if it cannot be written.

    Raises:
        OSError: it cannot, or its folder cannot be made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise PermissionError(f"{file} cannot be written; give another")
    return file


def write(results: Mapping[str, Any], file: Path) -> None:
    """Write results as JSON."""
    file.write_text(json.dumps(results, indent=1) + "\n")
