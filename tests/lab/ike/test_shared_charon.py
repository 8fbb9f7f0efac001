"""A charon that is there already, with connections of its own, and shared: `vici = "unix:///..."`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from daemon_hosts import Host
from hanging import hang
from ike_hosts import another_profile, certified, config, host, key_profile, soon
from system_charon import PLUGINS, SystemCharon, system_charon

import wsasec
from wsasec.config.model import Authentication, Config, Identity, KeyProfile, Trust
from wsasec.daemon.client import Client, NotUpError
from wsasec.keys.ike import Ike
from wsasec.keys.messages import section
from wsasec.keys.negotiator import Negotiator
from wsasec.keys.reason import CharonError, Reason
from wsasec.lab import Lab, Namespace

pytestmark = pytest.mark.lab

SECRET = b"theirs, and nobody else's"
"""Of the other connection."""


@pytest.fixture
def test_seconds() -> int:
    return 90


@dataclass
class Two:
    """a's charon is the system's; b has one of its own."""

    lab: Lab
    theirs: SystemCharon
    ours: KeyProfile
    b: Ike

    def config(self, **rest: object) -> Config:
        return config(self.ours, vici=f"unix://{self.theirs.vici}", **rest)


@pytest.fixture
def trust(papers: Any) -> Trust:
    return Trust(ca=(papers.ca.certificate,))


@pytest.fixture
def two(papers: Any, trust: Trust, passable: Path, no_namespaces: None, deadline: None) -> Iterator[Two]:
    a, b = (
        key_profile(certified(f"{x}.example", files), trust)
        for x, files in (("a", papers.a), ("b", papers.b))
    )
    with Lab(keys=False) as lab, host(lab.b, passable, b) as on_b, system_charon(lab.a, passable) as theirs:
        yield Two(lab, theirs, a, on_b)


@contextmanager
def shares(two: Two, folder: Path) -> Iterator[Ike]:
    ike = Ike(folder, two.config())
    with two.lab.a.entered():
        ike.start(soon(30))
    try:
        yield ike
    finally:
        ike.stop()


def connection(lab: Lab, number: int) -> dict[str, object]:
    """Return a connection of somebody else's between the two hosts: a tunnel between networks behind them."""
    ends = [(lab.a.v4, "theirs.a", "10.77.1.0/24"), (lab.b.v4, "theirs.b", "10.77.2.0/24")]
    (here, own, behind), (there, other, far) = ends if number == 0 else reversed(ends)
    return {
        "version": 2,
        "local_addrs": [here],
        "remote_addrs": [there],
        "local": {"auth": "psk", "id": own},
        "remote": {"auth": "psk", "id": other},
        "children": {"net": {"local_ts": [behind], "remote_ts": [far]}},
    }


def theirs_is_up(two: Two) -> None:
    """Have another connection of the two charons, with associations."""
    path = two.b._pool.path
    for number, charon in enumerate((two.theirs, SystemCharon(path, path.with_name("log"), None))):
        charon.ask("load-shared", {"id": "theirs", "type": "IKE", "data": SECRET, "owners": ["theirs.a"]})
        charon.ask("load-conn", {"theirs": connection(two.lab, number)})
    two.theirs.ask("initiate", {"child": "net", "ike": "theirs", "timeout": 5000})


def others(charon: SystemCharon) -> set[bytes]:
    """Return the SPIs of its own connection, and see that there are no other ones."""
    found: set[bytes] = set()
    for message in charon.listed("list-sas", "list-sa"):
        assert list(message) == ["theirs"]
        for child in section(section(message, "theirs"), "child-sas").values():
            found |= {child["spi-in"], child["spi-out"]}
    return found


def control(host: Host, verb: str) -> dict[str, Any]:
    """As `wsasec VERB` does, in this process."""
    with host.namespace.entered(), Client() as client:
        return client.control(verb)


def is_up(host: Host) -> bool:
    try:
        with host.namespace.entered():
            Client().close()
    except NotUpError:
        return False
    return True


