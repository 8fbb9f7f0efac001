"""`wsasec up` on two hosts: from nothing to secured connections, as an administrator does it."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon_hosts import Host
from wire import wait_for

import wsasec
from wsasec.lab import Counts, Lab

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("no_namespaces", "deadline")]

PORT = 5000


@pytest.fixture
def test_seconds() -> int:
    return 150


def exchange(lab: Lab, address: str, count: int = 20) -> float:
    """Send and receive on a fresh connection; return the seconds until it was connected."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with lab.b.socket(family) as listener, lab.a.socket(family) as client:
        wsasec.secure_many([listener, client])
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        begun = time.monotonic()
        wsasec.connect(client, (address, port), timeout=20)
        took = time.monotonic() - begun
        server, _ = wsasec.accept(listener)
        with server:
            for _ in range(count):
                client.sendall(b"x" * 100)
                assert len(server.recv(100, socket.MSG_WAITALL)) == 100
    return took


def test_from_nothing_to_secured(hosts: tuple[Lab, Host, Host]) -> None:
    lab, a, b = hosts
    assert "not up" in a.wsasec("down")
    assert "no key daemon" in a.wsasec("status", code=1)
    with lab.capture() as wire:
        assert a.up().startswith("up, pid ")
        assert b.up().startswith("up, pid ")
        assert a.up().startswith("already up, pid ")
        for address in (lab.b.v4, lab.b.v6):
            exchange(lab, address)
        # Where there is an SA, a plain connect() does.
        with lab.b.socket() as listener, lab.a.socket() as client:
            wsasec.secure_many([listener, client])
            listener.bind((lab.b.v4, PORT))
            listener.listen()
            client.connect((lab.b.v4, PORT))
        status: dict[str, Any] = {}

        def both() -> bool:
            # Of a peer whose charon is asked whether it is still there nothing is listed for that moment.
            status.update(a.status())
            return {peer["address"] for peer in status["peers"]} == {lab.b.v4, lab.b.v6}

        wait_for(both, "both addresses are listed")
        assert {peer["identity"] for peer in status["peers"]} == {"b.example"}
        for peer in status["peers"]:
            for one in peer["associations"]:
                assert (one["mode"], one["protocol"], one["esn"]) == ("TRANSPORT", "ESP", True)
                assert one["algorithms"].startswith("AES_GCM_16 256")
        assert "b.example" in a.wsasec("status")
        pids = status["pid"], status["charon"]["pid"]
        assert a.wsasec("reload").startswith("reloaded")
        exchange(lab, lab.b.v4)
        a.config.write_text("[identity]\nwrong = 1\n")
        assert ":2:" in a.wsasec("reload", code=1)
        exchange(lab, lab.b.v4)
        assert a.wsasec("down").startswith("down")
        assert not lab.a.sas()
        assert not any(runs(pid) for pid in pids)
    assert_nothing_in_clear(wire.counts)
    assert wire.counts.esp > 100
    assert wire.counts.dropped == 0


def assert_nothing_in_clear(counts: Counts) -> None:
    """Where no charon listens, the kernel says so of IKE's datagrams, which are nobody's data."""
    of_ike = 0
    for frame in counts.first_clear:
        if frame[12:14] == b"\x08\0":
            unreachable = (frame[23], frame[34], frame[51]) == (1, 3, 17)
            ports = frame[62:66]
        else:
            unreachable = (frame[20], frame[54], frame[68]) == (58, 1, 17)
            ports = frame[102:106]
        of_ike += unreachable and struct.unpack("!HH", ports)[1] in (500, 4500)
    assert counts.clear == of_ike, counts


def runs(pid: int) -> bool:
    """Whether a process is there, and not only its number, which nobody has asked about yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def until(what: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)


def test_charon_is_killed(hosts: tuple[Lab, Host, Host]) -> None:
    """It is started again, and traffic is back within 5 s; nothing is in clear."""
    lab, a, b = hosts
    a.up()
    b.up()
    exchange(lab, lab.b.v4)
    with lab.capture() as wire:
        for host in (a, b):
            charon = host.status()["charon"]["pid"]
            os.kill(charon, signal.SIGKILL)
            begun = time.monotonic()
            exchange(lab, lab.b.v4)
            assert time.monotonic() - begun < 8
            until(lambda host=host: host.status()["charon"]["restarts"] == 1, 10)
            exchange(lab, lab.b.v4)
    assert_nothing_in_clear(wire.counts)


def test_the_daemon_is_killed(hosts: tuple[Lab, Host, Host]) -> None:
    """charon ends with it, and the next one takes over."""
    lab, a, b = hosts
    a.up()
    b.up()
    exchange(lab, lab.b.v4)
    status = a.status()
    with lab.capture() as wire:
        os.kill(status["pid"], signal.SIGKILL)
        until(lambda: not runs(status["charon"]["pid"]), 10)
        assert "no key daemon" in a.wsasec("status", code=1)
        assert "not up" in a.wsasec("down")
        assert a.up().startswith("up, pid ")
        exchange(lab, lab.b.v4)
    assert_nothing_in_clear(wire.counts)


def test_what_is_wrong_is_said(hosts: tuple[Lab, Host, Host]) -> None:
    lab, a, _ = hosts
    key = a.config.with_name("a.example.key")
    key.chmod(0o644)
    said = a.up(code=1)
    assert "a.example.key" in said
    assert "chmod" in said
    key.chmod(0o600)
    with lab.a.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 500))
        said = a.up(code=1)
        assert "UDP 500 is taken" in said
        assert "vici" in said
    assert not lab.a.sas()
    assert "mark" not in lab.a.policies()
    a.up()
