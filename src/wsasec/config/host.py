"""The files of one host: in its folder, or in a bundle on the way to it."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from .authority import Credentials
from .certificates import is_ca
from .new_files import NewFile, create, make_folder, refuse_existing
from .secret_files import private_key_of, public_bytes, read_file

__all__ = ["check_free", "install", "read_bundle", "write_bundle"]

_FILES: Final = {"host.crt": "certificate", "host.key": "key", "ca.crt": "ca", "ca.crl": "crl"}
_LARGEST: Final = 1 << 20
_TOML: Final = b"""\
# Who this host is, whom it believes, and which programs may use it.

[identity]
certificate = "host.crt"
key = "host.key"

# Hosts with a certificate of this CA, but those on its list of revoked ones.
[trust]
ca = ["ca.crt"]
crl = ["ca.crl"]

# Programs of all users may secure their sockets, with this profile. Without such a rule only root's may. To
# have fewer: users = ["alice"] or groups = ["staff"] in place of everyone.
[[access]]
everyone = true
profiles = ["default"]
"""


def _paths(folder: Path) -> list[Path]:
    return [folder / name for name in (*_FILES, "wsasec.toml")]


def check_free(folder: Path) -> None:
    """See that a host's folder has none of the files yet.

    Raises:
        FileExistsError: it has one.
    """
    refuse_existing(_paths(folder))


def install(folder: Path, credentials: Credentials) -> Path:
    """Write a host's files; returns the configuration's.

    Raises:
        FileExistsError: one is there already; nothing was changed.
        ValueError: others may write the folder.
        OSError: a file cannot be written; nothing was changed.
    """
    make_folder(folder, 0o755)
    files = [
        NewFile(folder / name, getattr(credentials, attribute), secret=attribute == "key")
        for name, attribute in _FILES.items()
    ]
    create([*files, NewFile(folder / "wsasec.toml", _TOML)])
    return folder / "wsasec.toml"


def write_bundle(path: Path, credentials: Credentials) -> None:
    """Write a host's files as one, which only its owner may read.

    Raises:
        FileExistsError: there is such a file.
        OSError: it cannot be written.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, attribute in _FILES.items():
            data = getattr(credentials, attribute)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o600
            tar.addfile(member, io.BytesIO(data))
    create([NewFile(path, buffer.getvalue(), secret=True)])


def read_bundle(path: Path) -> Credentials:
    """Read a host's files of a bundle, and check that they belong together.

    Raises:
        ValueError: it is none, or the files do not, or it may be read by others.
        OSError: it cannot be read.
    """
    try:
        return _checked(_members(read_file(path, secret=True)))
    except tarfile.TarError:
        raise ValueError(f"{path}: this is not a bundle of `wsasec init host --bundle`") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _members(raw: bytes) -> dict[str, bytes]:
    """Return the files that are wanted. Nothing is unpacked: what else there is in it has no effect."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
        for member in tar:
            if member.name in _FILES and member.isreg() and member.size <= _LARGEST:
                stream = tar.extractfile(member)
                found[_FILES[member.name]] = stream.read() if stream is not None else b""
    missing = [name for name, attribute in _FILES.items() if attribute not in found]
    if missing:
        raise ValueError(f"{', '.join(missing)} is not in it")
    return found


def _checked(found: dict[str, bytes]) -> Credentials:
    certificate, ca = (x509.load_pem_x509_certificate(found[key]) for key in ("certificate", "ca"))
    crl = x509.load_pem_x509_crl(found["crl"])
    if public_bytes(private_key_of(found["key"]).public_key()) != public_bytes(certificate.public_key()):
        raise ValueError("its key is not that of its certificate")
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, TypeError, ValueError):
        raise ValueError("its certificate is not of its CA") from None
    if not is_ca(ca):
        raise ValueError("its CA is none")
    if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
        raise ValueError("its certificate is revoked")
    if certificate.not_valid_after_utc < datetime.now(UTC):
        raise ValueError(f"its certificate has expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    return Credentials(**found, until=certificate.not_valid_after_utc)
