"""Names of hosts."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["host_name"]

_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def host_name(text: str) -> str:
    """Return a host's name in small letters.

    Raises:
        ValueError: it is no DNS name.
    """
    name = text.lower()
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise ValueError(f"{text!r} is not a DNS name, such as a.example: letters, digits, dashes, dots")
    return name
