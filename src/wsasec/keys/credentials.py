"""What the configuration's files hold: certificates, keys, revocation lists.

Secrets are read when they are handed on, and not kept.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ..config.model import Authentication, Identity, Trust
from ..profiles import ConfigError
from .groups import Group

__all__ = ["Credentials", "read_secret"]

_LARGEST: Final = 65535
"""Bytes of a value of VICI."""


def _read(path: Path, *, secret: bool) -> bytes:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError("not a file", path)
        if secret and (status.st_mode & 0o077 or status.st_uid not in (0, os.geteuid())):
            raise ConfigError(
                "others may read this secret, or it is another user's: chown root, chmod 600", path
            )
        data = file.read(_LARGEST * 16 + 1)
    if len(data) > _LARGEST * 16:
        raise ConfigError(f"larger than {_LARGEST * 16} bytes", path)
    return data


def read_secret(path: Path) -> bytes:
    """Return the contents of a file that only its owner may read.

    Raises:
        ConfigError: others may read it.
        OSError: it cannot be read.
    """
    return _read(path, secret=True)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _key_der(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _certificates(path: Path) -> list[x509.Certificate]:
    data = _read(path, secret=False)
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except ValueError as error:
        raise ConfigError("holds no certificate that can be read", path) from error


def _crl(path: Path) -> bytes:
    data = _read(path, secret=False)
    try:
        load = x509.load_pem_x509_crl if b"-----BEGIN" in data else x509.load_der_x509_crl
        crl = load(data).public_bytes(Encoding.DER)
    except ValueError as error:
        raise ConfigError("holds no revocation list that can be read", path) from error
    if len(crl) > _LARGEST:
        raise ConfigError(f"a revocation list of {len(crl)} bytes; charon takes {_LARGEST} at the most", path)
    return crl


def _public_key(path: Path) -> bytes:
    data = _read(path, secret=False)
    try:
        if b"-----BEGIN CERTIFICATE" in data:
            return _key_der(x509.load_pem_x509_certificate(data).public_key())
        return _key_der(load_pem_public_key(data))
    except ValueError as error:
        raise ConfigError("holds no public key that can be read", path) from error


def _public_half(path: Path) -> bytes:
    """Return the public key to a private one, DER; errors say nothing of what the file holds."""
    try:
        key = load_pem_private_key(read_secret(path), None)
    except TypeError:
        raise ConfigError(
            "the key has a passphrase, which nobody could give at start: take it off", path
        ) from None
    except ConfigError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, it might quote the key
        raise ConfigError("holds no private key that can be read, in PEM", path) from None
    return _key_der(key.public_key())


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
            if not read_secret(identity.psk).strip():
                raise ConfigError("an empty secret", identity.psk)
            return
        if identity.authentication is Authentication.ANONYMOUS:
            return
        if identity.key is None:
            raise ConfigError("identity: key: missing")
        self._public[identity] = _public_half(identity.key)
        if identity.authentication is not Authentication.CERTIFICATE:
            return
        if identity.certificate is None:
            raise ConfigError("identity: certificate: missing")
        chain = _certificates(identity.certificate)
        if _key_der(chain[0].public_key()) != self._public[identity]:
            raise ConfigError(
                f"this key is not that of the certificate in {identity.certificate}", identity.key
            )
        self._own[identity] = [_der(certificate) for certificate in chain]

    def _add_trust(self, trust: Trust) -> None:
        for path in trust.ca:
            self._authorities[path] = [_der(certificate) for certificate in _certificates(path)]
        for path in trust.pinned:
            self._pinned[path] = _public_key(path)
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
