"""The JSON schema says what the loader says."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from wsasec import ConfigError
from wsasec.config import schema
from wsasec.config.load import load

VALIDATOR = jsonschema.Draft202012Validator(schema.schema())
FOLDER = Path(__file__).parent / "files"


def test_the_file_is_what_the_keys_come_to() -> None:
    """If not: python -m wsasec.config.schema, and copy what it wrote."""
    text = resources.files("wsasec.config").joinpath("schema.json").read_text()
    assert text == schema.as_text()
    jsonschema.Draft202012Validator.check_schema(json.loads(text))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("good-*.toml")), ids=lambda path: path.stem)
def test_both_take_it(path: Path) -> None:
    VALIDATOR.validate(tomllib.loads(path.read_text()))
    load(path)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("bad-*.toml")), ids=lambda path: path.stem)
def test_both_refuse_it(path: Path) -> None:
    """The line with the error ends with a comment that says what the loader says."""
    text = path.read_text()
    assert not VALIDATOR.is_valid(tomllib.loads(text))
    with pytest.raises(ConfigError) as caught:
        load(path)
    (line,) = (number for number, line in enumerate(text.splitlines(), 1) if "# error: " in line)
    assert caught.value.line == line
    assert text.splitlines()[line - 1].partition("# error: ")[2] in str(caught.value)


def test_there_are_files_of_both_kinds() -> None:
    assert len(list(FOLDER.glob("good-*.toml"))) >= 4
    assert len(list(FOLDER.glob("bad-*.toml"))) >= 12
