"""`wsasec up --foreground`, as service managers run it, and `wsasec status --watch`."""

from __future__ import annotations

import configparser
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from daemon_hosts import Host

from wsasec.daemon.capabilities import KEPT
from wsasec.daemon.client import Client
from wsasec.lab import Lab

pytestmark = pytest.mark.lab

SYSLOG = Path("/dev/log")
SECONDS = 30


@pytest.fixture
def test_seconds() -> int:
    return 120


@contextmanager
def receiver(path: Path) -> Iterator[socket.socket]:
    """A socket for datagrams, as syslog and systemd have."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(SECONDS)
        try:
            yield sock
        finally:
            path.unlink()


def said(sock: socket.socket, what: str) -> str:
    """Return the next datagram in which something is said."""
    while True:
        text = sock.recv(65536).decode()
        if what in text:
            return text


@contextmanager
def foreground(
    host: Host, *words: str, before: Sequence[str] = (), **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    process = host.namespace.popen(
        [*before, sys.executable, "-m", "wsasec", "up", "--foreground", "--config", str(host.config), *words],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def charon(host: Host) -> dict[str, Any]:
    with host.namespace.entered(), Client() as client:
        found: dict[str, Any] = client.control("status")["charon"]
        return found


def profiles(host: Host) -> list[str]:
    with host.namespace.entered(), Client() as client:
        return [each["name"] for each in client.control("status")["profiles"]]


SITE = """
[profile.site]
guid = "0b8d4d3c-6a53-4b57-9b7e-3a54a2a4a001"
reqid = 30000
mark = 0x58000000
mask = 0xff000000
names = ["*.site.example"]
identity = { id = "site.example", psk = "psk" }
"""


UNIT = Path(__file__).parents[3] / "contrib/systemd/wsasec.service"

# What ProtectSystem=strict does: all is read-only but /dev, /proc and the service's own folder below /run.
STRICT = """
import ctypes, os, struct, subprocess, sys
writable, *words = sys.argv[1:]
subprocess.run(["mount", "--bind", writable, writable], check=True)
libc = ctypes.CDLL(None, use_errno=True)
def read_only(path, on):
    attributes = struct.pack("=4Q", on, not on, 0, 0)
    done = libc.syscall(442, -100, os.fsencode(path), 0x8000, attributes, ctypes.c_size_t(32))
    assert done == 0, os.strerror(ctypes.get_errno())
read_only("/", True)
for path in ("/dev", "/proc", writable):
    read_only(path, False)
try:
    open("/tmp/x", "w")
except OSError:
    os.execvp(words[0], words)
"""


def sandbox(run: Path) -> list[str]:
    """Return what has a program run with the rights that the unit leaves, and its files."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(UNIT)
    service = unit["Service"]
    assert [service[key] for key in ("type", "protectsystem", "nonewprivileges")] == [
        "notify",
        "strict",
        "yes",
    ]
    capabilities = service["capabilityboundingset"].split()
    assert set(capabilities) == set(KEPT)
    run.mkdir(mode=0o755)
    bounding = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in capabilities)])
    namespace = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", STRICT, str(run)]
    return [*namespace, "setpriv", "--bounding-set", bounding, "--no-new-privs"]


def test_under_a_service_manager(hosts: tuple[Lab, Host, Host], passable: Path) -> None:
    """As the unit for systemd has it: it says when it serves and when it ends, starts charon anew, logs to
    syslog, and SIGHUP has the configuration read again.
    """
    _, a, _ = hosts
    psk = passable / "psk"
    psk.write_text("0123456789abcdef")
    psk.chmod(0o600)
    with (
        receiver(passable / "notify") as manager,
        receiver(SYSLOG) as log,
        foreground(
            *(a, "--log", "syslog"),
            before=sandbox(passable / "run"),
            NOTIFY_SOCKET=str(passable / "notify"),
        ) as process,
    ):
        assert manager.recv(1000).decode() == f"READY=1\nMAINPID={process.pid}"
        assert said(log, "up, ").startswith(f"<30>wsasec[{process.pid}]: up, process {process.pid}, ")
        assert profiles(a) == ["default"]
        a.configure(SITE)
        process.send_signal(signal.SIGHUP)
        said(log, "the configuration was read again")
        assert profiles(a) == ["default", "site"]
        good = a.config.read_text()
        a.config.write_text(good + "\nwrong = 1\n")
        process.send_signal(signal.SIGHUP)
        assert "wrong" in said(log, "<27>")  # an error
        assert profiles(a) == ["default", "site"]
        os.kill(charon(a)["pid"], signal.SIGKILL)
        said(log, "charon runs again")
        assert charon(a)["alive"]
        process.send_signal(signal.SIGTERM)
        assert manager.recv(1000).decode() == "STOPPING=1"
        said(log, "down")
        assert process.communicate(timeout=SECONDS) == (b"", b"")
        assert process.returncode == 0


def watching(host: Host, output: int) -> subprocess.Popen[bytes]:
    return host.namespace.popen(
        [sys.executable, "-m", "wsasec", "status", "--watch"],
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
    )


def read_until(descriptor: int, what: bytes, count: int) -> bytes:
    """Read until something was written so often."""
    data = b""
    end = time.monotonic() + SECONDS
    while data.count(what) < count:
        ready, _, _ = select.select([descriptor], [], [], max(0, end - time.monotonic()))
        assert ready, data
        data += os.read(descriptor, 65536)
    return data


def test_watched(hosts: tuple[Lab, Host, Host]) -> None:
    """In a terminal the same lines are written over; Ctrl-C ends it, and so does the daemon's end."""
    _, a, _ = hosts
    with foreground(a) as process:
        assert process.stderr is not None
        assert b"wsasec: up, process" in process.stderr.readline()
        terminal, inside = os.openpty()
        reading, writing = os.pipe()
        try:
            fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
            with watching(a, inside) as in_terminal, watching(a, writing) as in_pipe:
                os.close(inside)
                os.close(writing)
                shown = read_until(terminal, b"up, pid", 3)
                assert b"\x1b[1A" in shown  # a line up
                in_terminal.send_signal(signal.SIGINT)
                assert in_terminal.communicate(timeout=SECONDS)[1] == b""
                assert in_terminal.returncode == 130

                piped = read_until(reading, b"up, pid", 2)
                assert b"\x1b" not in piped
                process.send_signal(signal.SIGINT)
                error = in_pipe.communicate(timeout=SECONDS)[1].decode()
                assert error.startswith("wsasec status: the key daemon went away")
                assert error.count("\n") == 1
                assert in_pipe.returncode == 1
        finally:
            os.close(terminal)
            os.close(reading)
        assert process.communicate(timeout=SECONDS) == (b"", b"wsasec: down\n")
        assert process.returncode == 0


def test_where_nobody_takes_a_log(hosts: tuple[Lab, Host, Host]) -> None:
    _, a, _ = hosts
    assert not SYSLOG.exists()
    said = a.wsasec("up", "--foreground", "--log", "syslog", "--config", str(a.config), code=1)
    assert said == "wsasec up: no syslog daemon listens at /dev/log\n"
