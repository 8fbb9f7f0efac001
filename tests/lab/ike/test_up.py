"""`wsasec up` on two hosts: from nothing to secured connections, as an administrator does it."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority

import wsasec
from wsasec.lab import Counts, Lab, Namespace

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("no_namespaces", "deadline")]

PORT = 5000
CONFIG = """\
[identity]
certificate = "{name}.crt"
key = "{name}.key"

[trust]
ca = ["ca.crt"]
"""


class Host:
    """A network namespace with a configuration."""

    def __init__(self, namespace: Namespace, folder: Path, name: str) -> None:
        self.namespace = namespace
        self.name = name
        self.config = folder / f"{name}.toml"
        self.config.write_text(CONFIG.format(name=name))
        self.config.chmod(0o600)

    def wsasec(self, *words: str, code: int = 0) -> str:
        done = self.namespace.run([sys.executable, "-m", "wsasec", *words], check=False, timeout=60)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def up(self, code: int = 0) -> str:
        return self.wsasec("up", "--config", str(self.config), code=code)

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.wsasec("status", "--json"))
        return status


@pytest.fixture
def test_seconds() -> int:
    return 150


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Lab, Host, Host]]:
    monkeypatch.setenv("WSASEC_RUN", str(tmp_path / "run"))
    # charon, which is nobody, goes through it.
    tmp_path.chmod(0o711)
    authority = Authority(tmp_path, "ca")
    for name in ("a.example", "b.example"):
        authority.issue(name)
    with Lab(keys=False) as lab:
        a, b = Host(lab.a, tmp_path, "a.example"), Host(lab.b, tmp_path, "b.example")
        try:
            yield lab, a, b
        finally:
            for host in (a, b):
                host.wsasec("down")


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
        status = a.status()
        assert {peer["identity"] for peer in status["peers"]} == {"b.example"}
        assert {peer["address"] for peer in status["peers"]} == {lab.b.v4, lab.b.v6}
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
    assert wire.counts.clear == 0, wire.counts
    assert wire.counts.esp > 100
    assert wire.counts.dropped == 0


def assert_nothing_in_clear(counts: Counts) -> None:
    """Where no charon listens, the kernel says so of IKE's datagrams, which are nobody's data."""
    of_ike = 0
    for frame in counts.first_clear:
        ports = struct.unpack_from("!HH", frame, 62)
        of_ike += (frame[12:14], frame[23], frame[34], frame[51]) == (b"\x08\0", 1, 3, 17) and ports[1] in (
            500,
            4500,
        )
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


def test_what_is_wrong_is_said(hosts: tuple[Lab, Host, Host], tmp_path: Path) -> None:
    lab, a, _ = hosts
    (tmp_path / "a.example.key").chmod(0o644)
    said = a.up(code=1)
    assert "a.example.key" in said
    assert "chmod" in said
    (tmp_path / "a.example.key").chmod(0o600)
    with lab.a.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 500))
        said = a.up(code=1)
        assert "UDP 500 is taken" in said
        assert "vici" in said
    assert not lab.a.sas()
    assert "mark" not in lab.a.policies()
    a.up()
