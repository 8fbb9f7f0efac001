"""Whether a charon that somebody else has configured can do what is needed of it."""

from __future__ import annotations

import re
from typing import Final

from .messages import section, text, texts
from .reason import CharonError, Reason
from .session import Session

__all__ = ["AT_ONCE", "require_abilities"]

_OLDEST: Final = (5, 9)

# Without any of a row's plugins something would go wrong, part of it without a word of charon's.
_PLUGINS: Final = (
    (("kernel-netlink",), "the kernel gets no associations from it"),
    (("socket-default", "socket-dynamic"), "it has no sockets"),
    (("nonce",), "it cannot begin to negotiate"),
    (("x509", "openssl"), "it reads no certificates"),
    (("pubkey",), "it reads no raw keys"),
    (("pem",), "it reads no files of keys"),
    (("pkcs8", "openssl"), "it reads no private keys"),
    (("revocation",), "certificates that were revoked would count"),
    (("constraints",), "what CAs limit themselves to would not count"),
)
_INSTEAD: Final = "kernel-libipsec"

# Some of charon's threads only wait, and one is held by each negotiation that somebody waits for; when none
# is left it answers nobody any more. Half of the others are left to its own connections.
_BUSY: Final = 8

AT_ONCE: Final = 40
"""Negotiations that are waited for at the same time, at the most."""


def _require_version(session: Session, deadline: float) -> None:
    version = text(session.request("version", None, deadline), "version")
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or tuple(map(int, found.groups())) < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        raise CharonError(Reason.NO_CHARON, f"its version is {version}; {wanted} or later is needed")


def _require_plugins(plugins: set[str]) -> None:
    if _INSTEAD in plugins:
        raise CharonError(
            Reason.NO_CHARON,
            f"its plugin {_INSTEAD} keeps associations from the kernel: load = no in {_INSTEAD}.conf",
        )
    for any_of, lack in _PLUGINS:
        if not plugins.intersection(any_of):
            raise CharonError(Reason.NO_CHARON, f"it lacks the plugin {' or '.join(any_of)}: {lack}")


def require_abilities(session: Session, deadline: float) -> int:
    """Find out, and return how many negotiations may be waited for at the same time.

    Raises:
        CharonError: it cannot, and what it lacks; or it does not answer.
        MessageError: an answer of charon's has another form.
    """
    _require_version(session, deadline)
    stats = session.request("stats", None, deadline)
    _require_plugins(set(texts(stats, "plugins")))
    total = text(section(stats, "workers"), "total")
    threads = int(total) if total.isdigit() else 0
    at_once = min(AT_ONCE, (threads - _BUSY) // 2)
    if at_once < 1:
        raise CharonError(
            Reason.NO_CHARON,
            f"it has {threads} threads, and {_BUSY + 2} are needed: charon.threads in strongswan.conf",
        )
    return at_once
