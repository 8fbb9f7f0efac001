"""What the guest's starter says before there is a guest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wsasec.lab import LabError, uml
from wsasec.lab.identity import first_denied
from wsasec.lab.runner import run


@pytest.mark.parametrize(("text", "size"), [("512M", 512), ("1G", 1024), ("2 GiB", 2048), ("256mb", 256)])
def test_sizes(text, size):
    assert uml.memory_megabytes(text) == size


@pytest.mark.parametrize("text", ["", "1", "64M", "G", "-1G", "1.5G", "1T", "9999999M"])
def test_sizes_that_are_none(text):
    with pytest.raises(ValueError, match="memory"):
        uml.memory_megabytes(text)


def test_missing_packages_are_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(uml, "_SYSTEM_PATH", str(tmp_path))
    with pytest.raises(LabError) as caught:
        uml.run_uml(["true"], timeout=1, memory="1G", results=None)
    for package in ("user-mode-linux", "kmod", "iproute2"):
        assert package in str(caught.value)
    assert caught.value.remedy == "apt-get install user-mode-linux kmod iproute2"


def test_only_the_missing_package_is_named(tmp_path, monkeypatch):
    for tool in ("linux.uml", "ip"):
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(uml, "_SYSTEM_PATH", str(tmp_path))
    with pytest.raises(LabError, match="a guest kernel needs: kmod;"):
        uml.run_uml(["true"], timeout=1, memory="1G", results=None)


def test_missing_modules_are_said(tmp_path, monkeypatch):
    for tool in ("linux.uml", "ip", "modprobe"):
        (tmp_path / tool).write_text("#!/bin/sh\necho 0.0.1-none\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(uml, "_SYSTEM_PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"no modules for .*0\.0\.1-none"):
        uml.run_uml(["true"], timeout=1, memory="1G", results=None)


def test_no_room_for_memory_is_said():
    with pytest.raises(LabError, match="--memory less"):
        uml._memory_folder(1 << 40, others=False)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="argv"):
        run([])
    with pytest.raises(ValueError, match="timeout"):
        run(["true"], timeout=0)


def test_results_leave_links_behind(tmp_path):
    source, target = tmp_path / "s", tmp_path / "t"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "plain").write_text("x")
    (source / "file").symlink_to("/etc/passwd")
    (source / "folder").symlink_to("/etc")
    os.mkfifo(source / "pipe")
    uml._copy_results(source, target)
    assert sorted(str(p.relative_to(target)) for p in target.rglob("*")) == ["sub", "sub/plain"]


def test_the_part_that_stops_a_user_is_named(tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    for part in (tmp_path, tmp_path / "a", deep):
        part.chmod(0o755)
    (tmp_path / "a").chmod(0o700)
    owner = tmp_path.stat().st_uid
    assert first_denied(deep, owner + 1, frozenset()) in {tmp_path / "a", *tmp_path.parents}
    closed = Path("/proc/1")  # anyone may look into it
    assert first_denied(closed, 12345, frozenset()) == closed
