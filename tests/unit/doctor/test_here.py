"""`wsasec doctor`: the command line, on the system that this is."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

from rich.console import Console

from wsasec import doctor
from wsasec.cli.doctor import render
from wsasec.doctor import Report, Row

if sys.platform == "win32":
    HERE = {"system.release", "library", "socket.ipv4", "socket.ipv6", "python"}
    HERE |= {f"service.{name}" for name in ("BFE", "IKEEXT", "PolicyAgent")}
else:
    HERE = {
        "kernel.release",
        "privileges",
        "profiles",
        "limit.nofile",
        "ike",
        "vici",
        "daemon",
        "guest",
        "python",
    }
    HERE |= {f"kernel.{name}" for name in ("socket-policy", "esp4", "esp6", "ah4", "ah6", "aes-gcm")}


def test_commands_are_never_broken_or_taken_for_markup() -> None:
    long = "apt-get install " + "package " * 40 + "[bold]"
    output = io.StringIO()
    report = Report("0.1.0", False, (Row("x", doctor.State.MISSING, "[red]no[/red]", long),), "no")
    render(report, Console(file=output, width=60))
    assert f"x: {long}" in output.getvalue()
    assert "[red]no[/red]" in output.getvalue()


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `wsasec doctor` in a process of its own: what it reads is read once in the life of a process."""
    return subprocess.run(
        [sys.executable, "-m", "wsasec", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
        check=False,
    )


def test_here() -> None:
    done = command("--json", WSASEC_CONFIG="")
    report = json.loads(done.stdout)
    assert done.stderr == ""
    assert done.returncode == (0 if report["ready"] else 1)
    states = {row["id"]: row["state"] for row in report["rows"]}
    assert set(states) >= HERE


def test_here_as_a_table() -> None:
    done = command(WSASEC_CONFIG="")
    assert min(HERE) in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Sockets can")
    assert done.stderr == ""
