"""Names that outlast the key daemon that verified them, as long as their program lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_hosts import Host
from wire import wait_for

import wsasec
from wsasec.daemon.client import Client
from wsasec.daemon.place import folder
from wsasec.keys.programs import reopen, started
from wsasec.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("no_namespaces", "deadline")]

PORT = 5000
PROGRAM = """\
import socket, sys
import wsasec
peer = sys.argv[1], int(sys.argv[2])
sock = socket.socket(type=socket.SOCK_DGRAM)
wsasec.secure(sock)
wsasec.set_peer_target_name(sock, "b.example", peer=peer)
print("named", flush=True)
for _ in sys.stdin:
    said = []
    try:
        wsasec.negotiate(sock, peer, timeout=20)
        said.append("negotiated")
    except wsasec.SecurityError as error:
        said.append(str(error))
    for _ in range(3):
        try:
            sock.sendto(b"secret", peer)
            said.append("sent")
        except OSError as error:
            said.append(type(error).__name__)
    print(*said, flush=True)
"""


@pytest.fixture
def test_seconds() -> int:
    return 90


def status(lab: Lab) -> dict[str, Any]:
    """Return what a's daemon says, without a process for it."""
    with lab.a.entered(), Client() as client:
        return client.control("status")


def identities(lab: Lab) -> set[str]:
    """Return who a's peers are, of those that its charon is not busy with."""
    return {peer["identity"] for peer in status(lab)["peers"]}


def begin(lab: Lab) -> None:
    """Have the other host begin."""
    with lab.b.entered():
        wsasec.negotiate((lab.a.v4, PORT), timeout=20)


def lets_in(lab: Lab) -> bool:
    try:
        begin(lab)
    except wsasec.SecurityError:
        return False
    return True


class Program:
    """A program on a that named its peer, b.example."""

    def __init__(self, lab: Lab) -> None:
        words = [sys.executable, "-c", PROGRAM, lab.b.v4, str(PORT)]
        self.process = lab.a.popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def sends(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.line()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def program(hosts: tuple[Lab, Host, Host]) -> Iterator[Program]:
    lab, a, b = hosts
    a.up()
    b.up()
    made = Program(lab)
    try:
        assert made.line() == "named\n"
        yield made
    finally:
        made.end()


def kill(lab: Lab) -> None:
    """Have a's daemon die without a word, and charon with it."""
    pid = status(lab)["pid"]
    since = started(pid)
    os.kill(pid, signal.SIGKILL)

    def gone() -> bool:
        found = reopen(pid, since)
        if found is not None:
            os.close(found.pidfd)
        return found is None

    wait_for(gone, "the daemon has ended")


def check_shut(lab: Lab, program: Program) -> None:
    """Neither end can begin, and the program's socket sends nothing."""
    assert status(lab)["programs_with_names"] == 1
    assert not lets_in(lab)
    said = program.sends()
    assert "b.example" in said, said
    assert "negotiated" not in said, said
    assert not any(sa.usable for sa in lab.a.sas())


def test_another_comes_after_the_daemon(
    hosts: tuple[Lab, Host, Host], program: Program, passable: Path
) -> None:
    """Neither a kill nor `wsasec down` opens a socket with a name to him; its program's end does."""
    lab, a, b = hosts
    assert program.sends() == "negotiated sent sent sent\n"
    kill(lab)
    b.down()
    # Another one who is trusted has the address now.
    other = Host(lab.b, passable, "m.example")
    other.up()
    a.up()
    # Not before: what was sent above, and what came back, may have been under way.
    with lab.capture() as wire:
        check_shut(lab, program)
        a.down()
        a.up()
        check_shut(lab, program)
    # Where no charon listens, the kernel says so of IKE's datagrams.
    assert wire.counts.esp == 0, wire.counts
    assert set(wire.counts.clear_by_state) <= {"ICMP"}, wire.counts
    program.end()
    wait_for(lambda: lets_in(lab), "the other is taken")
    # It has answered; until its charon has put the association away, the daemon does not list it.
    wait_for(lambda: identities(lab) == {"m.example"}, "he is the one who is listed")
    a.down()
    with lab.a.entered():
        assert not (folder() / "pins").exists()
