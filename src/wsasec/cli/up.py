"""`wsasec up`: the key daemon of this network namespace."""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from ..profiles import CONFIG_ENV, CONFIG_FILE
from ._daemon import add_verb

__all__ = ["add"]

_DESCRIPTION: Final = """\
Start the key daemon of this network namespace: it puts the guard up, starts strongSwan's charon and
negotiates keys for secured sockets; programs without CAP_NET_ADMIN have theirs secured by it. Everything is
checked before anything is changed. If it is up already, nothing happens.
"""
_START_SECONDS: Final = 90.0


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    verb = add_verb(subparsers, "up", "negotiate keys with other hosts", _DESCRIPTION, _run)
    if sys.platform == "win32":
        return
    verb.add_argument(
        "--config", type=Path, metavar="FILE", help="$WSASEC_CONFIG, or else /etc/wsasec/wsasec.toml"
    )
    verb.add_argument(
        "--foreground", action="store_true", help="stay here, for service managers and for a look"
    )
    verb.add_argument(
        "--log",
        choices=("stderr", "syslog", "file"),
        help="with --foreground: where to (stderr); else it is a file in the daemon's folder",
    )


def _run(arguments: argparse.Namespace) -> int:
    config = Path(arguments.config or os.environ.get(CONFIG_ENV) or CONFIG_FILE).absolute()
    if arguments.foreground:
        from ..daemon.main import run

        return run(config, arguments.log or "stderr", lambda what: _show(what, quiet=True))
    if arguments.log not in (None, "file"):
        print("wsasec up: --log is for --foreground", file=sys.stderr)
        return 2
    return _start(config)


def _show(what: dict[str, Any], *, quiet: bool = False) -> None:
    if "error" in what:
        print(f"wsasec up: {what['error']}", file=sys.stderr)
    elif "already" in what:
        pid = what["already"]
        print(f"already up, pid {pid}" if pid else "already up, or about to be")
    elif not quiet:
        print(f"up, pid {what['pid']}")


def _start(config: Path) -> int:
    reading, writing = os.pipe()
    try:
        words = [sys.executable, "-P", "-m", "wsasec.daemon", "--config", str(config), "--tell", str(writing)]
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=writing,
            pass_fds=(writing,),
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 - of the descriptor
        said = _read_all(pipe.fileno(), time.monotonic() + _START_SECONDS)
    if said is None:
        process.terminate()
        print(f"wsasec up: it was not up within {_START_SECONDS:.0f} s, and is ended", file=sys.stderr)
        return 1
    *others, last = said.decode(errors="replace").splitlines() or [""]
    for line in others:
        print(line, file=sys.stderr)
    try:
        what = json.loads(last)
    except ValueError:
        print(last, file=sys.stderr)
        what = {"error": f"the daemon ended with status {process.wait(_START_SECONDS)}"}
    if "pid" not in what:
        process.wait(_START_SECONDS)
    _show(what)
    return 1 if "error" in what else 0


def _read_all(descriptor: int, deadline: float) -> bytes | None:
    """Read until the other end is closed; None if it is not by then."""
    data = b""
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        part = os.read(descriptor, 65536)
        if not part:
            return data
        data += part
