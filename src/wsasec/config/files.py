"""The files that the configuration names: whether they can be used, and secret ones by nobody else."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from .certificates import identities, is_ca, read_chain
from .errors import ConfigError
from .model import Authentication, Config, Identity, Trust
from .positions import Place, line_of

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["check_files", "read_psk"]

_SHORTEST_PSK: Final = 16
_LARGEST: Final = 1 << 20

_Read = TypeVar("_Read")


def _read(path: Path, *, secret: bool) -> bytes:
    """Read a file of root or of this user, which nobody else may write, or even read.

    Raises:
        ValueError: it may be read, or written, by others.
        OSError: it cannot be read.
    """
    # Not blocking: it might be a pipe.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if sys.platform != "win32":
            _check_owner(status, os.geteuid(), secret=secret)
        with open(descriptor, "rb", closefd=False) as file:  # noqa: PTH123 - of the descriptor
            raw = file.read(_LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(raw) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST} bytes")
    return raw


def _check_owner(status: os.stat_result, user: int, *, secret: bool) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in (0, user):
        raise ValueError(f"it belongs to user {status.st_uid}, not to root; run chown root on it")
    if secret and mode & 0o077:
        raise ValueError(f"others than its owner may use it (its mode is {mode:04o}); run chmod 0600 on it")
    if mode & 0o022:
        raise ValueError(f"others than its owner may write it (its mode is {mode:04o}); run chmod go-w on it")


def read_psk(path: Path) -> bytes:
    """Read a pre-shared key: all of the file, without the end of the line.

    Raises:
        ValueError: it is too short, or the file may be read by others.
        OSError: it cannot be read.
    """
    found = _read(path, secret=True).rstrip(b"\r\n")
    if len(found) < _SHORTEST_PSK:
        raise ValueError(
            f"it is shorter than {_SHORTEST_PSK} bytes, and could be guessed; "
            "`openssl rand -base64 32` makes one"
        )
    return found


def _private_key(path: Path) -> bytes:
    """Read a private key, and return the public one."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    raw = _read(path, secret=True)
    try:
        key = load_pem_private_key(raw, None)
    except TypeError:
        # Without the cause, here and below: nothing of the key may get into a traceback.
        raise ValueError(
            "it is encrypted, and nobody is there to give its pass phrase; keep it in clear"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("there is no private key in it: -----BEGIN PRIVATE KEY-----") from None
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < 2048:
            raise ValueError(f"it is an RSA key of {key.key_size} bits; 2048 are the least")
    elif not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        raise ValueError("it is a key of another kind than RSA, ECDSA or EdDSA")
    return _encoded(key.public_key())


def _encoded(key: object) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


def _public_key(path: Path) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    raw = _read(path, secret=False)
    try:
        load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("there is no public key in it: -----BEGIN PUBLIC KEY-----") from error


def _revocation_list(path: Path) -> None:
    from cryptography.x509 import load_der_x509_crl, load_pem_x509_crl

    raw = _read(path, secret=False)
    try:
        (load_pem_x509_crl if raw.lstrip().startswith(b"-----") else load_der_x509_crl)(raw)
    except ValueError as error:
        raise ValueError("there is no revocation list in it: -----BEGIN X509 CRL-----") from error


class _Checker:
    """Checks the files of one configuration."""

    def __init__(self, config: Config, now: datetime) -> None:
        self.config = config
        self.now = now
        self._done: set[Place] = set()

    def _of(self, place: Place, path: Path, check: Callable[[Path], _Read]) -> _Read:
        """Check one file; what is wrong with it is told with the line that names it."""
        try:
            return check(path)
        except (ValueError, OSError) as error:
            # Not the name where it is a secret's: somebody may have put the secret itself there.
            name = "the file" if place[-1] == "psk" else str(path)
            raise self._error(place, f"{name}: {_why(error)}") from None

    def _judged(
        self, place: Place, path: Path, judge: Callable[[Certificate], _Read], certificate: Certificate
    ) -> _Read:
        return self._of(place, path, lambda _: judge(certificate))

    def _error(self, place: Place, message: str) -> ConfigError:
        words = [str(word) for word in place if isinstance(word, str)]
        if words[0] == "profile":
            words[:2] = [f"profile {words[1]!r}: {words[2]}"]
            del words[1]
        return ConfigError(
            f"{'.'.join(words)}: {message}", self.config.path, line_of(self.config.lines, place)
        )

    def all(self) -> None:
        for name, profile in self.config.profiles.items():
            for key in ("identity", "trust"):
                own: Place = ("profile", name, key)
                place: Place = own if own in self.config.lines else (key,)
                if place not in self._done:
                    self._done.add(place)
                    if key == "identity":
                        self._identity(place, profile.identity)
                    else:
                        self._trust(place, profile.trust)

    def _identity(self, place: Place, identity: Identity) -> None:
        if identity.psk is not None:
            self._of((*place, "psk"), identity.psk, read_psk)
        key = "raw_key" if identity.authentication == Authentication.RAW_KEY else "key"
        public = None
        if identity.key is not None:
            public = self._of((*place, key), identity.key, _private_key)
        if identity.certificate is not None:
            self._certificate(place, identity, public)

    def _certificate(self, place: Place, identity: Identity, public: bytes | None) -> None:
        path = identity.certificate
        assert path is not None  # noqa: S101
        at = (*place, "certificate")
        self._of(at, path, lambda path: _read(path, secret=False))
        for number, certificate in enumerate(self._of(at, path, read_chain)):
            which = f"{path}: the certificate" if number == 0 else f"{path}: certificate {number + 1}"
            if wrong := self._time(certificate.not_valid_before_utc, certificate.not_valid_after_utc):
                raise self._error(at, f"{which} {wrong}")
            if number == 0:
                if _encoded(certificate.public_key()) != public:
                    message = f"{identity.key}: this is not the key of the certificate {path}"
                    raise self._error((*place, "key"), message)
                names = self._judged(at, path, identities, certificate)
                if not _among(identity.id, names):
                    message = f"{path}: the certificate is for {', '.join(names)}, not for {identity.id}"
                    raise self._error((*place, "id"), message)

    def _time(self, start: datetime, end: datetime) -> str | None:
        if self.now < start:
            return f"is not valid before {start:%Y-%m-%d %H:%M} UTC; is this host's clock right?"
        return f"has expired on {end:%Y-%m-%d %H:%M} UTC" if self.now > end else None

    def _trust(self, place: Place, trust: Trust) -> None:
        wrong = []
        for number, path in enumerate(trust.ca):
            at = (*place, "ca", number)
            self._of(at, path, lambda path: _read(path, secret=False))
            for certificate in self._of(at, path, read_chain):
                if not self._judged(at, path, is_ca, certificate):
                    raise self._error(at, f"{path}: this is not the certificate of a CA")
                wrong.append(
                    (at, path, self._time(certificate.not_valid_before_utc, certificate.not_valid_after_utc))
                )
        # One that has ended may stay beside the one that follows it.
        if wrong and all(problem for _, _, problem in wrong):
            at, path, problem = wrong[0]
            raise self._error(at, f"{path}: the certificate of the CA {problem}")
        for key, paths, check in (
            ("pinned", trust.pinned, _public_key),
            ("crl", trust.crl, _revocation_list),
        ):
            for number, path in enumerate(paths):
                self._of((*place, key, number), path, check)


def _among(identity: str, names: list[str]) -> bool:
    """Tell whether a certificate has an identity; how DNs are written is left to charon."""
    if "=" in identity:
        return True
    return identity.lower() in {name.lower() for name in names}


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror}"
    return str(error)


def check_files(config: Config, now: datetime | None = None) -> None:
    """Check the files that the configuration names: keys, certificates, secrets, lists.

    Args:
        config: from `wsasec.config.load.load`.
        now: the time at which certificates must be valid; None for the present one.

    Raises:
        ConfigError: one is missing, cannot be read, may be read or written by others, or is not what it
            should be: a key of another certificate, a certificate that has expired, and so on.
    """
    _Checker(config, now or datetime.now(UTC)).all()
