"""A C program without Python, against the installed package."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import wsasec
from wsasec.cli import main

SOURCE = Path(__file__).parent / "capi/program.c"
STRICT = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]


@pytest.fixture
def config(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    def flags(*options: str) -> list[str]:
        assert main(["config", *options]) == 0
        return shlex.split(capsys.readouterr().out)

    return flags


def compile_and_run(tmp_path: Path, before: list[str], after: list[str]) -> None:
    program = tmp_path / "program"
    compiler = shutil.which("cc") or pytest.skip("no cc: apt-get install gcc")
    command = [compiler, *STRICT, *before, str(SOURCE), "-o", str(program), *after]
    subprocess.run(command, check=True, timeout=120)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "all as it should be\n", "")


def test_by_wsasec_config(tmp_path: Path, config: Callable[..., list[str]]) -> None:
    compile_and_run(tmp_path, config("--cflags"), config("--libs"))


def test_by_pkg_config(tmp_path: Path, config: Callable[..., list[str]]) -> None:
    program = shutil.which("pkg-config") or pytest.skip("no pkg-config: apt-get install pkgconf")
    environment = os.environ | {"PKG_CONFIG_PATH": config("--pkgconfigdir")[0]}

    def flags(option: str) -> list[str]:
        command = [program, option, "wsasec"]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout.split()

    compile_and_run(tmp_path, flags("--cflags"), flags("--libs"))


def test_config_wants_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["config"])
    assert ended.value.code == 2
    assert "--cflags" in capsys.readouterr().err


def test_the_library_holds_the_c_code_and_nothing_of_python() -> None:
    archive = Path(wsasec.get_library_dir()) / "libwsasec.a"
    listed = subprocess.run(
        ["ar", "t", str(archive)], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert {"secure.o", "job.o", "guard.o"} <= set(listed)
    # src/core and src/linux have files of the same names.
    assert all(listed.count(name) <= 2 for name in listed)
    symbols = subprocess.run(
        ["nm", str(archive)], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert "wsasec_secure_many" in symbols
    assert not any(symbol.startswith(("Py", "_Py", "__pyx")) for symbol in symbols)
