"""Tunnels, and TLS in C, that devices are compared with: what they are told, and that they carry traffic."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from wsasec.bench.baselines import libipsec, tls_in_c, tunnel, wireguard
from wsasec.bench.baselines.control import EndedError
from wsasec.bench.baselines.tls_pair import agreed_on


def test_what_wireguard_is_told() -> None:
    text = wireguard.configuration("11", "22", "192.0.2.1", "192.0.2.9")
    assert text.endswith("\n\n")
    lines = text.split()
    assert lines[0] == "set=1"
    # A peer's lines follow its key.
    assert lines.index("public_key=22") < lines.index("endpoint=192.0.2.1:51820")
    assert lines[-1] == "allowed_ip=192.0.2.9/32"


def test_a_private_key_is_in_no_repr() -> None:
    assert repr(wireguard._Pair("secret", "known")) == "_Pair(public=known)"


def test_what_charon_is_told() -> None:
    first, second = (libipsec.connection(n, ("192.0.2.1", "192.0.2.2"))["bench"] for n in (0, 1))
    assert first["local_addrs"] == second["remote_addrs"] == ["192.0.2.1"]
    assert first["remote"]["id"] == second["local"]["id"]
    child, other = first["children"]["bench"], second["children"]["bench"]
    assert child["local_ts"] == other["remote_ts"]
    assert child["remote_ts"] == other["local_ts"]
    assert "unix:///folder/vici" in libipsec.settings(Path("/folder"))


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lab: Any = SimpleNamespace()
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(tunnel.AbsentError, match="apt-get install wireguard-go"), wireguard.wireguard(lab):
        pass
    monkeypatch.setattr(libipsec, "_CHARON", tmp_path / "none")
    with pytest.raises(tunnel.AbsentError, match="apt-get install strongswan-charon"), libipsec.libipsec(lab):
        pass
    monkeypatch.setattr(libipsec, "_CHARON", tmp_path)
    monkeypatch.setattr(libipsec, "_PLUGIN", tmp_path / "none")
    with pytest.raises(tunnel.AbsentError, match="libcharon-extra-plugins"), libipsec.libipsec(lab):
        pass
    monkeypatch.setattr(tls_in_c, "PROGRAM", tmp_path / "none")
    with pytest.raises(tunnel.AbsentError, match="libssl-dev"):
        tls_in_c.tls_in_c(lab)


def test_a_daemon_that_ends_at_once_is_said_to() -> None:
    def never() -> None:
        raise ConnectionRefusedError("no")

    with subprocess.Popen(["false"]) as process, pytest.raises(tunnel.AbsentError, match="exit code 1"):
        tunnel.tried(process, "it", never)


def test_another_cipher_suite_is_an_error() -> None:
    agreed_on("TLSv1.3 TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384")
    for told in ("TLSv1.3 TLS_AES_128_GCM_SHA256", "TLSv1.2 TLS_AES_256_GCM_SHA384"):
        with pytest.raises(EndedError, match="agreed on"):
            agreed_on(told, "TLS_AES_256_GCM_SHA384")


# In a process of its own: it enters namespaces, and starts children from a thread of the lab's.
THROUGH = """
import sys
from wsasec.bench.baselines.{module} import {name}
from wsasec.bench.throughput import engine_rate
from wsasec.bench.wire import Wire
from wsasec.lab import Lab, enter_private_namespaces, missing_privileges
if missing_privileges():
    enter_private_namespaces()
with Lab(keys=False) as lab:
    with {name}(lab) as tunnel:
        with Wire(lab.a) as wire:
            size, seconds, total = engine_rate(
                tunnel.b, tunnel.a, "plain", streams=2, message_bytes=4096, warm=0.1, seconds=0.2
            )
        assert total > 0
        assert len(set(tunnel.pids)) == 2
        # What is carried is in datagrams.
        assert wire.passed.clear_by_state.keys() <= {{"UDP"}}, wire.passed
        assert wire.passed.clear_by_state["UDP"] > 0 or wire.passed.dropped > 0, wire.passed
    for host in (lab.a, lab.b):
        devices = host.run(["ip", "-brief", "link"]).stdout
        assert "wg0" not in devices and "ipsec0" not in devices, devices
"""


def missing(module: str) -> str | None:
    if os.geteuid():
        return "not root: strongSwan and wireguard-go write to folders of root's"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun: modprobe tun"
    if module == "wireguard":
        return None if shutil.which("wireguard-go") else "no wireguard-go: apt-get install wireguard-go"
    return libipsec._missing()


@pytest.mark.linux
@pytest.mark.parametrize("module", ["wireguard", "libipsec"])
def test_a_tunnel_carries_traffic(module: str) -> None:
    if reason := missing(module):
        pytest.skip(reason)
    script = THROUGH.format(module=module, name=module)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


TLS = """
from wsasec.bench.baselines.tls_in_c import tls_in_c
from wsasec.bench.cpu import Meter
from wsasec.lab import Lab, enter_private_namespaces, missing_privileges
if missing_privileges():
    enter_private_namespaces()
meters = []
def during(pids):
    meters.append(Meter(pids))
    return meters[-1]
with Lab(keys=False) as lab:
    pairs = tls_in_c(lab)
    assert list(pairs) == ["tls128_c", "tls256_c"]
    for pair in pairs.values():
        for streams in (1, 20):
            size, seconds = pair.stream(streams, message_bytes=20_000, warm=0.1, seconds=0.2, during=during)
            assert size > 0
            assert seconds >= 0.2
assert all(meter.seconds >= 0.3 for meter in meters)
assert len(meters) == 4
"""


@pytest.mark.linux
def test_tls_in_c_carries_traffic() -> None:
    if not tls_in_c.PROGRAM.exists():
        pytest.skip("TLS in C was not built: apt-get install libssl-dev")
    done = subprocess.run(
        [sys.executable, "-c", TLS], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["receive"],
        ["send", "nowhere", "1", "x", "1", "y", "1"],
        ["receive", "127.0.0.1", "x", "0", "y", "0", "0"],
    ],
)
def test_tls_in_c_refuses_what_it_does_not_know(words: list[str]) -> None:
    if not tls_in_c.PROGRAM.exists():
        pytest.skip("TLS in C was not built: apt-get install libssl-dev")
    done = subprocess.run(
        [tls_in_c.PROGRAM, *words],
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert re.match(r"tls-stream: \S", done.stderr)


def test_tls_in_c_that_cannot_read_its_certificate_says_so(tmp_path: Path) -> None:
    if not tls_in_c.PROGRAM.exists():
        pytest.skip("TLS in C was not built: apt-get install libssl-dev")
    words = ["receive", "127.0.0.1", "TLS_AES_128_GCM_SHA256", "1", str(tmp_path / "none"), "0", "1"]
    done = subprocess.run(
        [tls_in_c.PROGRAM, *words],
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "certificate" in done.stderr
