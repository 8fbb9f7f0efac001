"""Kinds of traffic that are told apart in several places."""

from __future__ import annotations

from typing import Final

__all__ = ["DEVICE_KINDS", "SECURED_KINDS"]

DEVICE_KINDS: Final = ("device", "device_openssl")
"""Sockets on a secure device: by the engine as it is, and by its OpenSSL where it has another crypto, too."""
SECURED_KINDS: Final = frozenset({"secured", *DEVICE_KINDS})
"""Those whose sockets are secured one by one."""
