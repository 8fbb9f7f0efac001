"""Names that programs ask for, and whether a peer goes by one.

A peer is known by its IKE identity, as charon writes it, and by the certificates that have this identity.
Where there are certificates, they alone count (but for raw names): charon's writing of an identity does not
tell its kind, and leaves out what would keep a comma within a name from one between two. If there are
several, each must have the name: which of them the peer has shown is not known, and another host may have
another.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cryptography import x509

from . import dn

__all__ = ["Form", "Name", "NameFormError", "matches", "parse"]

_HOST: Final = "host/"
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_MAILBOX: Final = re.compile(r"[A-Za-z0-9!#$%&'+/=?^_`{|}~.-]{1,64}", re.ASCII)
_LONGEST: Final = 1024
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)


class NameFormError(ValueError):
    """The name has no form that a certificate could have."""


class Form(Enum):
    """Of a name."""

    RAW = "raw"
    HOST = "host"
    MAIL = "mail"
    DN = "distinguished name"


@dataclass(frozen=True, slots=True)
class Name:
    """A name that was asked for.

    Attributes:
        form: what it is.
        text: as it was given.
        host: of a host its DNS name in lower case; of an e-mail address the domain.
        mailbox: of an e-mail address.
        attributes: of a distinguished name.
    """

    form: Form
    text: str
    host: str = ""
    mailbox: str = ""
    attributes: dn.Attributes = ()


def parse(text: str, *, raw: bool = False) -> Name:
    """Read a name: "host/server.example", "server.example", an e-mail address, a distinguished name.

    Args:
        text: the name.
        raw: it has no form: it is an identity, as charon writes it.

    Raises:
        NameFormError: it is none of these; addresses are no names.
    """
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise NameFormError("a name has 1 to 1024 printable characters")
    if raw:
        return Name(Form.RAW, text)
    if text.startswith(_HOST):
        return Name(Form.HOST, text, host=_host(text.removeprefix(_HOST)))
    if "=" in text and "@" not in text.partition("=")[0]:
        try:
            return Name(Form.DN, text, attributes=dn.parse(text))
        except ValueError as error:
            raise NameFormError(f"as a distinguished name: {error}") from error
    if "@" in text:
        mailbox, _, host = text.rpartition("@")
        if not _MAILBOX.fullmatch(mailbox):
            raise NameFormError("the e-mail address has no mailbox, or a strange one")
        return Name(Form.MAIL, text, host=_host(host), mailbox=mailbox)
    return Name(Form.HOST, text, host=_host(text))


def _host(text: str) -> str:
    """Return a DNS name in lower case. Raises NameFormError."""
    host = text.removesuffix(".").lower()
    if _is_address(host):
        raise NameFormError("an address is no name")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise NameFormError("not a DNS name")
    # What ends in a number is an address to those who parse it generously.
    if labels[-1].isdecimal():
        raise NameFormError("an address is no name")
    return host


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def matches(name: Name, identity: str, certificates: Iterable[bytes]) -> bool:
    """Whether a peer goes by a name.

    Args:
        name: what was asked for.
        identity: of the peer's IKE SA, as charon writes it.
        certificates: DER, all that have this identity; none where the peer has none (raw keys, shared keys).
    """
    if name.form is Form.RAW:
        return identity == name.text
    ders = list(certificates)
    if not ders:
        return _IDENTITY[name.form](name, identity)
    return all(_certificate_has(name, der) for der in ders)


def _identity_is_host(name: Name, identity: str) -> bool:
    return identity.lower() in (name.host, _HOST + name.host)


def _identity_is_mail(name: Name, identity: str) -> bool:
    return _same_mail(name, identity)


def _identity_is_dn(name: Name, identity: str) -> bool:
    try:
        return dn.same(name.attributes, dn.parse(identity, charon=True))
    except ValueError:
        return False


_IDENTITY: Final[dict[Form, Callable[[Name, str], bool]]] = {
    Form.HOST: _identity_is_host,
    Form.MAIL: _identity_is_mail,
    Form.DN: _identity_is_dn,
}


def _certificate_has(name: Name, der: bytes) -> bool:
    """Whether a certificate has the name; one that cannot be read has none."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        if name.form is Form.DN:
            return dn.same(name.attributes, dn.of_certificate(certificate))
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value
        if name.form is Form.MAIL:
            return any(_same_mail(name, found) for found in names.get_values_for_type(x509.RFC822Name))
        return _has_host(name.host, names.get_values_for_type(x509.DNSName))
    except (
        ValueError,
        TypeError,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        return False


def _has_host(host: str, found: Sequence[str]) -> bool:
    rest = host.partition(".")[2]
    wanted = {host, _HOST + host} | ({f"*.{rest}"} if rest else set())
    return any(pattern.removesuffix(".").lower() in wanted for pattern in found)


def _same_mail(name: Name, found: str) -> bool:
    mailbox, at, host = found.rpartition("@")
    return bool(at) and mailbox == name.mailbox and host.lower() == name.host
