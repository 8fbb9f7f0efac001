"""The protocol in Python is that of the C header, and the numbers in answers are the C library's."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

from wsasec.daemon import codes, protocol
from wsasec.keys.reason import Reason

ROOT = Path(__file__).parents[3]
PROGRAM = """\
#include <stddef.h>
#include <stdio.h>
#include "linux/daemon_protocol.h"
#define NUMBER(name) printf(#name " %lld\\n", (long long)(name));
#define OFFSET(type, member) printf(#member " %zu\\n", offsetof(struct wsasec_daemon_##type, member));
int main(void)
{
    printf("%s\\n%s\\n", WSASEC_DAEMON_FOLDER, WSASEC_DAEMON_VARIABLE);
"""


def run_c(tmp_path: Path, body: str) -> list[str]:
    source = tmp_path / "numbers.c"
    source.write_text(PROGRAM + body + "    return 0;\n}\n")
    program = tmp_path / "numbers"
    subprocess.run(
        ["cc", "-std=c11", f"-I{ROOT}/include", f"-I{ROOT}/src", "-o", str(program), str(source)], check=True
    )
    return subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout.splitlines()


def test_constants(tmp_path: Path) -> None:
    wanted = {
        "WSASEC_DAEMON_MAGIC": protocol.MAGIC,
        "WSASEC_DAEMON_LARGEST": protocol.LARGEST,
        "WSASEC_DAEMON_DESCRIPTORS": protocol.DESCRIPTORS,
        "WSASEC_DAEMON_MORE": protocol.Flag.MORE,
        "WSASEC_DAEMON_NAME_RAW": protocol.NameFlag.RAW,
        "WSASEC_DAEMON_NAME_OPTIONAL": protocol.NameFlag.OPTIONAL,
        **{f"WSASEC_DAEMON_ABORT_{flag.name}": int(flag) for flag in protocol.AbortFlag if flag},
        **{f"WSASEC_DAEMON_{kind.name}": int(kind) for kind in protocol.Kind},
        **{f"WSASEC_REASON_{reason.name}": int(reason) for reason in Reason},
        "WSASEC_REASON_NOT_A_SOCKET": codes.NOT_A_SOCKET,
        "WSASEC_STEP_DAEMON": codes.STEP_DAEMON,
        "WSASEC_STEP_NEGOTIATE": codes.STEP_NEGOTIATE,
    }
    folder, variable, *lines = run_c(tmp_path, "".join(f"    NUMBER({name})\n" for name in wanted))
    assert (folder, variable) == (protocol.FOLDER, protocol.VARIABLE)
    assert {line.split()[0]: int(line.split()[1]) for line in lines} == wanted


@pytest.mark.parametrize(
    ("name", "layout", "members"),
    [
        ("header", protocol.HEADER, "magic kind flags id length"),
        ("question", protocol.QUESTION, "milliseconds flags peer"),
        ("secured", protocol.SECURED, "first count reserved"),
        ("verdict", protocol.VERDICT, "code reason step detail"),
        (
            "association",
            protocol.ASSOCIATION,
            (
                "verdict flags protocol mm_sa_id qm_sa_id bytes_in bytes_out packets_in packets_out age "
                "rekey_in spi_in spi_out encryption_bits integrity_bits esn reqid end_of_encryption "
                "end_of_integrity end_of_identity end_of_own end_of_profile end_of_certificate"
            ),
        ),
        ("account", protocol.ACCOUNT, "verdict uid gid group_count name_length identity_length reserved"),
    ],
    ids=str,
)
def test_layouts(tmp_path: Path, name: str, layout: struct.Struct, members: str) -> None:
    """Each member is where the Python format has it."""
    body = f"    NUMBER(sizeof(struct wsasec_daemon_{name}))\n"
    body += "".join(f"    OFFSET({name}, {member})\n" for member in members.split())
    _, _, size, *lines = run_c(tmp_path, body)
    assert int(size.split()[-1]) == layout.size
    offsets = [int(line.split()[-1]) for line in lines]
    parts = re.findall(r"(\d*)([a-zA-Z])", layout.format.removeprefix("="))
    found, at = [], 0
    for count, kind in parts:
        for _ in range(1 if kind == "s" else int(count or 1)):
            found.append(at)
            at += struct.calcsize(f"={count if kind == 's' else ''}{kind}")
    assert found == offsets
