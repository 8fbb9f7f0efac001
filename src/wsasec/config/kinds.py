"""Kinds of values: how each is checked, and how a JSON schema says the same."""
# ruff: noqa: D102 - `Kind` says what the methods of all of them do.

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from .errors import said
from .positions import Place

__all__ = [
    "Choice",
    "Fault",
    "Flag",
    "Guid",
    "Kind",
    "NameOrNumber",
    "Network",
    "Number",
    "Proposal",
    "Schema",
    "Seconds",
    "Text",
]

Schema: TypeAlias = dict[str, Any]
Fault: TypeAlias = tuple[Place, str]


class Kind(Protocol):
    """A kind of value."""

    def faults(self, value: Any, at: Place) -> Iterator[Fault]:
        """Tell what is wrong with a value, and where."""

    def schema(self) -> Schema:
        """Return the JSON schema of such values."""


@dataclass(frozen=True)
class Text:
    """A string; what it says is not shown, as a secret might be put where its file's name belongs."""

    what: str
    pattern: str = r"[^\x00-\x1f\x7f]+"

    def faults(self, value: Any, at: Place) -> Iterator[Fault]:
        if not isinstance(value, str):
            yield at, f"not {self.what}, which is a string"
        elif not re.fullmatch(self.pattern, value):
            yield at, f"not {self.what}"

    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^(?:{self.pattern})$", "description": self.what}


_GUID: Final = r"[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}"


@dataclass(frozen=True)
class Guid:
    """A GUID, with or without braces and dashes."""

    def faults(self, value: Any, at: Place) -> Iterator[Fault]:
        if not isinstance(value, str) or not re.fullmatch(f"(?:{_GUID}|{{{_GUID}}})", value):
            yield at, f"{said(value)} is not a GUID"
        elif not value.strip("{}0-"):
            yield at, "the zero GUID means 'no policy' and cannot name a profile"

    def schema(self) -> Schema:
        return {"type": "string", "pattern": rf"^(?:{_GUID}|\{{{_GUID}\}})$", "not": {"pattern": "^[{}0-]*$"}}


@dataclass(frozen=True)
class Number:
    """A whole number."""

    low: int
    high: int
    what: str = ""
    hexadecimal: bool = False

    def faults(self, value: Any, at: Place) -> Iterator[Fault]:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            high = f"{self.high:#x}" if self.hexadecimal else str(self.high)
            yield at, f"{said(value)} is not a number from {self.low} to {high}{self._what()}"

    def _what(self) -> str:
        return f": {self.what}" if self.what else ""

    def schema(self) -> Schema:
        found: Schema = {"type": "integer", "minimum": self.low, "maximum": self.high}
        return found | ({"description": self.what} if self.what else {})


@dataclass(frozen=True)
class Seconds:
    """A time, which need not be whole."""

    low: float
    high: float
    what: str

    def faults(self, value: Any, at: Place) -> Iterator[Fault]:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.low <= value <= self.high:
            yield at, f"{said(value)} is not a number of seconds from {self.low} to {self.high}"

    def schema(self) -> Schema:
        return {"type": "number", "minimum": self.low, "maximum": self.high, "description": self.what}


@dataclass(frozen=True)
class Flag:
    """True or false; or only true, where leaving it out says the other."""

    what: str
    only_true: bool = False

    def faults(self, value: Any, at: Place) -> Iterator[Fault]:
        if not isinstance(value, bool):
            yield at, f"{said(value)} is neither true nor false"
        elif self.only_true and not value:
            yield at, "it can only be true; leave it out otherwise"

    def schema(self) -> Schema:
        return {"const": True} if self.only_true else {"type": "boolean", "description": self.what}


@dataclass(frozen=True)
class Choice:
    """One of a few words or numbers."""

    of: tuple[str | int, ...]

    def faults(self, value: Any, at: Place) -> Iterator[Fault]:
        if isinstance(value, bool) or not isinstance(value, str | int) or value not in self.of:
            words = [repr(word) for word in self.of]
            either = (
                f"neither {words[0]} nor {words[1]}" if len(words) == 2 else f"none of {', '.join(words)}"
            )
            yield at, f"{said(value)} is {either}"

    def schema(self) -> Schema:
        return {"enum": list(self.of)}


@dataclass(frozen=True)
class Network:
    """A network, or one address."""

    def faults(self, value: Any, at: Place) -> Iterator[Fault]:
        try:
            if not isinstance(value, str):
                raise ValueError("not a string")
            ipaddress.ip_network(value)
        except ValueError as error:
            yield (
                at,
                f"{said(value)} is not a network, such as 10.0.0.0/8 or 2001:db8::/32: {said(str(error))}",
            )

    def schema(self) -> Schema:
        return {"type": "string", "pattern": r"^[0-9A-Fa-f.:]+(?:/[0-9.]+)?$"}


@dataclass(frozen=True)
class NameOrNumber:
    """A user or a group, by its name or number."""

    what: str

    def faults(self, value: Any, at: Place) -> Iterator[Fault]:
        if isinstance(value, int) and not isinstance(value, bool):
            yield from Number(0, 0xFFFFFFFE).faults(value, at)
        else:
            yield from Text(f"the name or number of {self.what}", _ACCOUNT).faults(value, at)

    def schema(self) -> Schema:
        number = {"type": "integer", "minimum": 0, "maximum": 0xFFFFFFFE}
        return {"anyOf": [number, {"type": "string", "pattern": f"^(?:{_ACCOUNT})$"}]}


_ACCOUNT: Final = r"[^\x00-\x20\x7f:,/]{1,255}"


@dataclass(frozen=True)
class Proposal:
    """A proposal in strongSwan's keywords."""

    check: Callable[[str], object]
    words: tuple[str, ...]

    def faults(self, value: Any, at: Place) -> Iterator[Fault]:
        if not isinstance(value, str):
            yield at, f"{said(value)} is not a proposal, such as 'aes256gcm16-esn'"
            return
        try:
            self.check(value)
        except ValueError as error:
            yield at, f"{said(value)}: {error}"

    def schema(self) -> Schema:
        word = f"(?:{'|'.join(self.words)})"
        return {"type": "string", "pattern": f"^{word}(?:-{word})*$"}
