"""Authentication: how hosts and users prove who they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ..ranges import check_range
from .algorithms import Method, Roots
from .checks import check_number

_CERTIFICATES: Final = {
    Method.CERTIFICATE,
    Method.CERTIFICATE_ECDSA_P256,
    Method.CERTIFICATE_ECDSA_P384,
    Method.SSL,
    Method.SSL_ECDSA_P256,
    Method.SSL_ECDSA_P384,
}


@dataclass(frozen=True, slots=True)
class Authentication:
    """IKEEXT_AUTHENTICATION_METHOD1 (iketypes.h): how hosts, or users, prove who they are.

    Attributes:
        method: of `Method`, or the system's number.
        flags: of the method: IKEEXT_CERT_AUTH_FLAG_..., IKEEXT_KERB_AUTH_..., and so on.
        inbound_roots: of `Roots`: which root certificates are trusted. Of certificates and SSL only.
        outbound_roots: the same, for what is sent.
        secret: the pre-shared key, which no system reports, and no repr() shows.
        root_count: how many root certificates a reported policy lists; such a one cannot be added.

    Raises:
        TypeError: a member has a wrong type.
        ValueError: a pre-shared key without a secret, or a secret without one; or roots without certificates.

    """

    method: Method | int
    flags: int = 0
    inbound_roots: Roots | int = Roots.EXPLICIT
    outbound_roots: Roots | int = Roots.EXPLICIT
    secret: bytes = field(default=b"", repr=False)
    root_count: int = 0

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> None:
        check_number(Method, "method", self.method)
        check_range("flags", self.flags)
        check_number(Roots, "inbound_roots", self.inbound_roots)
        check_number(Roots, "outbound_roots", self.outbound_roots)
        if not isinstance(self.secret, bytes):
            raise TypeError(f"secret is bytes, not {type(self.secret).__name__}")
        if bool(self.secret) != (self.method == Method.PRESHARED_KEY):
            raise ValueError("secret: PRESHARED_KEY has one, no other method has")
        if self.method not in _CERTIFICATES and (self.inbound_roots or self.outbound_roots):
            raise ValueError("inbound_roots, outbound_roots: the method has no certificates")
        if self.root_count != 0:
            raise ValueError("root_count: lists of root certificates cannot be added")

    def _described(self) -> tuple[Any, ...]:
        return int(self.method), self.flags, int(self.inbound_roots), int(self.outbound_roots), self.secret
