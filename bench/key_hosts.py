"""Two hosts that know each other by certificates, as `wsasec init` and `wsasec up` make them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from wsasec.lab import Lab, Namespace
from wsasec.profiles import Profiles, load

from .worker import python_command

__all__ = ["NAME", "RENEWED", "key_hosts"]

NAME: Final = "b.example"
RENEWED: Final = "renewed"
"""A profile whose associations are renewed all the time."""

_SECONDS: Final = 120.0
_RENEWED: Final = f"""
[profile.{RENEWED}]
guid = "5d1c3f0e-0c55-4c1a-9a07-6a1f0a6fd6b2"
reqid = 0x5702
mark = 0x58000000
mask = 0xff000000
rekey_seconds = 2
"""


def _wsasec(host: Namespace | None, *words: str | Path) -> None:
    command = python_command("wsasec", *map(str, words))
    # Without a host's own daemon in the way: the variable names the file only.
    environment = {key: value for key, value in os.environ.items() if key != "WSASEC_CONFIG"}
    if host is None:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    else:
        done = host.run(command, check=False, timeout=_SECONDS)
    if done.returncode:
        raise OSError(f"wsasec {words[0]}: {(done.stderr or done.stdout).strip()}")


@contextmanager
def key_hosts(lab: Lab) -> Iterator[Profiles]:
    """Have both hosts of a lab without keys negotiate them; yield the profiles.

    Raises:
        OSError: strongSwan, or a package of Python's, is missing, or a daemon does not start.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="wsasec-keys-")))
        authority = folder / "ca"
        _wsasec(None, "init", "ca", "--folder", authority)
        for host, name in ((lab.a, "a.example"), (lab.b, NAME)):
            own = folder / name
            _wsasec(None, "init", "host", name, "--folder", own, "--ca-folder", authority)
            with (own / "wsasec.toml").open("a") as file:
                file.write(_RENEWED)
            stack.callback(_wsasec, host, "down")
            _wsasec(host, "up", "--config", own / "wsasec.toml")
        yield load([folder / NAME / "wsasec.toml"])
