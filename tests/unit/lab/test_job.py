"""What goes to the guest arrives as it was, and only what may."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsasec.lab.job import Job, chosen_environment

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


def read_by_bash(job: Job, variable: str) -> list[bytes]:
    script = f'eval "$1"; printf "%s\\0" "${{{variable}[@]}}"'
    done = subprocess.run(
        ["bash", "-c", script, "_", job.shell()],
        capture_output=True,
        check=True,
        timeout=30,
        env={"LC_ALL": "C"},
    )
    return done.stdout.split(b"\0")[:-1]


@settings(max_examples=40)
@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), TEXT, min_size=1), TEXT)
def test_bash_reads_back_what_was_written(environment, cwd):
    job = Job(["true"], ["python"], cwd, environment)
    assert read_by_bash(job, "environment") == [f"{k}={v}".encode() for k, v in environment.items()]
    assert read_by_bash(job, "cwd") == [cwd.encode()]


def test_bytes_that_are_no_utf8_survive():
    name = b"caf\xe9".decode(errors="surrogateescape")
    job = Job([name], ["python"], name, {"WSASEC_X": name})
    assert json.loads(job.json())["argv"] == [name]
    done = subprocess.run(
        ["bash", "-c", 'eval "$1"; printf "%s" "$cwd"', "_", job.shell()],
        capture_output=True,
        check=True,
        timeout=30,
        env={"LC_ALL": "C"},
    )
    assert done.stdout == b"caf\xe9"


def test_a_zero_byte_is_refused():
    with pytest.raises(ValueError, match="zero byte"):
        Job(["x"], ["python"], "/", {"A": "\0"}).shell()


def test_secrets_stay_on_the_host():
    given_ = {
        "AWS_SECRET_ACCESS_KEY": "s",
        "GITHUB_TOKEN": "s",
        "SSH_AUTH_SOCK": "s",
        "HOME": "/home/u",
        "WSASEC_CONFIG": "/etc/x.toml",
        "PYTHONPATH": "/src",
        "LC_ALL": "C",
        "CI": "1",
        "PATH": "/opt/bin:/usr/bin",
    }
    chosen = chosen_environment(given_)
    assert "s" not in chosen.values()
    assert chosen["WSASEC_CONFIG"] == "/etc/x.toml"
    assert chosen["PYTHONPATH"] == "/src"
    assert chosen["HOME"] == "/tmp"
    assert chosen["PATH"].split(":")[:2] == ["/opt/bin", "/usr/bin"]
    assert "/usr/sbin" in chosen["PATH"].split(":")


def test_only_outermost_covered_paths_are_uncovered():
    needed = ["/tmp/v", "/tmp/v/lib/python", "/usr/lib", "/run/x/y", "/tmpfile", "/tmp"]
    assert Job(["x"], ["p"], "/tmp/w", {}, needed=needed).covered() == ["/run/x/y", "/tmp/v", "/tmp/w"]
