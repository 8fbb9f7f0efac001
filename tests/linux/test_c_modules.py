"""Extension modules in Cython and C, built against the installed package as users do it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import wsasec
from wsasec import Winsock, _wsasec

SOURCES = Path(__file__).parent / "capi"

Build = Callable[[str], Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a function that builds what setup.py calls by a name, once, and returns its folder."""
    if not shutil.which("g++"):
        pytest.skip("no g++: apt-get install g++")
    built: dict[str, Path] = {}

    def build_one(name: str) -> Path:
        if name not in built:
            # Each in a folder of its own: the object files of all have the same names.
            folder = shutil.copytree(SOURCES, tmp_path_factory.mktemp(name) / "client")
            (folder / name).mkdir()
            command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
            subprocess.run(command, cwd=folder, env=os.environ | {"MODULE": name}, check=True, timeout=300)
            built[name] = folder
        return built[name]

    return build_one


def python(folder: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a new interpreter, beside what was built."""
    return subprocess.run(
        [sys.executable, "-W", "ignore::RuntimeWarning", "-c", script],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def succeeded(process: subprocess.CompletedProcess[str]) -> bool:
    sys.stderr.write(process.stderr)
    return process.returncode == 0


def test_batches_in_cython(build: Build) -> None:
    script = """
import socket, client
for family in socket.AF_INET, socket.AF_INET6:
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        # again: sockets that were secured before are refused
        assert client.batch(500, family, kind, 499) == (0, "default", 500)
# the specification is checked in the library
assert client.batch(500, socket.AF_UNIX, socket.SOCK_STREAM, 0)[0] == 500
"""
    assert succeeded(python(build("cython"), script))


def test_codes_in_cython(build: Build) -> None:
    script = f"""
import socket, client
with socket.socket() as sock:
    code, text = client.secure(sock.fileno(), flags=1 << 31)
    assert code == -{Winsock.WSAEINVAL:d} and "SecurityFlags" in text, (code, text)
    assert client.secure(sock.fileno())[0] == 0
    assert client.secure(sock.fileno())[0] == -{Winsock.WSAEINVAL:d}
    assert client.the_other_five(sock.fileno()) == (
        -{Winsock.WSAEFAULT:d}, -{Winsock.WSAEFAULT:d}, -{Winsock.WSAEFAULT:d},
        -{Winsock.WSAENOTCONN:d}, 0,
    ), client.the_other_five(sock.fileno())
assert client.secure(-1)[0] == -{Winsock.WSAENOTSOCK:d}
"""
    assert succeeded(python(build("cython"), script))


def test_cython_and_python_share_what_they_know(build: Build) -> None:
    script = """
import array, socket, client, wsasec
socks = [socket.socket() for _ in range(100)]
wsasec.secure(socks[7])
assert client.secure_by_job(array.array("i", [sock.fileno() for sock in socks])) == (100, 1)
assert {wsasec._wsasec.profile_of(sock) for sock in socks} == {"default"}
try:
    wsasec.secure(socks[0])
except wsasec.SecurityError as error:
    assert "before" in str(error) or "already" in str(error), error
else:
    raise AssertionError
"""
    assert succeeded(python(build("cython"), script))


def test_the_profiles_are_read(build: Build, tmp_path: Path) -> None:
    config = tmp_path / "site.toml"
    config.write_text(
        'default = "site"\n[profile.site]\nguid = "0b8d4d3c-6a53-4b57-9b7e-3a54a2a4a001"\n'
        "reqid = 300\nmark = 0x58000000\nmask = 0xff000000\n"
    )
    # Nothing but the import of the module says that the profiles are to be read.
    script = "import client; assert client.batch(10, 2, 1, 5) == (0, 'site', 10)"
    assert succeeded(python(build("cython"), script, WSASEC_CONFIG=str(config)))
    config.write_text('default = "nowhere"\n')
    failed = python(build("cython"), script, WSASEC_CONFIG=str(config))
    assert failed.returncode == 1
    assert "ConfigError" in failed.stderr
    assert "nowhere" in failed.stderr


@pytest.mark.parametrize("name", ["plain", "limited", "cplusplus"])
def test_modules_in_c(build: Build, name: str) -> None:
    script = f"""
import socket, wsasec
from {name} import module
with socket.socket() as sock:
    assert module.secure(sock.fileno()) == 0
    assert wsasec._wsasec.profile_of(sock) == "default"
    assert module.secure(sock.fileno()) == -{Winsock.WSAEINVAL:d}
assert module.secure(-1) == -{Winsock.WSAENOTSOCK:d}
"""
    assert succeeded(python(build(name), script))


def test_a_module_for_another_version_is_refused(build: Build) -> None:
    failed = python(build("version"), "from version import module")
    assert failed.returncode == 1
    assert "ImportError: the module was compiled for version 4294967295" in failed.stderr
    assert wsasec.get_include() in failed.stderr


def test_a_module_for_a_newer_wsasec_is_refused() -> None:
    with pytest.raises(ImportError, match="upgrade wsasec"):
        _wsasec.c_api(1, 1 << 16)
    # An older one, which knows fewer functions, is served.
    assert "wsasec.api" in repr(_wsasec.c_api(1, 64))


def test_a_forgotten_import_ends_with_a_message(build: Build) -> None:
    failed = python(build("forgotten"), "from forgotten import module; module.secure(0)")
    assert failed.returncode == -signal.SIGABRT
    assert "import_wsasec() was not called" in failed.stderr


def test_cimport_has_all_functions_of_the_table() -> None:
    include = Path(wsasec.get_include())
    package = Path(wsasec.__file__).parent
    table = (include / "wsasec_api.h").read_text()
    names = {line.split("(*")[1].split(")")[0] for line in table.splitlines() if "(*" in line}
    assert len(names) > 20
    header = (include / "wsasec_capi.h").read_text()
    declarations = (package / "__init__.pxd").read_text()
    for name in names:
        assert f"#define wsasec_{name} (wsasec_api_checked()->{name})\n" in header
        assert f"wsasec_{name}(" in declarations


def test_cimport_has_all_constants_of_the_headers() -> None:
    def constants(text: str) -> set[str]:
        found = re.findall(r"\bWSASEC_[A-Z0-9_]*[A-Z0-9]\b", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
        return {name for name in found if not name.endswith(("_H", "_COUNT"))}

    include = Path(wsasec.get_include())
    headers = "".join((include / f"wsasec{name}.h").read_text() for name in ("", "_types", "_batch"))
    declarations = (Path(wsasec.__file__).parent / "__init__.pxd").read_text()
    assert "WSASEC_CAPABILITY_ESP4" in constants(headers)
    assert constants(declarations) == constants(headers)
