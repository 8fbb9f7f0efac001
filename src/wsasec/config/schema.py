"""The JSON schema of the file, for editors and other tools: schema.json is made by this.

What one value has to do with another is not in it, such as an algorithm that needs a second one: the loader
tells those.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from .fields import WHOLE
from .kinds import Schema

__all__ = ["FILE", "as_text", "schema"]

FILE: Final = Path(__file__).with_name("schema.json")


def schema() -> Schema:
    """Return the schema, made of the keys that the loader knows."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wsasec.toml",
        **WHOLE.schema(),
    }


def as_text() -> str:
    """Return the schema as schema.json has it."""
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(as_text())
