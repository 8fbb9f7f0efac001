"""What the filter of system calls refuses, and what nonsense over the control socket does: nothing."""

from __future__ import annotations

import random
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import ENGINE

HEADER = struct.Struct("=HHIII")
TYPES = range(1, 18)
# Bytes of the bodies of the requests.
SIZES = [0, 4, 8, 16, 32, 40, 64, 160]


def test_the_filter(tmp_path: Path) -> None:
    if not ENGINE.is_dir() or not shutil.which("gcc"):
        pytest.skip("no compiler, or no C sources beside the tests")
    program = tmp_path / "tried"
    sources = [Path(__file__).with_name("seccomp_tried.c"), ENGINE / "seccomp.c", ENGINE / "log.c"]
    command = [
        "gcc",
        "-std=c11",
        "-D_GNU_SOURCE",
        "-Wall",
        f"-I{ENGINE}",
        *map(str, sources),
        "-o",
        str(program),
    ]
    subprocess.run(command, check=True, timeout=120)
    done = subprocess.run(
        [str(program)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def nonsense(drawn: random.Random) -> bytes:
    size = drawn.choice(SIZES) if drawn.random() < 0.8 else drawn.randrange(200)
    body = bytearray(drawn.randbytes(size) if drawn.random() < 0.5 else bytes(size))
    for _ in range(drawn.randrange(4)):
        if body:
            body[drawn.randrange(len(body))] = drawn.choice([0, 1, 2, 3, 10, 127, 255])
    if drawn.random() < 0.05:
        return bytes(body)[: drawn.randrange(16)] or b"x"
    header = HEADER.pack(
        drawn.choices([1, 2], [50, 1])[0],
        drawn.choice([kind for kind in TYPES if kind != 7] + [0, 64, 128, 999]),  # all but STOP
        drawn.choices([drawn.randrange(1, 2**32), 0], [50, 1])[0],
        drawn.choices([0, 1], [50, 1])[0],
        drawn.choices([0, 1], [50, 1])[0],
    )
    return header + body


@pytest.mark.linux
def test_nonsense_is_refused(make_rig: Any, sanitized: Callable[[str], Path]) -> None:
    rig = make_rig(sanitized("address"))
    rig.both()
    drawn = random.Random(20)
    raw = rig.a.control._socket
    raw.settimeout(60)
    kept = {each.name for each in rig.a.control.sas()}
    for _ in range(3000):
        message = nonsense(drawn)
        kind = HEADER.unpack_from(message)[1] if len(message) >= 16 else 0
        if kind in (13, 16) or (kind == 3 and len(message) == 48):
            continue  # it may flush what is there, subscribe, or remove the device
        ancillary = []
        if drawn.random() < 0.1:
            with socket.socket() as other:
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", other.fileno()))]
                raw.sendmsg([message], ancillary)
        else:
            raw.sendmsg([message])
        while True:
            answer = raw.recv(40000)
            assert len(answer) >= 16
            if not HEADER.unpack_from(answer)[3] & 1:
                break
    assert kept <= {each.name for each in rig.a.control.sas()}
    assert rig.a.control.hello().pid == rig.a.process.pid
