"""The files that the configuration names: whether they can be used, and secret ones by nobody else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .certificates import identities, is_ca, read_chain, read_public_key, read_revocation_list
from .document import error_at
from .errors import ConfigError
from .model import Authentication, Config, Identity, Trust
from .positions import Place
from .secret_files import public_bytes, read_private_key, read_psk

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["check_files"]


_Read = TypeVar("_Read")


def _public_of(path: Path) -> bytes:
    return public_bytes(read_private_key(path).public_key())


class _Checker:
    """Checks the files of one configuration."""

    def __init__(self, config: Config, now: datetime) -> None:
        self.config = config
        self.now = now
        self._done: set[Identity | Trust] = set()

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
        return error_at(self.config.path, self.config.lines, place, message)

    def all(self) -> None:
        for name, profile in self.config.profiles.items():
            if profile.identity not in self._done:
                self._done.add(profile.identity)
                self._identity(self._place(name, "identity"), profile.identity)
            if profile.trust not in self._done:
                self._done.add(profile.trust)
                self._trust(self._place(name, "trust"), profile.trust)

    def _place(self, name: str, key: str) -> Place:
        """Return where a profile's own table is, or that of the file."""
        own: Place = ("profile", name, key)
        return own if own in self.config.lines else (key,)

    def _identity(self, place: Place, identity: Identity) -> None:
        if identity.psk is not None:
            self._of((*place, "psk"), identity.psk, read_psk)
        key = "raw_key" if identity.authentication == Authentication.RAW_KEY else "key"
        public = None
        if identity.key is not None:
            public = self._of((*place, key), identity.key, _public_of)
        if identity.certificate is not None:
            self._certificate(place, identity, public)

    def _certificate(self, place: Place, identity: Identity, public: bytes | None) -> None:
        path = identity.certificate
        assert path is not None  # noqa: S101
        at = (*place, "certificate")
        for number, certificate in enumerate(self._of(at, path, read_chain)):
            which = f"{path}: the certificate" if number == 0 else f"{path}: certificate {number + 1}"
            if wrong := self._time(certificate.not_valid_before_utc, certificate.not_valid_after_utc):
                raise self._error(at, f"{which} {wrong}")
            if number == 0:
                if public_bytes(certificate.public_key()) != public:
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
            ("pinned", trust.pinned, read_public_key),
            ("crl", trust.crl, read_revocation_list),
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
