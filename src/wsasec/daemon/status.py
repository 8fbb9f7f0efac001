"""What `wsasec status --json` prints."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, Final

from ..config.model import Config
from ..keys.associations import ChildSa, IkeSa
from .recorded import Failure

__all__ = ["SCHEMA", "describe"]

SCHEMA: Final = 1


def _child(child: ChildSa) -> dict[str, Any]:
    integrity = f" {child.integrity}" if child.integrity else ""
    bits = f" {child.encryption_bits}" if child.encryption_bits else ""
    return {
        "profile": child.name,
        "state": child.state,
        "mode": child.mode,
        "protocol": child.protocol,
        "reqid": child.reqid,
        "spi_in": f"{child.spi_in:#010x}",
        "spi_out": f"{child.spi_out:#010x}",
        "algorithms": f"{child.encryption}{bits}{integrity}".strip(),
        "esn": child.esn,
        "bytes_in": child.bytes_in,
        "bytes_out": child.bytes_out,
        "packets_in": child.packets_in,
        "packets_out": child.packets_out,
        "age": child.age,
        "rekey_in": child.rekey_in,
    }


def _ike(ike: IkeSa) -> dict[str, Any]:
    return {
        "address": str(ike.remote),
        "identity": ike.remote_id,
        "own_address": str(ike.local),
        "own_identity": ike.local_id,
        "state": ike.state,
        "id": ike.unique_id,
        "version": ike.version,
        "initiator": ike.initiator,
        "age": ike.age,
        "rekey_in": ike.rekey_in,
        "associations": [_child(child) for child in ike.children],
    }


def describe(config: Config, found: Iterable[IkeSa], failures: Iterable[Failure]) -> dict[str, Any]:
    """Return profiles, peers with their associations, and what failed last, for JSON."""
    ordered = sorted(
        found, key=lambda ike: (ike.remote.version, ipaddress.ip_address(ike.remote), ike.unique_id)
    )
    return {
        "schema": SCHEMA,
        "config": str(config.path),
        "default": config.default,
        "profiles": [
            {
                "name": each.profile.name,
                "reqid": each.profile.reqid,
                "mark": f"{each.profile.mark:#x}/{each.profile.mask:#x}",
                "identity": each.identity.id,
                "encrypting": each.profile.encrypting,
            }
            for each in config.profiles.values()
        ],
        "peers": [_ike(ike) for ike in ordered],
        "errors": [
            {
                "address": failure.peer,
                "profile": failure.profile,
                "reason": failure.reason.name.lower().replace("_", " "),
                "detail": failure.detail,
                "when": failure.when,
            }
            for failure in failures
        ],
    }
