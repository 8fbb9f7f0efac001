"""Which cryptography the engine takes where a library does not give the known answers; it says so."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from wsasec.engine import Control

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENGINE = ROOT / "src/engine"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The engine, with the libraries as shared ones, and what breaks them."""
    if not ENGINE.is_dir() or not shutil.which("gcc"):
        pytest.skip("no C sources, or no gcc: run from the source tree, apt-get install gcc")
    for header in ("openssl/evp.h", "intel-ipsec-mb.h"):
        if not (Path("/usr/include") / header).exists():
            pytest.skip(f"no {header}: apt-get install libssl-dev libipsec-mb-dev")
    folder = tmp_path_factory.mktemp("crypto")
    command = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-pthread", "-DWSE_HAVE_IPSEC_MB=1", f"-I{ENGINE}"]
    command += [f"-I{ROOT / 'include'}", *map(str, sorted(ENGINE.glob("*.c"))), "-lIPSec_MB", "-lcrypto"]
    subprocess.run([*command, "-o", str(folder / "engine")], check=True, timeout=600)
    command = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    command += [str(HERE / "c/broken_library.c"), "-o", str(folder / "broken.so")]
    subprocess.run(command, check=True, timeout=120)
    return folder / "engine", folder / "broken.so"


def start(program: Path, *arguments: str, **environment: str) -> tuple[str, int, str]:
    """Return what `hello` says of the cryptography, or nothing, how the engine ended, and its log."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [str(program), "--control-fd", str(its.fileno()), *arguments],
            pass_fds=[its.fileno()],
            stderr=subprocess.PIPE,
            env=os.environ | environment,
        )
    with Control(ours, timeout=60.0) as control:
        try:
            said = control.hello().crypto
            control.stop()
        except ConnectionError:
            said = ""
        log = process.communicate(timeout=60)[1].decode()
    return said, process.returncode, log


def test_a_library_that_is_wrong_is_told_of(built: tuple[Path, Path]) -> None:
    program, broken = built
    said, code, log = start(program)
    if not said.startswith("ipsec-mb"):
        pytest.skip("ipsec-mb does not fit this processor")
    assert (code, log) == (0, "")
    other, code, log = start(program, LD_PRELOAD=str(broken))
    assert other.startswith("OpenSSL")
    assert (code, log) == (0, f"wsasec-engine: {said} does not give the known answers, and is not used\n")


def test_without_any_that_is_right_it_does_not_start(built: tuple[Path, Path]) -> None:
    program, broken = built
    right = start(program, "--crypto", "OpenSSL")[0]
    said, code, log = start(program, "--crypto", "OpenSSL", LD_PRELOAD=str(broken), BROKEN_OPENSSL="1")
    assert (said, code) == ("", 1)
    assert log.startswith(f"wsasec-engine: {right} does not give the known answers, and is not used\n")
    assert "it cannot start" in log
