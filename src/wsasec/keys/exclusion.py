"""Addresses without some of them, as charon takes them: networks and ranges."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator

from ..config.model import Network
from .associations import Address

__all__ = ["remaining"]

_ALL: tuple[Network, ...] = (ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0"))


def _pieces(network: Network, excluded: list[int]) -> Iterator[str]:
    kind = type(network.network_address)
    first, last = int(network.network_address), int(network.broadcast_address)
    for number in excluded:
        if first <= number <= last:
            if first < number:
                yield f"{kind(first)}-{kind(number - 1)}"
            first = number + 1
    if first <= last:
        yield f"{kind(first)}-{kind(last)}"


def remaining(networks: Collection[Network], excluded: Collection[Address]) -> list[str]:
    """Return what is left of networks without single addresses, for remote_addrs.

    Args:
        networks: () for all addresses.
        excluded: of either family; those outside the networks do not matter.

    Returns:
        [] if nothing is left.
    """
    if not excluded:
        return [str(network) for network in networks] or ["%any"]
    left: list[str] = []
    for network in networks or _ALL:
        numbers = sorted({int(address) for address in excluded if address.version == network.version})
        left += _pieces(network, numbers)
    return left
