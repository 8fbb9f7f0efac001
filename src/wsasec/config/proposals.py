"""Proposals in strongSwan's keywords: which there are, and what they come to."""

from __future__ import annotations

import difflib
from typing import Final

__all__ = ["AEAD", "CIPHERS", "EXTENDED", "GROUPS", "INTEGRITY", "NO_CIPHER", "PRFS", "ah", "esp", "ike"]

# Of each kind those that charon has with the plugins that are loaded; truncated tags are left out.
AEAD: Final = ("aes256gcm16", "aes192gcm16", "aes128gcm16", "chacha20poly1305")
CIPHERS: Final = ("aes256", "aes192", "aes128", "3des")
GMAC: Final = ("aes256gmac", "aes192gmac", "aes128gmac")
NO_CIPHER: Final = ("null", *GMAC)
INTEGRITY: Final = ("sha512", "sha384", "sha256", "sha1", "md5")
PRFS: Final = ("prfsha512", "prfsha384", "prfsha256", "prfsha1", "prfmd5")
GROUPS: Final = (
    *("x25519", "curve25519", "x448", "ecp521", "ecp384", "ecp256"),
    *("modp8192", "modp6144", "modp4096", "modp3072", "modp2048", "modp2048s256"),
    *("modp1536", "modp1024", "modp768"),
)
EXTENDED: Final = ("esn", "noesn")


def _words(text: str, *kinds: tuple[str, ...]) -> list[set[str]]:
    """Return the words of each kind."""
    words = text.split("-")
    known = [word for kind in kinds for word in kind]
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{word[:40]!r} is no keyword here{hint} Known are {', '.join(known)}")
        if words.count(word) > 1:
            raise ValueError(f"{word!r} is there twice")
    return [{word for word in words if word in kind} for kind in kinds]


def ike(text: str) -> None:
    """Check a proposal for the IKE SA.

    Raises:
        ValueError: what is wrong, and what is allowed.
    """
    aead, ciphers, integrity, prfs, groups = _words(text, AEAD, CIPHERS, INTEGRITY, PRFS, GROUPS)
    if bool(aead) == bool(ciphers):
        raise ValueError(
            f"one kind of encryption is wanted: of {', '.join(AEAD)}, or of {', '.join(CIPHERS)}"
        )
    if aead and integrity:
        raise ValueError("authenticated encryption has no integrity algorithm beside it: say prf...")
    if aead and not prfs:
        raise ValueError(f"a PRF is wanted: one of {', '.join(PRFS)}")
    if ciphers and not integrity:
        raise ValueError(f"an integrity algorithm is wanted: one of {', '.join(INTEGRITY)}")
    if not groups:
        raise ValueError(f"a group is wanted: one of {', '.join(GROUPS)}")


def esp(text: str) -> bool:
    """Check a proposal for ESP.

    Returns:
        Whether it encrypts.

    Raises:
        ValueError: what is wrong, and what is allowed.
    """
    aead, ciphers, null, integrity, _, extended = _words(
        text, AEAD, CIPHERS, NO_CIPHER, INTEGRITY, GROUPS, EXTENDED
    )
    if bool(aead) + bool(ciphers) + bool(null) != 1:
        raise ValueError(
            f"one kind of encryption is wanted: of {', '.join(AEAD)}, or of {', '.join(CIPHERS)}, "
            f"or of {', '.join(NO_CIPHER)}, which do not encrypt"
        )
    if len(null) > 1:
        raise ValueError(f"only one of {', '.join(NO_CIPHER)} can be in a proposal")
    alone = aead or null & set(GMAC)
    if alone and integrity:
        raise ValueError("authenticated encryption has no integrity algorithm beside it")
    if not alone and not integrity:
        # Encryption alone: whoever is on the path could change what is sent.
        raise ValueError(f"an integrity algorithm is wanted: one of {', '.join(INTEGRITY)}")
    _one_width(extended)
    return not null


def ah(text: str) -> None:
    """Check a proposal for AH.

    Raises:
        ValueError: what is wrong, and what is allowed.
    """
    integrity, gmac, _, extended = _words(text, INTEGRITY, GMAC, GROUPS, EXTENDED)
    if bool(integrity) == bool(gmac):
        raise ValueError(
            f"one kind of integrity is wanted: of {', '.join(INTEGRITY)}, or of {', '.join(GMAC)}"
        )
    _one_width(extended)


def _one_width(extended: set[str]) -> None:
    if len(extended) > 1:
        raise ValueError("sequence numbers are either esn or noesn; two proposals can have one of them each")
