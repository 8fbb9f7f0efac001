"""Every key that the file may have: the one place that knows them."""

from __future__ import annotations

from typing import Final

from ..profile import CONGESTION_CONTROL
from . import named, proposals
from .kinds import Choice, Flag, Guid, Kind, NameOrNumber, Network, Number, Proposal, Seconds, Text
from .tables import Many, Named, Table

__all__ = ["ACCESS", "ACCOUNT", "DAEMON", "IDENTITY", "NAME", "PROFILE", "TRUST", "WHOLE"]

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_U32: Final = 0xFFFFFFFF
_FILE: Final = Text("the name of a file")
_LONG: Final = 10 * 366 * 24 * 3600
_IDENTITY: Final = Text("an identity: a DNS name, an e-mail address, or a distinguished name")
_PEER: Final = Text(
    "an identity, or a pattern such as '*.example' or '*@example'",
    r"(?:\*[.@])?[^\x00-\x1f\x7f*]+|[^\x00-\x1f\x7f*]+=[^\x00-\x1f\x7f]+",
)
_DOMAIN: Final = Text(
    "a domain such as 'hosts.example', which stands for every name below it",
    r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*",
)

IDENTITY: Final = Table(
    {
        "id": _IDENTITY,
        "certificate": _FILE,
        "key": _FILE,
        "raw_key": _FILE,
        "psk": _FILE,
        "anonymous": Flag("whether this host stays without an identity", only_true=True),
    },
    "[identity]",
    one_of=("certificate", "raw_key", "psk", "anonymous"),
    together=("certificate", "key"),
)
TRUST: Final = Table(
    {
        "ca": Many(_FILE),
        "pinned": Many(_FILE),
        "crl": Many(_FILE),
        "revocation": Choice(("relaxed", "ifuri", "strict")),
        "anonymous": Flag("whether peers without an identity are taken"),
    },
    "[trust]",
)
_IKE_WORDS: Final = (
    *proposals.AEAD,
    *proposals.CIPHERS,
    *proposals.INTEGRITY,
    *proposals.PRFS,
    *proposals.GROUPS,
)
_AH_WORDS: Final = (*proposals.INTEGRITY, *proposals.GMAC, *proposals.GROUPS, *proposals.EXTENDED)
_ESP_WORDS: Final = (
    *proposals.AEAD,
    *proposals.CIPHERS,
    *proposals.NO_CIPHER,
    *proposals.INTEGRITY,
    *proposals.GROUPS,
    *proposals.EXTENDED,
)
_PROFILE: Final[dict[str, Kind]] = {
    "guid": Guid(),
    "reqid": Number(1, _U32, hexadecimal=True),
    "mark": Number(1, _U32, hexadecimal=True),
    "mask": Number(1, _U32, hexadecimal=True),
    "protection": Choice(("encrypting", "integrity-only")),
    "carrier": Choice(("policy", "device", "auto")),
    "congestion_control": Text("a name such as 'cubic'", CONGESTION_CONTROL),
    "policy": Choice(named.NAMES),
    "proposals": Many(Proposal(proposals.esp, _ESP_WORDS), 1),
    "ah_proposals": Many(Proposal(proposals.ah, _AH_WORDS), 1),
    "ike_proposals": Many(Proposal(proposals.ike, _IKE_WORDS), 1),
    "ike_version": Choice((2, 1)),
    "rekey_seconds": Number(1, _LONG),
    "rekey_bytes": Number(0, 2**62, "0 for no limit"),
    "ike_rekey_seconds": Number(1, _LONG),
    "idle_seconds": Number(0, _LONG, "0 for never"),
    "dpd_seconds": Number(0, 86400, "0 for never"),
    "peers": Many(Network()),
    "names": Many(_PEER),
    "identity": IDENTITY,
    "trust": TRUST,
}
_NOT_BOTH: Final = ("proposals", "ah_proposals")
_ALONE: Final = {"policy": named.KEYS}
PROFILE: Final = Table(
    _PROFILE,
    "[profile.NAME]",
    required=("guid", "reqid", "mark", "mask"),
    not_both=_NOT_BOTH,
    alone=_ALONE,
)
# The default profile has the numbers that are built in, unless it says others.
_DEFAULT: Final = Table(_PROFILE, "[profile.default]", not_both=_NOT_BOTH, alone=_ALONE)
ACCESS: Final = Table(
    {
        "everyone": Flag("whether it is for all users"),
        "users": Many(NameOrNumber("a user")),
        "groups": Many(NameOrNumber("a group")),
        "profiles": Many(Text("the name of a profile", NAME)),
    },
    "[[access]]",
    some_of=("everyone", "users", "groups"),
)
ACCOUNT: Final = Table(
    {
        "account": Text("the name of a local account", r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?"),
        "identity": _IDENTITY,
        "domain": _DOMAIN,
    },
    "[[account]]",
    required=("account",),
    one_of=("identity", "domain"),
)
DAEMON: Final = Table(
    {
        "vici": Text("a socket: 'unix:///run/charon.vici'", r"unix:///[^\x00-\x20\x7f]+"),
        "first_seconds": Seconds(0.1, 300, "how long the negotiation for a first connection may take"),
        "spin_microseconds": Number(0, 1000, "0 to let the engine's threads sleep at once"),
        "one_call": Flag(
            "whether one call secures a socket on a secure device, where the kernel can do that"
        ),
    },
    "[daemon]",
)
WHOLE: Final = Table(
    {
        "default": Text("the name of a profile", NAME),
        "identity": IDENTITY,
        "trust": TRUST,
        "profile": Named(PROFILE, NAME, "profile", {"default": _DEFAULT}),
        "access": Many(ACCESS),
        "account": Many(ACCOUNT),
        "daemon": DAEMON,
    },
    "wsasec.toml",
)
