"""`wsasec doctor` on Windows: what it makes of facts; these are made up, so that it can be told anywhere."""

from __future__ import annotations

import dataclasses
import json

import pytest

from wsasec import SecurityError, Winsock
from wsasec.doctor.report import Build, Report, Row
from wsasec.doctor.services import Service
from wsasec.doctor.windows_facts import LIBRARY, SERVICES, Facts, System, Trial, try_socket
from wsasec.doctor.windows_rows import judge


def good() -> Facts:
    """A system where nothing is missing."""
    return Facts(
        system=System("10.0.19045"),
        trials=(Trial("ipv4"), Trial("ipv6")),
        services=tuple(Service(name, "running") for name in SERVICES),
        build=Build("0.1.0", "CPython", "3.13.2", False, "_wsasec.pyd"),
    )


def judged(**changes: object) -> Report:
    return judge(dataclasses.replace(good(), **changes))  # type: ignore[arg-type]


def row(report: Report, name: str) -> Row:
    (found,) = [row for row in report.rows if row.id == name]
    return found


def refused(step: str, why: str = "no") -> tuple[Trial, Trial]:
    return Trial("ipv4", why=why, hint="do it", step=step), Trial("ipv6", why=why, hint="do it", step=step)


def test_nothing_missing() -> None:
    report = judged()
    assert report.ready
    assert {row.state for row in report.rows} == {"ok"}
    assert [row.command for row in report.rows] == [None] * len(report.rows)
    assert report.summary == "Sockets can be secured here."
    assert row(report, "system.release").detail == "Windows 10.0.19045"


def test_json_has_the_keys_that_it_has_on_linux() -> None:
    report = json.loads(json.dumps(judged().as_json()))
    assert list(report) == ["schema", "wsasec", "ready", "rows"]
    assert report["schema"] == 1
    assert {frozenset(row) for row in report["rows"]} == {frozenset({"id", "state", "detail", "command"})}


def test_wine() -> None:
    absent = tuple(Service(name, "absent") for name in SERVICES)
    trials = refused(LIBRARY, "this Wine does not implement the function")
    report = judged(system=System("10.0.19043", "8.0"), trials=trials, services=absent)
    assert not report.ready
    assert report.summary == "Sockets cannot be secured here."
    assert row(report, "system.release").detail.startswith("Wine 8.0, as Windows 10.0.19043")
    assert row(report, "library").state == "missing"
    assert "this Wine does not implement" in row(report, "library").detail
    assert row(report, "socket.ipv4").detail == "cannot be secured without fwpuclnt.dll"
    assert row(report, "service.IKEEXT").detail.startswith("this Wine has no such service")
    assert all(row.command is None for row in report.rows)


@pytest.mark.parametrize(
    ("state", "disabled", "command"),
    [
        ("stopped", False, "sc.exe start IKEEXT"),
        ("stopped", True, "sc.exe config IKEEXT start= demand"),
        ("starting", False, None),
    ],
)
def test_a_service_that_does_not_run(state: str, disabled: bool, command: str | None) -> None:
    services = (Service("BFE", "running"), Service("IKEEXT", state, disabled=disabled))
    report = judged(services=services)
    assert report.ready
    assert row(report, "service.IKEEXT").state == "warn"
    assert row(report, "service.IKEEXT").command == command
    assert report.summary == "Sockets can be secured here; not all services of IPsec run: IKEEXT."
    report = judged(services=services, trials=refused("WSASetSocketSecurity"))
    assert not report.ready
    assert row(report, "service.IKEEXT").state == "missing"
    assert row(report, "socket.ipv4").command == command
    assert row(report, "library").state == "ok"


def test_services_that_cannot_be_asked() -> None:
    report = judged(services=(Service("BFE", None, "Access is denied (5)"),))
    assert report.ready
    assert row(report, "service.BFE").state == "warn"
    assert row(report, "service.BFE").detail == "could not be asked: Access is denied (5)"
    assert report.summary == "Sockets can be secured here."


def test_no_ipv6() -> None:
    report = judged(trials=(Trial("ipv4"), Trial("ipv6", made=False, why="not supported")))
    assert report.ready
    assert row(report, "socket.ipv6").state == "warn"
    assert row(report, "library").state == "ok"


def test_no_sockets_at_all() -> None:
    report = judged(trials=tuple(Trial(family, made=False, why="no") for family in ("ipv4", "ipv6")))
    assert not report.ready
    assert row(report, "library").state == "warn"


def test_a_socket_is_tried_and_closed() -> None:
    seen = []

    def refuse(sock: object) -> None:
        seen.append(sock)
        raise SecurityError("it does not run", winsock=Winsock.WSAENETDOWN, hint="start it", step="x")

    assert try_socket("ipv4", refuse) == Trial(
        "ipv4", why="it does not run (WSAENETDOWN 10050)", hint="start it", step="x"
    )
    assert try_socket("ipv4", seen.append) == Trial("ipv4")
    assert [sock.fileno() for sock in seen] == [-1, -1]
