"""The password's UTF-16 form is in memory for the time of a call, and not after it."""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path

import pytest

BEFORE = """
import socket, sys, warnings
warnings.simplefilter("ignore")
import wsasec
from wsasec import IpsecSettings

password = sys.stdin.readline().strip()
settings = IpsecSettings(user_name="u\\U0001f600", domain_name="d" * 5000, password=password)
"""

AFTER = """
print("ready", flush=True)
sys.stdin.readline()
"""

CALLS = {
    "made only": "",
    "one": "sock = socket.socket(); wsasec.secure(sock, settings)",
    "one that fails": """
try:
    wsasec.secure(-1, settings)
except wsasec.SecurityError as error:
    kept = error
""",
    "many": """
socks = [socket.socket() for _ in range(5)]
wsasec.secure_many(socks, settings, method='threads')
""",
    "many that fail": """
try:
    wsasec.secure_many([-1, -1], settings)
except wsasec.SecurityError as error:
    kept = error
""",
    "no sockets": """
try:
    wsasec.secure_many("no sockets", settings)
except TypeError as error:
    kept = error
""",
    "interrupted": """
def stop(done, total):
    raise KeyboardInterrupt
try:
    wsasec.secure_many([-1] * 200000, settings, progress=stop, method='plain')
except (KeyboardInterrupt, wsasec.SecurityError) as error:
    kept = error
""",
    "batch": "batch = wsasec.SocketBatch(10, settings=settings)",
    "batch that fails": """
try:
    wsasec.SocketBatch(10, settings=settings, type=socket.SOCK_RAW)
except wsasec.SecurityError as error:
    kept = error
""",
    "options": "options = wsasec.socket_options(settings, family=socket.AF_INET)",
}


def holds(pid: int, text: bytes) -> bool:
    """Tell whether a process has the text anywhere in memory that it can write to."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            extent, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            start, end = (int(number, 16) for number in extent.split("-"))
            memory.seek(start)
            if text in (memory.read(end - start) or b""):
                return True
    return False


def found_after(calls: str) -> tuple[bool, bool]:
    """Return whether a process that made the calls has the password, as a str and in UTF-16."""
    password = secrets.token_hex(16)
    with subprocess.Popen(
        [sys.executable, "-c", BEFORE + calls + AFTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(password + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        found = holds(process.pid, password.encode()), holds(process.pid, password.encode("utf-16-le"))
        process.stdin.write("\n")
    assert process.returncode == 0
    return found


@pytest.mark.parametrize("calls", CALLS.values(), ids=list(CALLS))
def test_nothing_is_left(calls: str) -> None:
    assert found_after(calls) == (True, False)


def test_it_would_be_found() -> None:
    assert found_after("kept = bytes(settings)") == (True, True)
