"""Which profiles are weak, and by what."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsasec.config.document import read
from wsasec.config.weak import weaknesses

HEAD = """\
[profile.other]
guid = "0b8d4d3c-6a53-4b57-9b7e-3a54a2a4a001"
reqid = 300
mark = 0x58000000
mask = 0xff000000
protection = "integrity-only"
"""


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("", []),
        ('proposals = ["aes256gcm16-esn", "aes128-sha256"]', []),
        ('proposals = ["aes128-sha1", "3des-md5"]', ["sha1", "3des", "md5"]),
        ('proposals = ["null-sha256"]', ["null"]),
        ('ike_proposals = ["aes128-sha256-modp1024"]', ["modp1024"]),
        ('ah_proposals = ["sha256"]', []),
        ("trust = { anonymous = true }", ["peers without an identity"]),
        (
            'policy = "windows-vista-default"',
            ["sha1", "3des", "modp1024", "null", "peers without an identity"],
        ),
    ],
)
def test_what_is_weak(tmp_path: Path, lines: str, found: list[str]) -> None:
    path = tmp_path / "wsasec.toml"
    path.write_text(HEAD + lines + "\n")
    assert weaknesses(read(path)) == ({"other": found} if found else {})


def test_what_is_weak_in_all_profiles(tmp_path: Path) -> None:
    """The default one needs no table, and one with trust of its own does not have the file's."""
    path = tmp_path / "wsasec.toml"
    path.write_text("[trust]\nanonymous = true\n" + HEAD)
    words = ["peers without an identity"]
    assert weaknesses(read(path)) == {"default": words, "other": words}
    path.write_text(path.read_text() + 'trust = { ca = ["ca.crt"] }\n')
    assert weaknesses(read(path)) == {"default": words}
