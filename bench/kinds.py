"""Kinds of traffic that are told apart in several places."""

from __future__ import annotations

from typing import Final

__all__ = ["DEVICE_KINDS", "SECURED_KINDS"]

DEVICE_KINDS: Final = ("device", "device_openssl", "device_bursts")
"""Sockets on a secure device: by the engine as it is; by its OpenSSL where it has another crypto, too; and
where TCP may hand over more at a time (net.ipv4.tcp_tso_rtt_log)."""
SECURED_KINDS: Final = frozenset({"secured", *DEVICE_KINDS})
"""Those whose sockets are secured one by one."""