def dial(lab: Lab, name: str | None = None) -> None:
    """Connect from a to b, and have data pass."""
    with lab.b.socket() as door, lab.a.socket() as client:
        wsasec.secure_many([door, client])
        door.bind((lab.b.v4, 0))
        door.listen()
        with lab.a.entered():  # whose daemon is to be asked
            if name is not None:
                wsasec.set_peer_target_name(client, name)
            wsasec.connect(client, door.getsockname(), timeout=10)
        server, _ = wsasec.accept(door)
        with server:
            client.sendall(b"x" * 100)
            assert len(server.recv(100, socket.MSG_WAITALL)) == 100


def until(what: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.02)


def test_beside_others(two: Two, papers: Any, passable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both go on, in both roles, also after the daemon's death; in the end all is as before."""
    monkeypatch.setenv("WSASEC_RUN", str(passable / "run"))
    for path in (papers.a.certificate, papers.a.key, papers.ca.certificate):
        shutil.copy2(path, passable)
    lab, theirs = two.lab, two.theirs
    a = Host(lab.a, passable, "a.example")
    assert 'share it: [daemon] vici = "unix:///run/charon.vici"' in a.up(code=1)
    a.configure(f'\n[daemon]\nvici = "unix://{theirs.vici}"\n')
    theirs_is_up(two)
    before, own = theirs.names(), others(theirs)
    kernel = {(sa.spi, sa.reqid) for sa in lab.a.sas()}
    assert len(own) == 2
    with lab.capture() as wire:
        assert a.up().startswith("up, pid ")
        dial(lab, "b.example")
        with pytest.raises(wsasec.SecurityError, match=r"'c\.example' was asked for"):
            dial(lab, "c.example")
        outcome = two.b.initiate("default", ip_address(lab.a.v6), soon())
        assert outcome.ike is not None
        assert outcome.ike.remote_id == "a.example"
        a.configure("\n[profile.default]\nidle_seconds = 600\n")
        control(a, "reload")
        dial(lab)
        status = control(a, "status")
        assert {peer["identity"] for peer in status["peers"]} == {"b.example"}
        assert (status["charon"]["pid"], status["charon"]["alive"]) == (None, True)

        sas = {sa.spi for sa in lab.a.sas()}
        os.kill(status["pid"], signal.SIGKILL)
        until(lambda: not is_up(a))
        # What was negotiated goes on; the next daemon takes it over, and knows what of ours is in there.
        dial(lab)
        a.up()
        dial(lab, "b.example")
        assert {sa.spi for sa in lab.a.sas()} == sas
        with lab.a.entered(), Client() as client:
            client.stop()
    assert wire.counts.clear == 0, wire.counts
    assert theirs.names() == before
    assert others(theirs) == own
    assert {(sa.spi, sa.reqid) for sa in lab.a.sas()} == kernel
    assert not (Path(status["folder"]) / "left").exists()


def test_others_take_ours_out(two: Two, passable: Path) -> None:
    """`swanctl --load-all` leaves only what it has loaded itself, and --clear nothing: ours is put back."""
    theirs, lab = two.theirs, two.lab
    (passable / "swanctl.conf").write_text("connections {\n theirs {\n remote_addrs = 10.9.0.7\n }\n}\n")

    def load_all(*words: str) -> str:
        return subprocess.run(
            ["swanctl", "--load-all", "--noprompt", *words, "--uri", f"unix://{theirs.vici}"],
            env={**os.environ, "SWANCTL_DIR": str(passable)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    with shares(two, passable) as ours:
        ours.pin("default", ip_address(lab.b.v4), "b.example", soon())
        wanted = theirs.names()
        assert len(wanted["get-conns"]) == 2
        assert "unloaded" in load_all()
        # At once for who asks, and soon for peers.
        assert ours.initiate("default", ip_address(lab.b.v4), soon()).reason is Reason.NONE
        assert ours.pinned("default", ip_address(lab.b.v4)) == "b.example"
        load_all("--clear")

        def are_back() -> bool:
            now = theirs.names()
            return now["get-keys"] == wanted["get-keys"] and set(now["get-conns"]) >= set(wanted["get-conns"])

        until(are_back)
        assert two.b.initiate("default", ip_address(lab.a.v6), soon()).reason is Reason.NONE
        assert set(theirs.names()["get-conns"]) >= {b"theirs", *wanted["get-conns"]}
        load_all()
    assert theirs.names() == {**{command: [] for command in wanted}, "get-conns": [b"theirs"]}


def test_it_is_started_anew(two: Two, passable: Path) -> None:
    with shares(two, passable) as ours:
        assert ours.initiate("default", ip_address(two.lab.b.v4), soon()).reason is Reason.NONE
        assert (ours.alive, ours.pid) == (True, None)
        two.theirs.process.terminate()
        until(lambda: not ours.alive)
        two.theirs.process.wait()
        with system_charon(two.lab.a, passable) as second, two.lab.a.entered():
            ours.start(soon(30))
            assert ours.initiate("default", ip_address(two.lab.b.v4), soon()).reason is Reason.NONE
            ours.stop()
            assert not any(second.names().values())
    assert not two.lab.a.sas()


def test_one_that_hangs_is_asked_again(two: Two, passable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is others': it is not ended, but what it may have made for a stranger is."""
    v4, v6 = ip_address(two.lab.b.v4), ip_address(two.lab.b.v6)
    with shares(two, passable) as ours, two.lab.a.entered():
        for peer in (v4, v6):
            assert ours.initiate("default", peer, soon()).reason is Reason.NONE
        ours.pin("default", v4, "b.example", soon())
        pid = two.theirs.process.pid
        try:
            hang(pid)
            with monkeypatch.context() as impatient:
                impatient.setattr("wsasec.keys.ike._STRANGER_SECONDS", 0.2)
                assert not ours._end_strangers("default", v4)
            # The other address is not concerned.
            assert {address for sa in two.lab.a.sas() for address in (sa.src, sa.dst)} == {
                two.lab.a.v6,
                two.lab.b.v6,
            }
        finally:
            os.kill(pid, signal.SIGCONT)
        assert ours._end_strangers("default", v4)
        assert ours.alive


def test_the_kernel_asks_once(two: Two, passable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A charon of others has it wait for minutes, and itself repeats late: neither is waited for."""
    monkeypatch.setattr("wsasec.keys.negotiator.ACQUIRE_SECONDS", 1)
    lab = two.lab
    two.b.stop()
    assert int(lab.a.sysctl("net.core.xfrm_acq_expires")) > 60
    with shares(two, passable) as ours, lab.a.entered(), lab.a.socket() as client:
        negotiator = Negotiator(ours, two.config(first_seconds=1.0))
        negotiator.start()
        try:
            wsasec.secure(client)
            with pytest.raises(BlockingIOError):
                client.connect((lab.b.v4, 5000))
            until(lambda: b"sending packet" in two.theirs.log.read_bytes())
            until(lambda: not ours.associations(soon()))  # the first attempt was given up
            with lab.b.entered():
                two.b.start(soon(30))
            until(lambda: len([sa for sa in lab.a.sas() if sa.spi]) == 2)
        finally:
            ours.stop()
            negotiator.close()


def test_one_that_is_not_there(two: Two, tmp_path: Path) -> None:
    with two.lab.a.entered():
        with pytest.raises(CharonError) as raised:
            Ike(tmp_path, config(two.ours, vici=f"unix://{tmp_path}/no")).start(soon(1))
        assert raised.value.reason is Reason.NO_CHARON
    with pytest.raises(ValueError, match="unix:///PATH"):
        Ike(tmp_path, config(two.ours, vici="tcp://127.0.0.1:1"))


# What is refused, before anything changes


def refused(namespace: Namespace, folder: Path, vici: Path, *profiles, **rest: object) -> str:
    """Have it refused as `wsasec up` does; return why."""
    of = config(*profiles, vici=f"unix://{vici}", **rest)
    ike = Ike(folder, of)
    with namespace.entered():
        with pytest.raises(CharonError) as raised:
            ike.require(of, soon())
        with pytest.raises(CharonError):
            ike.start(soon())
    ike.stop()
    assert raised.value.reason is Reason.NO_CHARON
    said = raised.value.detail
    assert said.startswith(f"{vici}: ")
    return said.removeprefix(f"{vici}: ")


def test_what_would_harm_others_is_refused(papers, trust: Trust, tmp_path: Path, no_namespaces: None) -> None:
    identity = certified("a.example", papers.a)
    good = key_profile(identity, trust)
    secret = tmp_path / "psk"
    secret.write_bytes(b"0123456789abcdef")
    secret.chmod(0o600)
    with Namespace("a") as namespace, Namespace("b") as other, system_charon(namespace, tmp_path) as theirs:

        def said(*profiles, of: Namespace = namespace) -> str:
            return refused(of, tmp_path, theirs.vici, *profiles)

        nothing = theirs.names()
        with_secret = Identity("a.example", Authentication.PSK, psk=secret)
        assert "not with a pre-shared key" in said(key_profile(with_secret, Trust()))
        assert "not without identities" in said(key_profile(identity, Trust(ca=trust.ca, anonymous=True)))
        low = another_profile("low", 1)
        low = type(low)(low.name, low.guid, 300, low.mark, low.mask)
        assert "take one from 16384 on" in said(key_profile(identity, trust, low))
        assert "in this network namespace" in said(good, of=other)

        child = {"remote_ts": ["10.8.0.0/24"], "start_action": "trap", "reqid": good.profile.reqid}
        theirs.ask("load-conn", {"trap": {"remote_addrs": ["10.9.0.7"], "children": {"c": child},
                                          "remote": {"auth": "psk"}, "local": {"auth": "psk"}}})  # fmt: skip
        assert f"reqid {good.profile.reqid} is that of another connection" in said(good)
        theirs.ask("unload-conn", {"name": "trap"})

        theirs.ask("load-conn", {"any": {"remote_addrs": ["10.9.0.7"], "remote": {"auth": "pubkey"}}})
        assert "'any' takes peers of any CA" in said(good)
        theirs.ask("unload-conn", {"name": "any"})
        assert theirs.names() == nothing

        # With a CA of its own it is no matter; nor where it believes this one already.
        rogue = papers.rogue.certificate.read_bytes()
        closed = {"remote_addrs": ["10.9.0.7"], "remote": {"auth": "pubkey", "cacerts": [rogue]}}
        theirs.ask("load-conn", {"closed": closed})
        of = config(good, vici=f"unix://{theirs.vici}")
        with namespace.entered():
            Ike(tmp_path, of).require(of, soon())
            theirs.ask("load-conn", {"any": {"remote_addrs": ["10.9.0.7"], "remote": {"auth": "pubkey"}}})
            theirs.ask(
                "load-cert", {"type": "X509", "flag": "CA", "data": papers.ca.certificate.read_bytes()}
            )
            Ike(tmp_path, of).require(of, soon())


@pytest.mark.parametrize(
    ("without", "more", "why"),
    [
        ("revocation", "", "it lacks the plugin revocation: certificates that were revoked would count"),
        ("constraints", "", "it lacks the plugin constraints"),
        ("", "threads = 9", "it has 9 threads, and 10 are needed"),
        ("", "integrity_test = no", None),
    ],
)
def test_what_it_lacks_is_said(
    papers, trust: Trust, tmp_path: Path, no_namespaces: None, without: str, more: str, why: str | None
) -> None:
    good = key_profile(certified("a.example", papers.a), trust)
    plugins = " ".join(plugin for plugin in PLUGINS.split() if plugin != without)
    with (
        Namespace("a") as namespace,
        system_charon(namespace, tmp_path, plugins=plugins, more=more) as theirs,
    ):
        if why is None:
            of = config(good, vici=f"unix://{theirs.vici}")
            with namespace.entered():
                Ike(tmp_path, of).require(of, soon())
            return
        assert why in refused(namespace, tmp_path, theirs.vici, good)
        assert not any(theirs.names().values())
