"""A small CA for a lab: its key, certificates of hosts, and the list of those that count no more."""

from __future__ import annotations

import fcntl
import ipaddress
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from .certificates import read_chain
from .names import host_name
from .new_files import NewFile, check_folder, create, make_folder, refuse_existing, replace
from .secret_files import public_bytes, read_private_key

__all__ = ["CA_DAYS", "HOST_DAYS", "Authority", "Credentials", "make_authority"]

CA_DAYS: Final = 3650
HOST_DAYS: Final = 397
# Hosts' clocks differ a bit.
_EARLIER: Final = timedelta(hours=1)
_IPSEC_IKE: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.17")

_Read = TypeVar("_Read")
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a host needs, all PEM.

    Attributes:
        certificate: the host's.
        key: its private key; never shown.
        ca: the CA's certificate.
        crl: the CA's list of certificates that count no more.
        until: when the host's certificate ends.
    """

    certificate: bytes
    key: bytes
    ca: bytes
    crl: bytes
    until: datetime

    def __repr__(self) -> str:
        return f"Credentials(until={self.until})"


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def make_authority(folder: Path, name: str, days: int = CA_DAYS) -> None:
    """Make a CA: its key, its certificate, and an empty list of revoked certificates.

    Args:
        folder: where; it is made, for its owner only.
        name: the common name of the CA, 1 to 64 characters.
        days: how long its certificate counts.

    Raises:
        FileExistsError: there is one already; nothing was changed.
        ValueError: others may write the folder.
        OSError: it cannot be written.
    """
    make_folder(folder, 0o700)
    authority = Authority(folder)
    refuse_existing((authority.key, authority.certificate, authority.crl))
    key = ec.generate_private_key(ec.SECP384R1())
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    create(
        [
            NewFile(authority.key, _pem(key), secret=True),
            NewFile(authority.certificate, certificate.public_bytes(Encoding.PEM)),
            NewFile(authority.crl, _list(certificate, key, (), 1).public_bytes(Encoding.PEM)),
        ]
    )


def _list(
    ca: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    revoked: Sequence[x509.RevokedCertificate],
    number: int,
) -> x509.CertificateRevocationList:
    # It counts as long as the CA: it is only changed by hand, and an old one is better than none.
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.subject)
        .last_update(datetime.now(UTC))
        .next_update(ca.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_issuer_key(ca), critical=False)
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA384())


def _read(path: Path, read: Callable[[Path], _Read]) -> _Read:
    """Read a file; what is wrong with it is told with its name."""
    try:
        return read(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _issuer_key(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


class Authority:
    """The CA in a folder.

    Attributes:
        folder: the folder.
        key: file with its private key.
        certificate: file with its certificate.
        crl: file with the list of certificates that count no more.
        hosts: folder with a copy of each certificate that was made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "ca.key"
        self.certificate = folder / "ca.crt"
        self.crl = folder / "ca.crl"
        self.hosts = folder / "hosts"

    def issued(self, name: str) -> Path:
        """Return the file that a host's certificate is kept in."""
        return self.hosts / f"{name}.crt"

    @contextmanager
    def _locked(self) -> Iterator[tuple[x509.Certificate, ec.EllipticCurvePrivateKey]]:
        """Hold the CA for oneself, and check that it is one."""
        check_folder(self.folder)
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            ca = _read(self.certificate, read_chain)[0]
            key = _read(self.key, read_private_key)
            same = public_bytes(key.public_key()) == public_bytes(ca.public_key())
            if not same or not isinstance(key, ec.EllipticCurvePrivateKey):
                raise ValueError(f"{self.key}: this is not the key of {self.certificate}")
            yield ca, key
        finally:
            os.close(descriptor)

    def issue(self, name: str, addresses: Sequence[_Address] = (), days: int = HOST_DAYS) -> Credentials:
        """Make a key and a certificate for a host.

        Args:
            name: its DNS name.
            addresses: what else it is reached by.
            days: how long the certificate counts; not longer than that of the CA.

        Raises:
            FileExistsError: the host has a certificate.
            ValueError: the name is wrong, or the CA is, or has ended.
            OSError: the CA cannot be read.
        """
        name = host_name(name)
        with self._locked() as (ca, ca_key):
            make_folder(self.hosts, 0o700)
            refuse_existing([self.issued(name)])
            now = datetime.now(UTC)
            until = min(now + timedelta(days=days), ca.not_valid_after_utc)
            if until <= now:
                raise ValueError(f"{self.certificate}: the CA has ended on {ca.not_valid_after_utc:%Y-%m-%d}")
            key = ec.generate_private_key(ec.SECP256R1())
            names = [x509.DNSName(name), *map(x509.IPAddress, addresses)]
            # A common name has room for 64 characters; nobody looks at it where there are other names.
            subject = [x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])]
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH, _IPSEC_IKE]
            certificate = (
                x509.CertificateBuilder()
                .subject_name(x509.Name(subject))
                .issuer_name(ca.subject)
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(max(now - _EARLIER, ca.not_valid_before_utc))
                .not_valid_after(until)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(_usage(ca=False), critical=True)
                .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
                .add_extension(x509.SubjectAlternativeName(names), critical=False)
                .add_extension(_issuer_key(ca), critical=False)
                .sign(ca_key, hashes.SHA384())
            )
            pem = certificate.public_bytes(Encoding.PEM)
            create([NewFile(self.issued(name), pem)])
            return Credentials(
                pem,
                _pem(key),
                ca.public_bytes(Encoding.PEM),
                self.crl.read_bytes(),
                certificate.not_valid_after_utc,
            )

    def forget(self, name: str) -> None:
        """Take back that a host has a certificate: nobody got it."""
        self.issued(host_name(name)).unlink()

    def revoke(self, name: str) -> None:
        """Put a host's certificate on the list of those that count no more.

        Raises:
            ValueError: the host has none, or the CA is wrong.
            OSError: the CA cannot be read or written.
        """
        name = host_name(name)
        with self._locked() as (ca, key):
            issued = self.issued(name)
            if not issued.exists():
                raise ValueError(f"{issued}: there is no such file: this CA made no certificate for {name}")
            serial = _read(issued, read_chain)[0].serial_number
            old = _read(self.crl, lambda path: x509.load_pem_x509_crl(path.read_bytes()))
            number = old.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            entries = [entry for entry in old if entry.serial_number != serial]
            now = datetime.now(UTC)
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            new = _list(ca, key, [*entries, entry], number + 1)
            replace(NewFile(self.crl, new.public_bytes(Encoding.PEM)))
            issued.rename(self.hosts / f"revoked-{serial:x}.crt")
