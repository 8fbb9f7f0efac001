"""Files with secrets: read if nobody else can."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    _PrivateKey: TypeAlias = (
        ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    )

__all__ = ["private_key_of", "public_bytes", "read_file", "read_private_key", "read_psk"]

_SHORTEST_PSK: Final = 16
_LARGEST: Final = 1 << 20


def read_file(path: Path, *, secret: bool) -> bytes:
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
        with open(descriptor, "rb", closefd=False) as file:
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
    found = read_file(path, secret=True).rstrip(b"\r\n")
    if len(found) < _SHORTEST_PSK:
        raise ValueError(
            f"it is shorter than {_SHORTEST_PSK} bytes, and could be guessed; "
            "`openssl rand -base64 32` makes one"
        )
    return found


def read_private_key(path: Path) -> _PrivateKey:
    """Read a private key: RSA of 2048 bits and more, ECDSA, EdDSA; PEM.

    Raises:
        ValueError: there is none, it is too weak or encrypted, or the file may be read by others.
        OSError: it cannot be read.
    """
    return private_key_of(read_file(path, secret=True))


def private_key_of(raw: bytes) -> _PrivateKey:
    """Return the private key that is in PEM text.

    Raises:
        ValueError: there is none, or it is too weak or encrypted.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

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
    return key


def public_bytes(key: PublicKeyTypes) -> bytes:
    """Return a public key as DER, the same for the same key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
