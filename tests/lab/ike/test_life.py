"""charon as a process: what it may do, who may talk to it, how it ends."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from certificates import write
from hanging import hang
from ike_hosts import certified, config, host, key_profile, soon
from reachable import open_to_all

from wsasec.config.model import Authentication, Identity, Trust
from wsasec.keys.ike import Ike
from wsasec.keys.reason import CharonError, Reason
from wsasec.lab import Namespace

pytestmark = pytest.mark.lab

MakePair = Callable[..., AbstractContextManager[Any]]
CAP_NET_BIND_SERVICE, CAP_NET_ADMIN = 10, 12
EXPIRES = "net.core.xfrm_acq_expires"
SECRET = b"correct horse battery staple"


@pytest.fixture
def certified_pair(pair: MakePair, papers: Any) -> Any:
    trust = Trust(ca=(papers.ca.certificate,))
    a, b = certified("a.example", papers.a), certified("b.example", papers.b)
    with pair(key_profile(a, trust), key_profile(b, trust)) as made:
        yield made


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits for nothing but that somebody asks for its end."""
    try:
        return status_of(pid)["State"].startswith("Z")
    except FileNotFoundError:
        return True


def wait_for(done: Callable[[], bool], seconds: float = 5.0) -> None:
    end = soon(seconds)
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_least_privilege(certified_pair: Any) -> None:
    status = status_of(certified_pair.a.pid)
    allowed = 1 << CAP_NET_BIND_SERVICE | 1 << CAP_NET_ADMIN
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) & ~allowed == 0, kind
    assert int(status["CapEff"], 16) & 1 << CAP_NET_ADMIN
    assert status["Uid"].split() == ["65534"] * 4
    assert status["Groups"] == ""
    assert status["NoNewPrivs"] == "1"


def test_nobody_else_may_talk_to_it(certified_pair: Any, tmp_path: Path) -> None:
    path = certified_pair.a._pool.path
    for folder in (path.parent, path.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert path.parent.parent.stat().st_uid == 0
    for name in ("strongswan.conf", "log"):
        assert stat.S_IMODE((path.parent / name).stat().st_mode) == 0o600
    # Not even another process of charon's own user.
    open_to_all(tmp_path)
    connect = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
    words = [
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "/usr/bin/python3",
        "-c",
        connect,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "PermissionError" in done.stderr


def test_no_secret_is_written_down(pair: MakePair, tmp_path: Path) -> None:
    path = write(tmp_path / "psk", SECRET + b"\n")
    a, b = (Identity(f"{x}.example", Authentication.PSK, psk=path) for x in "ab")
    with pair(key_profile(a, Trust()), key_profile(b, Trust())) as two:
        assert two.a.initiate("default", two.v4[1], soon()).reason is Reason.NONE
        words = (
            Path(f"/proc/{two.a.pid}/cmdline").read_bytes() + Path(f"/proc/{two.a.pid}/environ").read_bytes()
        )
        files = [each for each in tmp_path.rglob("*") if each.is_file() and each != path]
        assert any(each.name == "log" for each in files)
        for found in (words, *(each.read_bytes() for each in files)):
            assert SECRET not in found
            assert SECRET.hex().encode() not in found


def test_the_kernel_waits_no_longer_than_a_negotiation(
    papers: Any, tmp_path: Path, no_namespaces: None
) -> None:
    profile = key_profile(certified("a.example", papers.a), Trust(ca=(papers.ca.certificate,)))
    with Namespace("a") as namespace:
        before = namespace.sysctl(EXPIRES)
        with host(namespace, tmp_path, profile):
            assert namespace.sysctl(EXPIRES) == "5"
        assert namespace.sysctl(EXPIRES) == before


def test_no_trace_outside(certified_pair: Any) -> None:
    assert not Path("/run/charon.pid").exists()
    assert "wsasec /run tmpfs" not in Path("/proc/mounts").read_text()
    assert str(certified_pair.a._pool.path.parent) not in Path("/proc/mounts").read_text()


def test_killed(certified_pair: Any) -> None:
    two = certified_pair
    events: list[Any] = []
    two.a.watch(events.append)
    old = two.a.initiate("default", two.v4[1], soon())
    os.kill(two.a.pid, signal.SIGKILL)
    wait_for(lambda: bool(events) and events[-1].kind == "gone")
    wait_for(lambda: not two.a.alive)
    assert two.a.pid is None
    assert two.a.initiate("default", two.v4[1], soon()).reason is Reason.NO_CHARON
    with pytest.raises(CharonError):
        two.a.associations(soon())
    assert {sa.spi for sa in two.lab.a.sas()} == {old.child.spi_in, old.child.spi_out}
    with two.lab.a.entered():
        two.a.start(soon(30))
    assert not two.lab.a.sas()
    assert two.a.alive
    assert two.a.initiate("default", two.v4[1], soon()).reason is Reason.NONE


def test_one_that_hangs_counts_as_dead(certified_pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it has to end a stranger at an address: with all that it has made."""
    two = certified_pair
    events: list[Any] = []
    two.a.watch(events.append)
    two.a.initiate("default", two.v4[1], soon())
    two.a.initiate("default", two.v6[1], soon())
    pid = two.a.pid
    two.a.pin("default", two.v4[1], "b.example", soon())
    monkeypatch.setattr("wsasec.keys.ike._STRANGER_SECONDS", 0.2)
    hang(pid)
    assert two.a.initiate("default", two.v4[1], soon(0.2)).reason is Reason.NO_CHARON
    with two.lab.a.entered():
        assert two.a._end_strangers("default", two.v4[1])
    assert has_ended(pid)
    assert not two.lab.a.sas()
    wait_for(lambda: bool(events) and events[-1].kind == "gone")
    with two.lab.a.entered():
        assert two.a._end_strangers("default", two.v4[1])  # nothing is left to be ended
        two.a.start(soon(30))
    assert two.a.initiate("default", two.v4[1], soon()).reason is Reason.NONE


def test_ends_with_its_parent(papers: Any, tmp_path: Path, no_namespaces: None) -> None:
    program = f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[2] / "helpers")!r})
        from pathlib import Path
        from ike_hosts import certified, config, key_profile, soon
        from certificates import Files
        from wsasec.config.model import Trust
        from wsasec.keys.ike import Ike
        files = Files(*map(Path, {[str(papers.a.key), str(papers.a.public), str(papers.a.certificate)]!r}))
        trust = Trust(ca=(Path({str(papers.ca.certificate)!r}),))
        ike = Ike(Path({str(tmp_path)!r}), config(key_profile(certified("a.example", files), trust)))
        ike.start(soon(30))
        print(ike.pid, flush=True)
        time.sleep(60)
    """
    with Namespace("a") as namespace:
        words = [sys.executable, "-c", textwrap.dedent(program)]
        with namespace.popen(words, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            charon = int(parent.stdout.readline())
            assert status_of(charon)["Name"] == "charon"
            parent.kill()
            parent.wait()
            wait_for(lambda: has_ended(charon))


@pytest.mark.parametrize("port", [500, 4500])
@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "::", "::1"])
def test_another_daemon_has_the_ports(
    papers: Any, tmp_path: Path, no_namespaces: None, port: int, address: str
) -> None:
    profile = key_profile(certified("a.example", papers.a), Trust(ca=(papers.ca.certificate,)))
    with Namespace("a") as namespace, namespace.entered():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            other.bind((address, port))
            ike = Ike(tmp_path, config(profile))
            with pytest.raises(CharonError, match=f"UDP {port} is taken.*vici = "):
                ike.start(soon())
            assert ike.pid is None
