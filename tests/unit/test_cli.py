"""The command line: what it says of itself, and what is for Linux."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import wsasec
from wsasec.cli import main


def test_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wsasec", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == f"wsasec {wsasec.__version__}"
    assert done.stderr == ""


def test_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--cflags", "--libs"]) == 0
    said = capsys.readouterr().out
    assert str(Path(wsasec.get_include())) in said.replace("'", "")
    assert str(Path(wsasec.get_library_dir())) in said.replace("'", "")
    assert ("ws2_32" in said) is (sys.platform == "win32")


def test_the_file_for_pkg_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--pkgconfigdir"]) == (1 if sys.platform == "win32" else 0)
    said = capsys.readouterr()
    assert "for Linux" in said.err if sys.platform == "win32" else not said.err


@pytest.mark.parametrize("words", [["run", "--timeout", "5", "--", "x", "-y"], ["run"], []])
def test_the_lab(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """On Windows it says so, whatever is wanted of it; on Linux a command is wanted."""
    if sys.platform == "win32":
        assert main(["lab", *words]) == 125
        assert capsys.readouterr().err.startswith("wsasec lab: it is for Linux")
        return
    with pytest.raises(SystemExit) as caught:
        main(["lab", *words[:1]])
    assert caught.value.code == 2


@pytest.mark.parametrize("words", [["ca"], ["host", "a.example", "--days", "5"], []])
def test_certificates_on_windows(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, whatever is wanted of it; on Linux something must be wanted."""
    if sys.platform == "win32":
        assert main(["init", *words]) == 1
        assert capsys.readouterr().err.startswith("wsasec init: it is for Linux")
        return
    with pytest.raises(SystemExit) as caught:
        main(["init"])
    assert caught.value.code == 2
