"""The guard of every profile, up before the first socket needs it."""

from __future__ import annotations

import errno
import socket
import warnings
from collections.abc import Iterable

from .. import _wsasec
from ..profile import Profile
from ..settings import IpsecSettings

__all__ = ["put_up"]


def put_up(profiles: Iterable[Profile]) -> None:
    """Put the guard up for each profile and family, in the network namespace of the calling thread.

    The profiles must be in use. It stays when the daemon ends: sockets may outlive that.

    Raises:
        SecurityError: it cannot be complete, and why.
    """
    profiles = tuple(profiles)
    for family in (socket.AF_INET, socket.AF_INET6):
        for profile in profiles:
            try:
                trial = socket.socket(family, socket.SOCK_DGRAM)
            except OSError as error:
                if error.errno == errno.EAFNOSUPPORT:
                    break
                raise
            with trial, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _wsasec.secure(trial, IpsecSettings(qm_policy=profile.guid))
