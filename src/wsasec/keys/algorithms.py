"""Whether a charon has the algorithms that the configuration's proposals name."""

from __future__ import annotations

from typing import Final

from .groups import Group
from .messages import section
from .reason import CharonError, Reason
from .session import Session

__all__ = ["name_of", "require_algorithms"]

_NAMES: Final = {
    "aes256gcm16": "AES_GCM_16", "aes192gcm16": "AES_GCM_16", "aes128gcm16": "AES_GCM_16",
    "chacha20poly1305": "CHACHA20_POLY1305",
    "aes256": "AES_CBC", "aes192": "AES_CBC", "aes128": "AES_CBC", "3des": "3DES_CBC",
    "sha512": "HMAC_SHA2_512_256", "sha384": "HMAC_SHA2_384_192", "sha256": "HMAC_SHA2_256_128",
    "sha1": "HMAC_SHA1_96", "md5": "HMAC_MD5_96",
    "prfsha512": "PRF_HMAC_SHA2_512", "prfsha384": "PRF_HMAC_SHA2_384", "prfsha256": "PRF_HMAC_SHA2_256",
    "prfsha1": "PRF_HMAC_SHA1", "prfmd5": "PRF_HMAC_MD5",
    "x25519": "CURVE_25519", "curve25519": "CURVE_25519", "x448": "CURVE_448",
    "modp2048s256": "MODP_2048_256",
}  # fmt: skip

# Of associations charon has to do with the groups only: the rest is the kernel's.
_GROUPS: Final = ("x25519", "curve25519", "x448", "ecp", "modp")
_KINDS: Final = ("aead", "encryption", "integrity", "prf", "dh")


def name_of(word: str) -> str:
    """Return charon's name of the algorithm that a keyword of proposals is for."""
    for kind in ("ecp", "modp"):
        if word.startswith(kind) and word not in _NAMES:
            return f"{kind.upper()}_{word.removeprefix(kind)}"
    return _NAMES[word]


def _words(group: Group) -> dict[str, str]:
    """Return the keywords of the algorithms that charon itself needs, and the profile of each."""
    found: dict[str, str] = {}
    for profile in group.profiles:
        words = [word for proposal in profile.ike_proposals for word in proposal.split("-")]
        for proposal in profile.ike_proposals:
            parts = proposal.split("-")
            # Without a PRF of its own a proposal has that of its integrity algorithm.
            if not any(part.startswith("prf") for part in parts):
                words += [f"prf{part}" for part in parts if f"prf{part}" in _NAMES]
        for proposal in (*profile.esp_proposals, *profile.ah_proposals):
            words += [word for word in proposal.split("-") if word.startswith(_GROUPS)]
        for word in words:
            found.setdefault(word, profile.profile.name)
    return found


def require_algorithms(session: Session, groups: list[Group], deadline: float) -> None:
    """Find out. Peers may choose any that was proposed: all of them must be there.

    Raises:
        CharonError: one is not; or charon does not answer.
        MessageError: an answer of charon's has another form.
    """
    answer = session.request("get-algorithms", None, deadline)
    there = {name for kind in _KINDS for name in section(answer, kind)}
    for group in groups:
        for word, profile in _words(group).items():
            if name_of(word) not in there:
                raise CharonError(
                    Reason.NO_CHARON,
                    f"it has no plugin for {word}, which profile '{profile}' proposes; openssl has it",
                )
