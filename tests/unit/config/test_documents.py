"""docs/configuration.md has every key and every keyword, and its example can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wsasec import profiles
from wsasec.config import fields, proposals
from wsasec.config.model import ESP_PROPOSALS, IKE_PROPOSALS
from wsasec.config.tables import Table

TEXT = (Path(__file__).parents[3] / "docs/configuration.md").read_text()
SECTIONS = dict(re.findall(r"^## `(\[+[a-z]+[^`]*)`[^\n]*\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(
    ("section", "table"),
    [
        ("[identity]", fields.IDENTITY),
        ("[trust]", fields.TRUST),
        ("[profile.NAME]", fields.PROFILE),
        ("[[access]]", fields.ACCESS),
        ("[[account]]", fields.ACCOUNT),
        ("[daemon]", fields.DAEMON),
    ],
)
def test_every_key(section: str, table: Table) -> None:
    rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", SECTIONS[section], re.MULTILINE)
    assert re.findall("[a-z_]+", " ".join(rows)) == list(table.keys)


def test_every_keyword() -> None:
    for words in (
        proposals.AEAD,
        proposals.CIPHERS,
        proposals.NO_CIPHER,
        proposals.INTEGRITY,
        proposals.PRFS,
        proposals.GROUPS,
        proposals.EXTENDED,
        ESP_PROPOSALS,
        IKE_PROPOSALS,
    ):
        assert [word for word in words if f"`{word}`" not in TEXT] == []


def test_the_example(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    path = tmp_path / "wsasec.toml"
    path.write_text(example)
    assert set(profiles.load([path])) == {"default", "site"}
