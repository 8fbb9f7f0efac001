"""Keys of the lab's security associations: drawn at random, shown to nobody but the kernel."""

from __future__ import annotations

import secrets
from typing import Final

__all__ = ["AEAD_KEY_BYTES", "AUTH_KEY_BYTES", "Key", "draw_spi"]

AEAD_KEY_BYTES: Final = 32 + 4
"""rfc4106: a 256-bit AES key and the salt of the nonce."""

AUTH_KEY_BYTES: Final = 32
"""HMAC-SHA-256."""


class Key:
    """Random key material. Its repr hides it: test runners and tracebacks print arguments."""

    __slots__ = ("_material",)

    def __init__(self, size: int) -> None:
        self._material = bytearray(secrets.token_bytes(size))

    def __len__(self) -> int:
        return len(self._material)

    def __repr__(self) -> str:
        return f"<Key of {len(self)} bytes>"

    def __reduce__(self) -> str:
        raise TypeError("a key is not for storing")

    def reveal(self) -> memoryview:
        """Return the bytes, for the kernel."""
        return memoryview(self._material)

    def copy(self) -> Key:
        """Return another of the same bytes, to be wiped by itself."""
        other = Key(0)
        other._material += self._material
        return other

    def wipe(self) -> None:
        """Overwrite the bytes."""
        self._material[:] = bytes(len(self._material))


def draw_spi() -> int:
    """Draw an SPI; those below 256 are reserved."""
    return 256 + secrets.randbelow(2**32 - 256)
