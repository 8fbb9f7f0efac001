"""Kinds of values that are made of others: lists and tables."""
# ruff: noqa: D102 - `Kind` says what the methods of all of them do.

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import said
from .kinds import Fault, Kind, Schema
from .positions import Place

__all__ = ["Many", "Named", "Table"]


@dataclass(frozen=True)
class Many:
    """A list of values of one kind."""

    of: Kind
    least: int = 0

    def faults(self, value: Any, at: Place) -> Iterator[Fault]:
        if not isinstance(value, list):
            yield at, f"{said(value)} is not a list: [...]"
            return
        if len(value) < self.least:
            yield at, "the list is empty"
        for number, item in enumerate(value):
            yield from self.of.faults(item, (*at, number))

    def schema(self) -> Schema:
        return {"type": "array", "items": self.of.schema()} | ({"minItems": self.least} if self.least else {})


@dataclass(frozen=True)
class Table:
    """A table of known keys.

    Attributes:
        keys: of what kind each is.
        required: keys that must be there.
        one_of: keys of which exactly one must be there.
        some_of: keys of which one or more must be there.
        not_both: keys of which only one may be there.
        together: keys that are both there, or neither.
        alone: keys, and those which cannot be beside them.
        header: how it is written, for errors.
    """

    keys: Mapping[str, Kind]
    header: str
    required: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    some_of: tuple[str, ...] = ()
    not_both: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    alone: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def faults(self, value: Any, at: Place) -> Iterator[Fault]:
        if not isinstance(value, dict):
            yield at, f"it is a table: {self.header}"
            return
        for key in value:
            if key not in self.keys:
                near = difflib.get_close_matches(key, self.keys, 1)
                hint = f", did you mean {near[0]}?" if near else ";"
                yield (*at, key), f"unknown key{hint} Known are {', '.join(self.keys)}"
        for key in self.required:
            if key not in value:
                yield (*at, key), "missing"
        yield from self._between(value, at)
        for key, kind in self.keys.items():
            if key in value:
                yield from kind.faults(value[key], (*at, key))

    def _between(self, value: dict[str, Any], at: Place) -> Iterator[Fault]:
        for keys, most in ((self.one_of, 1), (self.some_of, len(self.some_of)), (self.not_both, 1)):
            there = [key for key in keys if key in value]
            if keys and not there and keys is not self.not_both:
                yield at, f"{'one' if most == 1 else 'some'} of {', '.join(keys)} is missing"
            if len(there) > most:
                yield (*at, there[1]), f"{there[0]} is there, too: only one of {', '.join(keys)} can be"
        for key, others in self.alone.items():
            for other in others if key in value else ():
                if other in value:
                    yield (*at, other), f"{key} is there, too, which says that"
        there = [key for key in self.together if key in value]
        for key in self.together:
            if there and key not in there:
                yield (*at, there[0]), f"it needs {key}, too"

    def schema(self) -> Schema:
        found: Schema = {
            "type": "object",
            "additionalProperties": False,
            "properties": {key: kind.schema() for key, kind in self.keys.items()},
        }
        if self.required:
            found["required"] = list(self.required)
        if self.one_of:
            found["oneOf"] = [{"required": [key]} for key in self.one_of]
        if self.some_of:
            found["anyOf"] = [{"required": [key]} for key in self.some_of]
        if self.not_both:
            found["not"] = {"required": list(self.not_both)}
        if self.alone:
            found["dependentSchemas"] = {
                key: {"not": {"anyOf": [{"required": [other]} for other in others]}}
                for key, others in self.alone.items()
            }
        if self.together:
            found["dependentRequired"] = {
                key: [other for other in self.together if other != key] for key in self.together
            }
        return found


@dataclass(frozen=True)
class Named:
    """Tables by names that are free, some of which have a kind of their own."""

    of: Table
    name: str
    what: str
    special: Mapping[str, Table] = field(default_factory=dict)

    def faults(self, value: Any, at: Place) -> Iterator[Fault]:
        if not isinstance(value, dict):
            yield at, f"{self.what}s are tables: {self.of.header}"
            return
        for name, table in value.items():
            if not isinstance(table, dict):
                yield (*at, name), f"a {self.what} is a table: {self.of.header}"
            elif not re.fullmatch(self.name, name):
                yield (
                    (*at, name),
                    f"name: {said(name)} is not 1 to 63 letters, digits, dots, dashes, underscores",
                )
            else:
                yield from self.special.get(name, self.of).faults(table, (*at, name))

    def schema(self) -> Schema:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^(?:{self.name})$"},
            "properties": {name: table.schema() for name, table in self.special.items()},
            "additionalProperties": self.of.schema(),
        }
