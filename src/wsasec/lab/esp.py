"""Whether the running kernel can do what the lab needs: tried, not guessed from its configuration."""

from __future__ import annotations

import errno
import functools
import subprocess
import sys
from typing import Final

from .errors import LabError
from .keys import AEAD_KEY_BYTES, AUTH_KEY_BYTES, Key, draw_spi
from .namespace import private
from .privileges import enter_private_namespaces, missing_privileges
from .xfrm import AssociationSpec, XfrmSocket

__all__ = ["esp_missing", "kernel_has_esp", "warm_up"]

_DEADLINE: Final = 60.0
_PAIRS: Final = ((2, "192.0.2.1", "192.0.2.2"), (10, "2001:db8::1", "2001:db8::2"))


def _try() -> str | None:
    """Add an AES-GCM SA per family in a namespace of this thread's own; return what is missing."""
    with private("esp-trial"):
        try:
            xfrm = XfrmSocket()
        except LabError:
            return "no XFRM (CONFIG_XFRM_USER)"
        with xfrm:
            for family, src, dst in _PAIRS:
                key = Key(AEAD_KEY_BYTES)
                try:
                    xfrm.add(AssociationSpec(src, dst, family, draw_spi(), 1, 0, 0), key)
                except OSError as error:
                    if error.errno in (errno.EPERM, errno.EACCES):
                        raise
                    return "no ESP with AES-GCM (CONFIG_INET_ESP, CONFIG_INET6_ESP, CONFIG_CRYPTO_GCM)"
                finally:
                    key.wipe()
    return None


def warm_up() -> None:
    """Have the kernel load and test every algorithm of the lab, which takes it up to seconds at first use.

    Raises:
        LabError: a privilege is missing.
        OSError: the kernel refused an association.
    """
    with private("warm-up"), XfrmSocket() as xfrm:
        for integrity_only, size in ((False, AEAD_KEY_BYTES), (True, AUTH_KEY_BYTES)):
            for family, src, dst in _PAIRS:
                key = Key(size)
                xfrm.add(
                    AssociationSpec(src, dst, family, draw_spi(), 1, 0, 0), key, integrity_only=integrity_only
                )
                key.wipe()


@functools.cache
def esp_missing() -> str | None:
    """Return what this kernel lacks for ESP with AES-GCM over IPv4 and IPv6, or None.

    Without privileges it is tried by a child process in namespaces of its own.

    Raises:
        LabError: it cannot be tried: no privilege and no user namespaces.
    """
    if not missing_privileges():
        return _try()
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__], capture_output=True, text=True, timeout=_DEADLINE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"the kernel did not answer within {_DEADLINE:.0f} s") from error
    if done.returncode:
        reason = done.stderr.strip().splitlines()
        raise LabError(
            f"cannot try whether the kernel has ESP: {reason[-1] if reason else 'no reason given'}"
        )
    return done.stdout.strip() or None


def kernel_has_esp() -> bool:
    """Whether this kernel does ESP with AES-GCM over IPv4 and IPv6; False if that cannot be tried."""
    try:
        return esp_missing() is None
    except LabError:
        return False


if __name__ == "__main__":
    enter_private_namespaces()
    sys.stdout.write(_try() or "")
