"""What certificates and keys say, by the `cryptography` package, which is imported when it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .secret_files import read_file

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.x509 import Certificate, CertificateRevocationList

__all__ = ["identities", "identity_of", "is_ca", "read_chain", "read_public_key", "read_revocation_list"]

_Extension = TypeVar("_Extension", bound="x509.ExtensionType")

_MISSING = "the package 'cryptography' is missing, which reads certificates: pip install 'wsasec[keys]'"


def read_chain(path: Path) -> list[Certificate]:
    """Read the certificates of a PEM file.

    Returns:
        One or more, in the file's order.

    Raises:
        ValueError: there is none, others may write the file, or `cryptography` is not installed.
        OSError: the file cannot be read.
    """
    raw = read_file(path, secret=False)
    try:
        from cryptography.x509 import load_pem_x509_certificates
    except ImportError as error:
        raise ValueError(_MISSING) from error
    try:
        found = load_pem_x509_certificates(raw)
    except ValueError as error:
        raise ValueError("there is no certificate in it: -----BEGIN CERTIFICATE-----") from error
    if not found:
        raise ValueError("there is no certificate in it: -----BEGIN CERTIFICATE-----")
    return found


def read_public_key(path: Path) -> PublicKeyTypes:
    """Read a public key, PEM.

    Raises:
        ValueError: there is none, or others may write the file.
        OSError: it cannot be read.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    raw = read_file(path, secret=False)
    try:
        return load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("there is no public key in it: -----BEGIN PUBLIC KEY-----") from error


def read_revocation_list(path: Path) -> CertificateRevocationList:
    """Read a revocation list, PEM or DER.

    Raises:
        ValueError: there is none, or others may write the file.
        OSError: it cannot be read.
    """
    from cryptography.x509 import load_der_x509_crl, load_pem_x509_crl

    raw = read_file(path, secret=False)
    try:
        return (load_pem_x509_crl if raw.lstrip().startswith(b"-----") else load_der_x509_crl)(raw)
    except ValueError as error:
        raise ValueError("there is no revocation list in it: -----BEGIN X509 CRL-----") from error


def identities(certificate: Certificate) -> list[str]:
    """Return what a certificate's owner may call himself.

    Returns:
        DNS names, e-mail addresses, the subject, addresses, in this order.

    Raises:
        ValueError: the certificate cannot be understood.
    """
    from cryptography import x509

    names = _extension(certificate, x509.SubjectAlternativeName) or x509.SubjectAlternativeName([])
    return [
        *names.get_values_for_type(x509.DNSName),
        *names.get_values_for_type(x509.RFC822Name),
        *([", ".join(_parts(certificate.subject))] if certificate.subject.rdns else []),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    ]


def is_ca(certificate: Certificate) -> bool:
    """Tell whether a certificate is that of a CA.

    Raises:
        ValueError: the certificate cannot be understood.
    """
    from cryptography import x509

    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _extension(certificate: Certificate, kind: type[_Extension]) -> _Extension | None:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError) as error:
        raise ValueError(f"the certificate cannot be understood: {error}") from error


def _parts(name: x509.Name) -> list[str]:
    """Return the parts of a distinguished name as strongSwan writes it: in the certificate's order."""
    from cryptography import x509

    return [part.rfc4514_string({x509.NameOID.EMAIL_ADDRESS: "E"}) for part in name.rdns]


def identity_of(path: Path) -> str:
    """Return the identity that a certificate gives its host: its first DNS name, e-mail address, or subject.

    Raises:
        ValueError: there is no certificate, it names nobody, others may write the file, or `cryptography`
            is not installed.
        OSError: the file cannot be read.
    """
    found = identities(read_chain(path)[0])
    if not found:
        raise ValueError("the certificate names nobody: it has no DNS name, no e-mail address and no subject")
    return found[0]
