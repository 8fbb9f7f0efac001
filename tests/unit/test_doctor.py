"""`wsasec doctor`: what it finds in a made-up system, what it makes of it, and what it says here."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from rich.console import Console

from wsasec import SecurityError, doctor, profiles
from wsasec.cli.doctor import render
from wsasec.constants import Winsock
from wsasec.doctor import facts as finder
from wsasec.doctor.facts import Answer, Facts, Guard, Limit, Sysctl
from wsasec.doctor.rows import Report, Row
from wsasec.profile import Profile

REFLECT4 = "net.ipv4.fwmark_reflect"
NAMES = ("socket-policy", "esp4", "esp6", "ah4", "ah6", "aes-gcm")


def write(root: Path, path: str, text: str = "") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def good() -> Facts:
    """A system where nothing is missing."""
    return Facts(
        kernel=finder.Kernel("6.1.0", dict.fromkeys(NAMES, Answer(True))),
        privileges=finder.Privileges(administrator=True, net_admin=True),
        profiles=finder.ProfileFiles((), (profiles.DEFAULT,), profiles.DEFAULT.name),
        guards=tuple(Guard(profiles.DEFAULT, family, 0) for family in ("ipv4", "ipv6")),
        sysctls={
            name: Sysctl(name, value, True)
            for name, value in {
                REFLECT4: "1",
                "net.ipv6.fwmark_reflect": "1",
                "net.ipv4.tcp_syncookies": "1",
                "net.ipv4.conf.lo.disable_xfrm": "0",
                "net.ipv4.conf.lo.disable_policy": "0",
            }.items()
        },
        limit=Limit(1024, 1 << 20),
        ike=finder.Ike("/usr/sbin/charon-systemd", 7, "/run/charon.vici"),
        guest=finder.Guest("/usr/bin/linux.uml", "/usr/lib/uml/modules/6.1", ()),
        build=finder.Build("0.1.0", "CPython", "3.11.2", False, "_wsasec.abi3.so"),
    )


def judged(**changes: object) -> Report:
    return doctor.judge(dataclasses.replace(good(), **changes))  # type: ignore[arg-type]


def row(report: Report, name: str) -> Row:
    (found,) = [row for row in report.rows if row.id == name]
    return found


def test_nothing_missing() -> None:
    report = judged()
    assert report.ready
    assert {row.state for row in report.rows} == {"ok"}
    assert [row.command for row in report.rows] == [None] * len(report.rows)
    assert report.summary == "Sockets can be secured here."


def test_every_missing_thing_has_a_command() -> None:
    guard = Guard(profiles.DEFAULT, "ipv4", 5)
    report = judged(
        kernel=finder.Kernel("6.1.0", dict.fromkeys(NAMES, Answer(False))),
        privileges=finder.Privileges(administrator=False, net_admin=False, namespaces=False),
        guards=(guard, dataclasses.replace(guard, state=2), dataclasses.replace(guard, state=8)),
        sysctls={REFLECT4: Sysctl(REFLECT4, "0", False)},
        limit=Limit(256, 4096),
        ike=finder.Ike(None, None, None),
        guest=finder.Guest(None, None, ("user-mode-linux", "kmod")),
    )
    assert not report.ready
    missing = [row for row in report.rows if row.state == "missing"]
    assert len(missing) == 9
    assert all(row.command for row in missing)
    assert row(report, "guest").command == "sudo apt-get install user-mode-linux kmod"


def test_a_kernel_without_esp_can_secure_but_not_send() -> None:
    answers = {name: Answer(name == "socket-policy") for name in NAMES}
    report = judged(kernel=finder.Kernel("6.1.0", answers))
    assert report.ready
    assert row(report, "kernel.esp4").state == "missing"
    assert row(report, "kernel.esp4").command == "wsasec lab run -- COMMAND"
    assert row(report, "kernel.ah4").state == "warn"
    assert "no ESP" in report.summary


def test_a_kernel_without_policies() -> None:
    answers = {name: Answer(name != "socket-policy") for name in NAMES}
    report = judged(kernel=finder.Kernel("6.1.0", answers))
    assert not report.ready
    assert report.summary == "Sockets cannot be secured here."


@pytest.mark.parametrize(
    ("net_admin", "namespaces", "obstacle", "command"),
    [
        (False, True, None, "unshare -Urn wsasec doctor"),
        (True, True, None, "unshare -Urn wsasec doctor"),
        (False, False, "user.max_user_namespaces", "sudo wsasec doctor"),
    ],
)
def test_no_privilege(net_admin: bool, namespaces: bool, obstacle: str | None, command: str) -> None:
    refused = Answer(None, "needs it", refused=True)
    report = judged(
        kernel=finder.Kernel("6.1.0", dict.fromkeys(NAMES, refused)),
        privileges=finder.Privileges(False, net_admin, namespaces, obstacle),
        guards=(Guard(profiles.DEFAULT, "ipv4", None, "needs it"),),
    )
    assert not report.ready
    assert row(report, "privileges").command == command
    assert (obstacle or "") in row(report, "privileges").detail
    for name in (*(f"kernel.{name}" for name in NAMES), "guard.default.ipv4"):
        assert row(report, name).detail == "needs CAP_NET_ADMIN to ask"
        assert row(report, name).state == "warn"


@pytest.mark.parametrize(
    ("state", "writable", "expected", "command"),
    [
        (0, True, "ok", None),
        (1, False, "ok", None),
        (4, True, "ok", None),
        (5, True, "ok", None),
        (5, False, "missing", f"sysctl -w {REFLECT4}=1"),
        (2, True, "missing", "ip xfrm policy delete src 0.0.0.0/0 dst 0.0.0.0/0 dir out mark 0x70 mask 0xff"),
        (8, True, "missing", "ip xfrm state list reqid 12"),
    ],
)
def test_guard(state: int, writable: bool, expected: str, command: str | None) -> None:
    profile = Profile("p", uuid.uuid4(), 12, 0x70, 0xFF)
    sysctl = Sysctl(REFLECT4, "0" if state & 4 else "1", writable)
    report = judged(guards=(Guard(profile, "ipv4", state),), sysctls={REFLECT4: sysctl})
    found = row(report, "guard.p.ipv4")
    assert (found.state, found.command) == (expected, command)
    assert report.ready is (expected == "ok")


@pytest.mark.parametrize(
    ("limit", "state"),
    [
        (Limit(None, None), "ok"),
        (Limit(20_000, 20_000), "ok"),
        (Limit(1024, None), "ok"),
        (Limit(1024, 4096), "warn"),
    ],
)
def test_limit(limit: Limit, state: str) -> None:
    assert row(judged(limit=limit), "limit.nofile").state == state


@pytest.mark.parametrize(
    ("ike", "state", "command"),
    [
        (finder.Ike(None, None, None), "warn", "apt-get install charon-systemd strongswan-swanctl"),
        (finder.Ike("/usr/lib/ipsec/charon", None, None), "warn", "/usr/lib/ipsec/charon"),
        (finder.Ike("/usr/sbin/charon-systemd", None, None), "warn", "systemctl start strongswan"),
        (finder.Ike("/usr/lib/ipsec/charon", 12, None), "warn", None),
        (finder.Ike("/usr/lib/ipsec/charon", 12, "/run/charon.vici"), "ok", None),
    ],
)
def test_ike(ike: finder.Ike, state: str, command: str | None) -> None:
    found = row(judged(ike=ike), "ike")
    assert (found.state, found.command) == (state, command)


def test_a_guest_is_not_needed_where_the_kernel_has_esp() -> None:
    report = judged(guest=finder.Guest(None, None, ("user-mode-linux",)))
    assert row(report, "guest").state == "ok"


def test_no_ipv6() -> None:
    sysctl = Sysctl("net.ipv6.fwmark_reflect", None, False)
    report = judged(guards=(Guard(profiles.DEFAULT, "ipv4", 0),), sysctls={sysctl.name: sysctl})
    assert report.ready
    assert row(report, f"sysctl.{sysctl.name}").detail == "IPv6 is off"


def test_json_has_the_documented_keys() -> None:
    report = json.loads(json.dumps(judged().as_json()))
    assert list(report) == ["schema", "wsasec", "ready", "rows"]
    assert report["schema"] == 1
    assert {frozenset(row) for row in report["rows"]} == {frozenset({"id", "state", "detail", "command"})}


def test_commands_are_never_broken_or_taken_for_markup() -> None:
    long = "apt-get install " + "package " * 40 + "[bold]"
    output = io.StringIO()
    report = Report("0.1.0", False, (Row("x", doctor.State.MISSING, "[red]no[/red]", long),))
    render(report, Console(file=output, width=60))
    assert f"x: {long}" in output.getvalue()
    assert "[red]no[/red]" in output.getvalue()


def test_find_kernel(tmp_path: Path) -> None:
    write(tmp_path, "proc/sys/kernel/osrelease", "6.1.0-test\n")

    def ask(name: str) -> bool:
        if name == "esp4":
            raise SecurityError("no privilege", winsock=Winsock.WSAEACCES)
        if name == "esp6":
            raise SecurityError("no XFRM", winsock=Winsock.WSAEPROTONOSUPPORT)
        return name == "ah4"

    kernel = finder.find_kernel(tmp_path, ask)
    assert kernel.release == "6.1.0-test"
    assert kernel.answers["ah4"] == Answer(True)
    assert kernel.answers["ah6"] == Answer(False)
    assert kernel.answers["esp4"] == Answer(None, "no privilege", refused=True)
    assert kernel.answers["esp6"] == Answer(None, "no XFRM", refused=False)


def test_find_privileges(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/status", "Name:\tx\nCapEff:\t0000000000001000\n")
    write(tmp_path, "proc/self/uid_map", "         0       1000          1\n")
    found = finder.find_privileges(tmp_path, granted=True)
    assert (found.net_admin, found.administrator) == (True, False)
    write(tmp_path, "proc/self/status", "CapEff:\t0000000000000fff\n")
    write(tmp_path, "proc/sys/kernel/unprivileged_userns_clone", "1\n")
    write(tmp_path, "proc/sys/user/max_user_namespaces", "0\n")
    found = finder.find_privileges(tmp_path, granted=False)
    assert not found.net_admin
    assert found.obstacle == "user.max_user_namespaces"


def test_find_guards_asks_only_for_families_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/net/ipv4").mkdir(parents=True)
    found = finder.find_guards([profiles.DEFAULT], tmp_path, lambda name, family: 5)
    assert found == (Guard(profiles.DEFAULT, "ipv4", 5),)


def test_find_sysctls(tmp_path: Path) -> None:
    write(tmp_path, "proc/sys/net/ipv4/fwmark_reflect", "1\n")
    write(tmp_path, "proc/sys/net/ipv4/conf/lo/disable_xfrm", "0\n")
    found = finder.find_sysctls(tmp_path)
    assert found[REFLECT4] == Sysctl(REFLECT4, "1", True)
    assert found["net.ipv4.conf.lo.disable_xfrm"].value == "0"
    assert found["net.ipv6.fwmark_reflect"] == Sysctl("net.ipv6.fwmark_reflect", None, False)


def test_find_ike(tmp_path: Path) -> None:
    write(tmp_path, "proc/12/comm", "bash\n")
    assert finder.find_ike(tmp_path) == finder.Ike(None, None, None)
    write(tmp_path, "usr/lib/ipsec/charon")
    write(tmp_path, "proc/34/comm", "charon\n")
    write(tmp_path, "run/charon.vici")
    assert finder.find_ike(tmp_path) == finder.Ike("/usr/lib/ipsec/charon", 34, "/run/charon.vici")


def test_find_guest(tmp_path: Path) -> None:
    assert finder.find_guest(tmp_path).packages == ("user-mode-linux", "kmod", "iproute2")
    for tool in ("usr/bin/linux.uml", "sbin/modprobe", "sbin/ip"):
        write(tmp_path, tool).chmod(0o755)
    assert finder.find_guest(tmp_path).packages == ("user-mode-linux",)
    write(tmp_path, "usr/lib/uml/modules/6.1/modules.dep")
    found = finder.find_guest(tmp_path)
    assert found.packages == ()
    assert found.kernel == str(tmp_path / "usr/bin/linux.uml")
    assert found.modules == str(tmp_path / "usr/lib/uml/modules/6.1")


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `wsasec doctor` in a process of its own: what it reads is read once in the life of a process."""
    code = "import sys; from wsasec.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
        check=False,
    )


