"""`wsasec doctor` on Linux: what it makes of facts; these are made up, so that it can be told anywhere."""

from __future__ import annotations

import dataclasses
import json
import uuid

import pytest

from wsasec import profiles
from wsasec.doctor import facts as finder
from wsasec.doctor.facts import Answer, Facts, Guard, Limit, Sysctl
from wsasec.doctor.report import Build, Report, Row
from wsasec.doctor.rows import judge
from wsasec.profile import Profile

REFLECT4 = "net.ipv4.fwmark_reflect"
NAMES = ("socket-policy", "esp4", "esp6", "ah4", "ah6", "aes-gcm")


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
        keys=finder.KeyDaemon((), 8),
        guest=finder.Guest("/usr/bin/linux.uml", "/usr/lib/uml/modules/6.1", ()),
        build=Build("0.1.0", "CPython", "3.11.2", False, "_wsasec.abi3.so"),
        plugin=finder.Plugin("/usr/local/lib/wsasec/plugin.so", "5.9.8", "5.9.8"),
    )


def judged(**changes: object) -> Report:
    return judge(dataclasses.replace(good(), **changes))  # type: ignore[arg-type]


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
    ("state", "expected", "command"),
    [
        (0, "ok", None),
        (16 + 4, "missing", "wsasec up"),
        (128 + 32, "missing", "ip -details link show ws12"),
        (32 + 256, "missing", "wsasec up"),
        (64, "missing", "wsasec status"),
        (256 + 4, "missing", "wsasec status"),
        (4, "missing", f"sysctl -w {REFLECT4}=1"),
    ],
)
def test_device(state: int, expected: str, command: str | None) -> None:
    profile = Profile("p", uuid.uuid4(), 12, 0x70, 0xFF, carrier="device")
    report = judged(guards=(Guard(profile, "ipv4", state, carrier="device"),))
    assert (row(report, "guard.p.ipv4").state, row(report, "guard.p.ipv4").command) == (expected, command)
    assert report.ready == (state == 0)


def test_a_device_needs_nothing_of_the_kernels_ipsec() -> None:
    profile = Profile("p", uuid.uuid4(), 12, 0x70, 0xFF, carrier="auto")
    report = judged(
        kernel=finder.Kernel("6.1.0", dict.fromkeys(NAMES, Answer(False))),
        guards=(Guard(profile, "ipv4", 0, carrier="device"),),
    )
    assert report.ready
    assert report.summary == "Sockets can be secured here."


def test_what_devices_need() -> None:
    lack = ("the program nft is missing: apt-get install nftables",)
    carried = Profile("p", uuid.uuid4(), 12, 0x70, 0xFF, carrier="device")
    assert row(judged(without_engine=lack), "engine").state == "warn"
    report = judged(
        without_engine=lack, profiles=finder.ProfileFiles((), (profiles.DEFAULT, carried), "default")
    )
    assert row(report, "engine").state == "missing"
    assert lack[0] in row(report, "engine").detail


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        (finder.Plugin("/p.so", "5.9.8", "5.9.13"), "/p.so, for strongSwan 5.9.8, and 5.9.13 is installed"),
        (finder.Plugin("/p.so", None, "5.9.13"), "/p.so does not say for which strongSwan it is"),
        (finder.Plugin(None, None, "5.9.13", "it is nowhere"), "it is nowhere"),
    ],
)
def test_plugin_that_is_not_of_use(plugin: finder.Plugin, said: str, carried: bool) -> None:
    """Devices need it; others are only told."""
    carrier = "device" if carried else "policy"
    report = judged(plugin=plugin, guards=(Guard(profiles.DEFAULT, "ipv4", 0, carrier=carrier),))
    found = row(report, "plugin")
    assert (found.state, found.command) == ("missing" if carried else "warn", "make charon-plugin")
    assert found.detail.startswith(said)
    assert ("no profile needs it" in found.detail) is not carried
    assert report.ready  # an engine and keys of others do without


def test_plugin_that_fits() -> None:
    assert row(judged(), "plugin").detail.endswith("for strongSwan 5.9.8, which is installed")
    unknown = row(judged(plugin=finder.Plugin("/p.so", "5.9.8", None)), "plugin")
    assert (unknown.state, unknown.command) == ("warn", None)


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
    ("ike", "state", "said"),
    [
        (finder.Ike(None, None, None), "warn", "no strongSwan"),
        (finder.Ike("/usr/lib/ipsec/charon", None, None), "ok", "wsasec up starts"),
        (finder.Ike("/usr/lib/ipsec/charon", 12, None), "ok", "wsasec up starts"),
        (finder.Ike("/usr/lib/ipsec/charon", 12, "/run/charon.vici"), "ok", "unix:///run/charon.vici"),
    ],
)
def test_ike(ike: finder.Ike, state: str, said: str) -> None:
    found = row(judged(ike=ike), "ike")
    assert found.state == state
    assert said in found.detail
    assert (found.command is None) is (state == "ok")


def test_the_key_daemon() -> None:
    report = judged(keys=finder.KeyDaemon(("vici",), None))
    assert report.ready
    assert row(report, "vici").command == "pip install 'wsasec[keys]'"
    assert row(report, "daemon").command == "wsasec up"
    assert row(judged(), "daemon").detail == "up, process 8"


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


def test_weak_profiles_are_marked() -> None:
    """A profile with old algorithms is nobody's default by accident; what is weak in it is named."""
    found = finder.ProfileFiles(
        ("/etc/wsasec/wsasec.toml",),
        (profiles.DEFAULT,),
        profiles.DEFAULT.name,
        weak=(("old", ("null", "sha1")),),
    )
    report = judged(profiles=found)
    (row,) = (row for row in report.rows if row.id == "profiles")
    assert row.state == "warn"
    assert row.detail.endswith("; old is weak: null, sha1")
