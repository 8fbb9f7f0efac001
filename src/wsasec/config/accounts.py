"""Which local account stands for a peer."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from .model import Account

__all__ = ["account_of"]

# Whole names only: a wildcard of a certificate stands for no host.
_DNS_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")


def _below(name: str, domain: str) -> bool:
    return bool(_DNS_NAME.fullmatch(name)) and name.lower().endswith("." + domain.lower())


def account_of(rules: Sequence[Account], identity: str, dns_names: Collection[str] = ()) -> str | None:
    """Return the local account of a peer.

    Args:
        rules: of the configuration. A rule for the whole identity counts before those for domains, and the
            first rule before later ones.
        identity: what IKE has verified, compared exactly.
        dns_names: those of the peer's certificate, compared with domains, whatever their case.

    Returns:
        The account's name, or None: nobody.
    """
    for rule in rules:
        if rule.identity is not None and rule.identity == identity:
            return rule.account
    for rule in rules:
        if rule.domain is not None and any(_below(name, rule.domain) for name in dns_names):
            return rule.account
    return None
