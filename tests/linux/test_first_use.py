"""What a process does before its first socket: once, and whatever it did with profiles before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wsasec.lab import Namespace, kernel_has_esp

WARNED = """
import socket, sys, warnings
import wsasec
from wsasec import profiles
if sys.argv[1] == "profiles first":
    profiles.use(profiles.load([]))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        wsasec.secure(socket.socket())
print(sum(issubclass(w.category, wsasec.SecurityWarning) for w in caught))
"""


def test_a_kernel_without_esp_is_told_once(realm: Namespace) -> None:
    for first in ("secure first", "profiles first"):
        done = realm.run([sys.executable, "-W", "ignore::ResourceWarning", "-c", WARNED, first])
        assert done.stdout.strip() == ("0" if kernel_has_esp() else "1")


def test_a_wrong_profile_file_stops_the_first_call(realm: Namespace, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("defualt = 1\n")
    code = "import socket, wsasec; wsasec.secure(socket.socket())"
    done = realm.run(["env", f"WSASEC_CONFIG={file}", sys.executable, "-c", code], check=False)
    assert done.returncode == 1
    assert f"{file}:1: defualt: unknown key" in done.stderr
    subprocess.run([sys.executable, "-c", "import wsasec"], check=True)
