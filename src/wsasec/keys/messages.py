"""VICI's messages: sections of values and lists. Building them is the vici package's.

Reading is stricter here: the package takes a value that is cut off for a shorter one, and skips what it does
not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from vici.protocol import Message  # type: ignore[import-untyped]

__all__ = ["MessageError", "Section", "Value", "decode", "encode", "section", "text", "texts"]

Value: TypeAlias = bytes | list[bytes] | dict[str, Any]
Section: TypeAlias = dict[str, Value]

_DEEPEST: Final = 16

_SECTION_START: Final = 1
_SECTION_END: Final = 2
_KEY_VALUE: Final = 3
_LIST_START: Final = 4
_LIST_ITEM: Final = 5
_LIST_END: Final = 6


class MessageError(ValueError):
    """What was received is no message. It never quotes it: it may be a secret's."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise MessageError(f"cut off after {len(self._data)} bytes")
        self._at += count
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def name(self) -> str:
        try:
            return self.take(self.byte()).decode()
        except UnicodeDecodeError as error:
            raise MessageError("a name is not UTF-8") from error

    def blob(self) -> bytes:
        return self.take(int.from_bytes(self.take(2), "big"))

    def items(self) -> list[bytes]:
        items = []
        while (kind := self.byte()) == _LIST_ITEM:
            items.append(self.blob())
        if kind != _LIST_END:
            raise MessageError(f"element {kind} inside a list")
        return items


def encode(message: Mapping[str, object]) -> bytes:
    """Return a message as bytes.

    Args:
        message: values are bytes, what str() makes text of, lists of these, or sections.

    Raises:
        MessageError: a name is longer than 255 bytes, or a value than 65,535.
    """
    try:
        data = Message.serialize(message)
    except Exception as error:  # noqa: BLE001 - of any kind; chained, it would show the values
        raise MessageError(f"cannot be sent: {type(error).__name__}") from None
    assert isinstance(data, bytes)  # noqa: S101
    return data


def decode(data: bytes) -> Section:
    """Return what a message says. Raises MessageError if it is not one from the first byte to the last."""
    reader = _Reader(data)
    current: Section = {}
    above: list[Section] = []
    while reader.more():
        kind = reader.byte()
        if kind == _SECTION_START:
            inner: Section = {}
            current[reader.name()] = inner
            above.append(current)
            current = inner
            if len(above) > _DEEPEST:
                raise MessageError(f"sections deeper than {_DEEPEST}")
        elif kind == _SECTION_END and above:
            current = above.pop()
        elif kind == _KEY_VALUE:
            name = reader.name()
            current[name] = reader.blob()
        elif kind == _LIST_START:
            name = reader.name()
            current[name] = reader.items()
        else:
            raise MessageError(f"element {kind} in a section")
    if above:
        raise MessageError("a section has no end")
    return current


def text(message: Mapping[str, Value], name: str, default: str = "") -> str:
    """Return a value as text, or the default if there is none. Raises MessageError if it is no value."""
    value = message.get(name)
    if value is None:
        return default
    if not isinstance(value, bytes):
        raise MessageError(f"{name} is not a value")
    return value.decode("utf-8", "replace")


def texts(message: Mapping[str, Value], name: str) -> tuple[str, ...]:
    """Return a list as text, () if there is none. Raises MessageError if it is no list."""
    value = message.get(name, [])
    if not isinstance(value, list):
        raise MessageError(f"{name} is not a list")
    return tuple(item.decode("utf-8", "replace") for item in value)


def section(message: Mapping[str, Value], name: str) -> Section:
    """Return a section, an empty one if there is none. Raises MessageError if it is no section."""
    value = message.get(name, {})
    if not isinstance(value, dict):
        raise MessageError(f"{name} is not a section")
    return value
