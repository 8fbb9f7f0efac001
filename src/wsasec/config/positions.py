"""Where in a TOML file its values are: tomllib does not tell."""

from __future__ import annotations

import re
import tomllib
from typing import Final, TypeAlias

__all__ = ["Place", "line_of", "positions"]

# The keys to a value, from the top of the file, and the number of an array's element, from 0.
Place: TypeAlias = tuple[str | int, ...]

_BLANK: Final = re.compile(r"[ \t]*")
_NOTHING: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_OTHER: Final = re.compile(r"[^,\]}\n#]*")


class _Scanner:
    """Goes through text that tomllib has read without an error."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Place, int] = {}
        self._counted = (0, 1)

    def peek(self, length: int = 1) -> str:
        return self.text[self.at : self.at + length]

    def skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def line(self) -> int:
        before, number = self._counted
        number += self.text.count("\n", before, self.at)
        self._counted = (self.at, number)
        return number

    def note(self, place: Place, line: int) -> None:
        """Keep the first place of each: a table that keys imply comes before its own header."""
        self.lines.setdefault(place, line)

    def key(self) -> tuple[str, ...]:
        parts = []
        while True:
            self.skip(_BLANK)
            if self.peek() in "\"'":
                parts.append(next(iter(tomllib.loads(self.skip(_STRING) + "=0"))))
            else:
                parts.append(self.skip(_BARE))
            self.skip(_BLANK)
            if self.peek() != ".":
                return tuple(parts)
            self.at += 1

    def pair(self, table: Place) -> None:
        line = self.line()
        place = table
        for part in self.key():
            place += (part,)
            self.note(place, line)
        self.at += 1  # the equals sign
        self.value(place)

    def value(self, place: Place) -> None:
        self.skip(_BLANK)
        first = self.peek()
        if first == "[":
            self.array(place)
        elif first == "{":
            self.inline(place)
        elif first in "\"'":
            self.skip(_STRING)
        else:
            self.skip(_OTHER)

    def array(self, place: Place) -> None:
        self.at += 1
        number = 0
        while True:
            self.skip(_NOTHING)
            if self.peek() == "]":
                break
            self.note((*place, number), self.line())
            self.value((*place, number))
            number += 1
            self.skip(_NOTHING)
            if self.peek() == ",":
                self.at += 1
        self.at += 1

    def inline(self, place: Place) -> None:
        self.at += 1
        while True:
            self.skip(_NOTHING)
            if self.peek() == "}":
                break
            self.pair(place)
            self.skip(_NOTHING)
            if self.peek() == ",":
                self.at += 1
        self.at += 1

    def document(self) -> None:
        table: Place = ()
        counts: dict[Place, int] = {}
        while True:
            self.skip(_NOTHING)
            if self.at >= len(self.text):
                return
            if self.peek() == "[":
                table = self.header(counts)
            else:
                self.pair(table)

    def header(self, counts: dict[Place, int]) -> Place:
        line = self.line()
        brackets = 2 if self.peek(2) == "[[" else 1
        self.at += brackets
        parts = self.key()
        self.at += brackets
        place: Place = ()
        for number, part in enumerate(parts, 1):
            place += (part,)
            self.note(place, line)
            last = number == len(parts)
            if last and brackets == 2:
                counts[place] = counts.get(place, 0) + 1
            if place in counts:
                place += (counts[place] - 1,)
                self.note(place, line)
        if brackets == 1:
            self.lines[place] = line  # its own header, after those of tables in it
        return place


def positions(text: str) -> dict[Place, int]:
    """Return the line, from 1, of every key, table and array element.

    Args:
        text: TOML, which tomllib takes.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def line_of(lines: dict[Place, int], place: Place) -> int:
    """Return the line of what is at a place, or else of what is around it, or would be."""
    while place:
        if place in lines:
            return lines[place]
        place = place[:-1]
    return 1
