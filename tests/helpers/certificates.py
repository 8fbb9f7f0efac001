"""Certificates, keys and revocation lists for tests."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    """Write a file of a mode, whatever was there."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return path


def name_of(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def general_name(text: str) -> x509.GeneralName:
    """Return what a SAN holds: an address, an e-mail address, or a DNS name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.RFC822Name(text) if "@" in text else x509.DNSName(text)


@dataclass(frozen=True)
class Files:
    """Of a certificate or a raw key: PEM."""

    key: Path
    public: Path
    certificate: Path | None = None


def write_key(folder: Path, name: str) -> tuple[ec.EllipticCurvePrivateKey, Files]:
    """Make a key pair, NAME.key and NAME.pub."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    stem = name.replace("/", "_")
    return key, Files(write(folder / f"{stem}.key", private), write(folder / f"{stem}.pub", public, 0o644))


class Authority:
    """A CA with its file, NAME.crt, in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name_of(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._revoked: list[int] = []
        self._serials: dict[str, int] = {}
        self._crl_number = 0
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * _DAY)
            .not_valid_after(now + 30 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
            )
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = write(folder / f"{name}.crt", certificate.public_bytes(Encoding.PEM), 0o644)

    def issue(
        self, name: str, names: Sequence[str] | None = None, *, start: float = -1, end: float = 10
    ) -> Files:
        """Issue a certificate, NAME.crt.

        Args:
            name: its common name.
            names: its SANs; None for its name alone.
            start: days from now at which it begins to be valid.
            end: days from now at which it ends to be.
        """
        key, files = write_key(self.folder, name)
        now = datetime.datetime.now(datetime.UTC)
        serial = x509.random_serial_number()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name_of(name))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(now + start * _DAY)
            .not_valid_after(now + end * _DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName([general_name(each) for each in names or (name,)]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        self._serials[name] = serial
        path = files.key.with_suffix(".crt")
        write(path, certificate.public_bytes(Encoding.PEM), 0o644)
        return Files(files.key, files.public, path)

    def revoke(self, *names: str) -> Path:
        """Return a revocation list with the certificates of these names, and of those before."""
        self._revoked += [self._serials[name] for name in names]
        self._crl_number += 1
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(now - _DAY)
            .next_update(now + _DAY)
            .add_extension(x509.CRLNumber(self._crl_number), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        for serial in self._revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - _DAY).build()
            )
        crl = builder.sign(self._key, hashes.SHA256())
        stem = self.certificate.stem
        return write(self.folder / f"{stem}.crl", crl.public_bytes(Encoding.PEM), 0o644)
