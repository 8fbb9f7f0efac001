"""Which private keys were loaded into a charon of others: if this daemon is killed, the next removes them."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from .appended import open_own

__all__ = ["Leftover"]


class Leftover:
    """A file with charon's numbers of keys, which are hashes of their public halves."""

    def __init__(self, path: Path) -> None:
        """Describe it; it need not be there."""
        self._path = path

    def read(self, charon: int) -> set[str]:
        """Return the numbers of keys that are left in a charon, by its process; set() for another one."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(self._path.read_text())
            if said["charon"] == charon:
                return {str(number) for number in said["keys"]}
        return set()

    def write(self, charon: int, keys: set[str]) -> None:
        """Remember them; nothing where there are none. Raises OSError."""
        if not keys:
            self.forget()
            return
        with os.fdopen(open_own(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as file:
            json.dump({"charon": charon, "keys": sorted(keys)}, file)

    def forget(self) -> None:
        """Nothing is left there."""
        self._path.unlink(missing_ok=True)
