"""What the configuration's files hold: certificates, keys, revocation lists.

Secrets are read when they are handed on, and not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ..config.certificates import read_chain, read_public_key, read_revocation_list
from ..config.model import Authentication, Identity, Trust
from ..config.secret_files import public_bytes, read_file, read_private_key, read_psk
from ..profiles import ConfigError
from .groups import Group

__all__ = ["Credentials", "pre_shared_key", "private_key"]

_LARGEST: Final = 65535
"""Bytes of a value of VICI."""

_T = TypeVar("_T")


def _of(read: Callable[[Path], _T], path: Path) -> _T:
    """Read a file; what is wrong with it becomes a ConfigError with its name."""
    try:
        return read(path)
    except ValueError as error:
        raise ConfigError(str(error), path) from None


def private_key(path: Path) -> bytes:
    """Return the contents of a file with a private key.

    Raises:
        ConfigError: others may read it.
        OSError: it cannot be read.
    """
    return _of(lambda path: read_file(path, secret=True), path)


def pre_shared_key(path: Path) -> bytes:
    """Return the pre-shared key in a file.

    Raises:
        ConfigError: others may read it, or it is too short.
        OSError: it cannot be read.
    """
    return _of(read_psk, path)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _crl(path: Path) -> bytes:
    crl = _of(read_revocation_list, path).public_bytes(Encoding.DER)
    if len(crl) > _LARGEST:
        raise ConfigError(f"a revocation list of {len(crl)} bytes; charon takes {_LARGEST} at the most", path)
    return crl


class Credentials:
    """What the groups' files hold that is no secret.

    Everything is read at once, so that a wrong file is found before anything changes.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        """Read the files.

        Raises:
            ConfigError: a file does not hold what it should, its mode is too open, or the key is not the
                certificate's. It names the file.
            OSError: a file cannot be read.
        """
        self._own: dict[Identity, list[bytes]] = {}
        self._public: dict[Identity, bytes] = {}
        self._authorities: dict[Path, list[bytes]] = {}
        self._pinned: dict[Path, bytes] = {}
        self._crls: dict[Path, bytes] = {}
        for group in groups:
            self._add_identity(group.identity)
            self._add_trust(group.first.trust)

    def _add_identity(self, identity: Identity) -> None:
        if identity.authentication is Authentication.PSK:
            if identity.psk is None:
                raise ConfigError("identity: psk: missing")
            pre_shared_key(identity.psk)
            return
        if identity.authentication is Authentication.ANONYMOUS:
            return
        if identity.key is None:
            raise ConfigError("identity: key: missing")
        self._public[identity] = public_bytes(_of(read_private_key, identity.key).public_key())
        if identity.authentication is not Authentication.CERTIFICATE:
            return
        if identity.certificate is None:
            raise ConfigError("identity: certificate: missing")
        chain = _of(read_chain, identity.certificate)
        if public_bytes(chain[0].public_key()) != self._public[identity]:
            raise ConfigError(
                f"this key is not that of the certificate in {identity.certificate}", identity.key
            )
        self._own[identity] = [_der(certificate) for certificate in chain]

    def _add_trust(self, trust: Trust) -> None:
        for path in trust.ca:
            self._authorities[path] = [_der(certificate) for certificate in _of(read_chain, path)]
        for path in trust.pinned:
            self._pinned[path] = public_bytes(_of(read_public_key, path))
        for path in trust.crl:
            self._crls[path] = _crl(path)

    def own_certificate(self, identity: Identity) -> bytes:
        """Return the certificate of an identity, DER."""
        return self._own[identity][0]

    def own_public_key(self, identity: Identity) -> bytes:
        """Return the public key of an identity, DER."""
        return self._public[identity]

    def authorities(self, trust: Trust) -> list[bytes]:
        """Return the certificates of the CAs that are believed, DER."""
        return [der for path in trust.ca for der in self._authorities[path]]

    def pinned(self, trust: Trust) -> list[bytes]:
        """Return the public keys that are believed, DER."""
        return [self._pinned[path] for path in trust.pinned]

    def all_authorities(self) -> list[bytes]:
        """Return the CA certificates of all groups, DER, each once."""
        return list(dict.fromkeys(der for each in self._authorities.values() for der in each))

    def between(self) -> list[bytes]:
        """Return the certificates between own ones and their CAs, DER, each once."""
        return list(dict.fromkeys(der for chain in self._own.values() for der in chain[1:]))

    def crls(self) -> list[bytes]:
        """Return the revocation lists of all groups, DER."""
        return list(self._crls.values())

    def key_files(self) -> list[Path]:
        """Return the files of the private keys, each once."""
        return list(dict.fromkeys(identity.key for identity in self._public if identity.key))