def test_a_wrong_profile_file_is_shown_with_its_line(tmp_path: Path) -> None:
    file = write(tmp_path, "profiles.toml", "[profile.x]\nreqid = 0\n")
    done = command("--json", WSASEC_CONFIG=str(file))
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert not report["ready"]
    (found,) = [row for row in report["rows"] if row["id"] == "profiles"]
    assert found["state"] == "missing"
    assert f"{file}:" in found["detail"]


def test_here() -> None:
    done = command("--json", WSASEC_CONFIG="")
    report = json.loads(done.stdout)
    assert done.stderr == ""
    assert done.returncode == (0 if report["ready"] else 1)
    states = {row["id"]: row["state"] for row in report["rows"]}
    assert {"kernel.release", "privileges", "profiles", "limit.nofile", "ike", "guest", "python"} <= set(
        states
    )
    assert {f"kernel.{name}" for name in NAMES} <= set(states)


def test_here_as_a_table() -> None:
    done = command(WSASEC_CONFIG="")
    assert "kernel.socket-policy" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Sockets can")
    assert done.stderr == ""


@pytest.mark.linux
def test_nothing_is_changed() -> None:
    """In a network namespace of its own, where it may change everything."""
    unshare = shutil.which("unshare")
    assert unshare is not None
    own = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    code = f"""
import subprocess, pathlib
from wsasec.doctor import examine

def state():
    reflect = [pathlib.Path("/proc/sys/net", f, "fwmark_reflect").read_text() for f in ("ipv4", "ipv6")]
    tables = [subprocess.check_output(["ip", "xfrm", what, "list"]) for what in ("policy", "state")]
    return reflect, tables

before = state()
report = examine()
assert report.ready, report
assert [row.detail for row in report.rows if row.id == {"guard.default.ipv4"!r}] == [
    "not yet up: the first secure() puts it up"
]
assert state() == before
"""
    environment = os.environ | {"WSASEC_CONFIG": "", "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    subprocess.run([unshare, *own, sys.executable, "-c", code], check=True, timeout=60, env=environment)
