"""Kinds of traffic that are told apart in several places."""

from __future__ import annotations

from typing import Final

__all__ = ["CUBIC", "DEVICE_KINDS", "SECURED_KINDS", "with_alike"]

CUBIC: Final = "_cubic"
"""At the end of a kind: with CUBIC in place of the congestion control that the machine has."""
DEVICE_KINDS: Final = ("device", "device_openssl", "device" + CUBIC)
"""Sockets on a secure device: by the engine as it is; by its OpenSSL where it has another crypto, too; and
by a profile that names CUBIC."""
SECURED_KINDS: Final = frozenset({"secured", *DEVICE_KINDS})
"""Those whose sockets are secured one by one."""


def with_alike(base: str, kind: str) -> str:
    """Return the kind of a base that differs from this kind in nothing but what it is the base for."""
    return base + CUBIC if kind.endswith(CUBIC) else base
