"""As whom the guest runs: an ordinary user, wherever one can read what the guest needs."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Identity", "choose", "first_denied"]

_DEADLINE: Final = 60.0

# Says which of its arguments the user who runs it cannot read.
_TRIAL: Final = """
import os, sys
for path in sys.argv[1:]:
    if not os.access(path, os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK):
        sys.exit(path)
import wsasec.lab.guest
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """A user to run as.

    Attributes:
        uid: user number.
        gid: group number.
        name: for messages.
    """

    uid: int
    gid: int
    name: str

    @property
    def popen(self) -> dict[str, Any]:
        """Return what to add to the arguments of subprocess.Popen; nothing for the present user."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def _user(uid: int) -> Identity | None:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return None
    return Identity(entry.pw_uid, entry.pw_gid, entry.pw_name)


def _candidates(environment: Mapping[str, str]) -> list[Identity]:
    """Return nobody, then the user who called sudo."""
    found: list[Identity] = []
    try:
        entry = pwd.getpwnam("nobody")
        found.append(Identity(entry.pw_uid, entry.pw_gid, "nobody"))
    except KeyError:
        pass
    caller = environment.get("SUDO_UID", "")
    if caller.isdecimal() and int(caller) != 0 and (user := _user(int(caller))):
        found.append(user)
    return [user for user in found if user.uid != 0]


def first_denied(path: Path, uid: int, gids: frozenset[int]) -> Path:
    """Return the part of a path at which a user is stopped, by owners and modes; the path itself in doubt."""
    for part in (*reversed(path.absolute().parents), path.absolute()):
        try:
            status = part.stat()
        except OSError:
            return part
        shift = 6 if status.st_uid == uid else 3 if status.st_gid in gids else 0
        bits = status.st_mode >> shift
        need = 0o1 if part != path.absolute() else 0o5 if stat.S_ISDIR(status.st_mode) else 0o4
        if bits & need != need:
            return part
    return path


def _refusal(
    user: Identity, paths: Sequence[str], interpreter: Sequence[str], cwd: str, env: Mapping[str, str]
) -> str:
    """Try it: return why the user cannot run the guest, or an empty string."""
    gids = frozenset({user.gid, *(g.gr_gid for g in grp.getgrall() if user.name in g.gr_mem)})
    try:
        done = subprocess.run(
            [*interpreter, "-c", _TRIAL, *paths],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DEADLINE,
            check=False,
            user=user.uid,
            group=user.gid,
            extra_groups=[],
        )
    except PermissionError:
        return f"{user.name} cannot read {first_denied(Path(sys.executable).resolve(), user.uid, gids)}"
    except (OSError, subprocess.SubprocessError) as error:
        return f"trying it as {user.name} failed: {error}"
    if done.returncode == 0:
        return ""
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    if last in paths:
        return f"{user.name} cannot read {first_denied(Path(last), user.uid, gids)}"
    return f"trying it as {user.name} failed: {last}"


def choose(
    paths: Sequence[str], interpreter: Sequence[str], cwd: str, environment: Mapping[str, str]
) -> tuple[Identity, str]:
    """Choose the user with the least rights who can run the guest.

    Args:
        paths: what must be readable, absolute.
        interpreter: Python's command line.
        cwd: the command's folder.
        environment: the command's environment, and SUDO_UID.

    Returns:
        The user, and why it is root: a reason, empty if it is not.
    """
    own = Identity(
        os.geteuid(), os.getegid(), (_user(os.geteuid()) or Identity(0, 0, str(os.geteuid()))).name
    )
    if own.uid != 0:
        return own, ""
    refusals: list[str] = []
    for user in _candidates(environment):
        refusal = _refusal(user, paths, interpreter, cwd, environment)
        if not refusal:
            return user, ""
        refusals.append(refusal)
    return own, "; ".join(refusals) or "there is no user nobody"
