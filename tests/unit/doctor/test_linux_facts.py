"""`wsasec doctor` on Linux: what it finds in made-up systems, and that it changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wsasec import SecurityError, profiles
from wsasec.constants import Winsock
from wsasec.doctor import facts as finder
from wsasec.doctor.facts import Answer, Guard, Sysctl
from wsasec.keys import strongswan
from wsasec.keys.plugin import ENVIRONMENT

REFLECT4 = "net.ipv4.fwmark_reflect"


def write(root: Path, path: str, text: str = "") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


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


@pytest.mark.linux
def test_find_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    charon = write(tmp_path, "charon", "#!/bin/sh\necho Linux strongSwan 5.9.13\n")
    charon.chmod(0o755)
    monkeypatch.setattr(strongswan, "_CHARON", (charon,))
    path = tmp_path / "plugin.so"
    monkeypatch.setenv(ENVIRONMENT, str(path))
    found = finder.find_plugin()
    assert (found.path, found.installed) == (None, "5.9.13")
    assert "make charon-plugin" in found.why
    path.write_bytes(b"\0kernel-wsasec for strongSwan 5.9.8\0")
    path.chmod(0o644)
    assert finder.find_plugin() == finder.Plugin(str(path.resolve()), "5.9.8", "5.9.13")
    path.chmod(0o666)
    assert "written by others" in finder.find_plugin().why
    charon.unlink()
    assert finder.find_plugin().installed is None


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


def test_a_wrong_profile_file_is_shown_with_its_line(tmp_path: Path) -> None:
    file = write(tmp_path, "profiles.toml", "[profile.x]\nreqid = 0\n")
    # In a process of its own: profiles are read once in the life of one.
    done = subprocess.run(
        [sys.executable, "-m", "wsasec", "doctor", "--json"],
        stdout=subprocess.PIPE,
        timeout=60,
        env=os.environ | {"WSASEC_CONFIG": str(file)},
        check=False,
    )
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert not report["ready"]
    (found,) = [row for row in report["rows"] if row["id"] == "profiles"]
    assert found["state"] == "missing"
    assert f"{file}:" in found["detail"]


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
