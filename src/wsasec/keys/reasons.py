"""Why a negotiation failed, out of what charon says while it negotiates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .reason import CharonError, Reason

__all__ = ["explain", "shown_identity"]

_REQUIRED: Final = re.compile(r"constraint check failed: (?:EAP )?identity '([^']*)' (?:or .*)?required")
_AUTHENTICATED: Final = re.compile(r"authentication of '(.*)' with .* successful")

_NOT_ACCEPTED: Final = "the peer does not accept this host's identity"

# The first row that is found in any line counts: rows that say more come before those that say less. The
# detail is filled with the groups of what was found.
_ROWS: Final = (
    (r"certificate was revoked on", Reason.AUTHENTICATION, "the peer's certificate was revoked"),
    (r"subject certificate invalid \((.*)\)", Reason.AUTHENTICATION, "a certificate is not valid now: {0}"),
    (
        r"no issuer certificate found for \"(.*)\"",
        Reason.AUTHENTICATION,
        "the CA of the peer's certificate {0} is not believed here",
    ),
    (
        r"no trusted .*public key found for '(.*)'",
        Reason.AUTHENTICATION,
        "no trusted certificate or key of '{0}'",
    ),
    (r"no shared key found for (.*)", Reason.AUTHENTICATION, "no pre-shared key for {0}"),
    (
        r"RULE_(?:CRL|OCSP)_VALIDATION",
        Reason.AUTHENTICATION,
        "nobody says whether the peer's certificate was revoked",
    ),
    (
        r"constraint requires (.*) authentication, but (.*) was used",
        Reason.AUTHENTICATION,
        "the peer showed who it is by {1}, {0} was asked for",
    ),
    (r"constraint check failed: (.*)", Reason.AUTHENTICATION, "{0}"),
    (
        r"no private key found for '(.*)'",
        Reason.AUTHENTICATION,
        "no private key for '{0}', which is this host's own identity",
    ),
    (r"tried \d+ shared keys? for .*MAC mismatched", Reason.AUTHENTICATION, "the pre-shared keys differ"),
    (
        r"received AUTHENTICATION_FAILED",
        Reason.AUTHENTICATION,
        _NOT_ACCEPTED,
    ),
    (
        r"received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built",
        Reason.NO_PROPOSAL,
        "the peer takes none of the association's proposals",
    ),
    (r"received TS_UNACCEPTABLE", Reason.NO_PROPOSAL, "the peer has no such profile for this host"),
    (
        r"received NO_PROPOSAL_CHOSEN",
        Reason.NO_PROPOSAL,
        "the peer takes none of IKE's proposals, or nothing from this host",
    ),
    (
        r"proposals? (?:inacceptable|unacceptable)|no acceptable proposal found",
        Reason.NO_PROPOSAL,
        "the peer chose what was not proposed",
    ),
    (r"unable to determine source address", Reason.UNREACHABLE, ""),
    (r"giving up after (\d+) retransmits", Reason.PEER_SILENT, "no answer to {0} repetitions"),
    (r"peer not responding", Reason.PEER_SILENT, "no answer"),
    (r"not established after (\d+)ms", Reason.PEER_SILENT, "no end after {0} ms"),
)
_PATTERNS: Final = tuple((re.compile(pattern), reason, detail) for pattern, reason, detail in _ROWS)

# Said of every negotiation: no explanation.
_DULL: Final = re.compile(
    r"^(initiating|generating|sending|received|parsed|establishing|selected|authentication of|  )"
)


def explain(lines: Sequence[str], said: str = "", asked: str = "%any") -> CharonError:
    """Return the reason of a failed negotiation.

    Args:
        lines: what charon logged during it.
        said: what it answered.
        asked: the identity that the peer was asked for; "%any" for none.
    """
    everything = [*lines, said]
    for line in everything:
        if required := _REQUIRED.search(line):
            asked = required[1].removeprefix("%")
            who = shown_identity(lines)
            if who is None:
                return CharonError(Reason.OTHER_IDENTITY, f"identity is not '{asked}', which was asked for")
            return CharonError(Reason.OTHER_IDENTITY, f"identity is '{who}', '{asked}' was asked for")
    for pattern, reason, detail in _PATTERNS:
        for line in everything:
            if found := pattern.search(line):
                detail = detail.format(*found.groups())
                if detail == _NOT_ACCEPTED and "*" not in asked and asked != "%any":
                    detail += f", or is not '{asked}'"
                return CharonError(reason, detail)
    telling = [line for line in lines if line and not _DULL.search(line)]
    return CharonError(Reason.NEGOTIATION, telling[-1] if telling else said)


def shown_identity(lines: Sequence[str]) -> str | None:
    """Return who the peer proved to be, out of what charon logged; None if it is not said."""
    return next((found[1] for line in lines if (found := _AUTHENTICATED.search(line))), None)
