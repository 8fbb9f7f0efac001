"""Checks of types and values; the message begins with the name of what is wrong."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, TypeVar

from ..ranges import check_range

_Enum = TypeVar("_Enum", bound=IntEnum)

UNKNOWN: Final = 0x10000
"""What the system reports, and has no name here, has its number behind this (WSASEC_POLICY_UNKNOWN)."""


def enum(kind: type[_Enum], value: int) -> _Enum | int:
    """Name a number of the system's; what has no name stays a number."""
    try:
        return kind(value)
    except ValueError:
        return value


def check_enum(kind: type[IntEnum], name: str, value: object) -> None:
    """A member, or a number that the system reported without this library knowing its name."""
    if isinstance(value, kind):
        return
    if isinstance(value, (bool, IntEnum)) or not isinstance(value, int):
        raise TypeError(f"{name} is {kind.__name__}, not {type(value).__name__}")
    if not UNKNOWN <= value < 2 * UNKNOWN:
        raise ValueError(f"{name} is a member of {kind.__name__}, or a reported number, not {value}")


def check_number(kind: type[IntEnum], name: str, value: object) -> None:
    """A member, or any number: these have the system's numbers."""
    if isinstance(value, IntEnum) and not isinstance(value, kind):
        raise TypeError(f"{name} is {kind.__name__}, not {type(value).__name__}")
    check_range(name, value)


def check_tuple(name: str, value: object, kind: type, least: int, most: int) -> None:
    """A tuple of so many of a kind."""
    if not isinstance(value, tuple):
        raise TypeError(f"{name} is a tuple of {kind.__name__}, not {type(value).__name__}")
    if not least <= len(value) <= most:
        raise ValueError(f"{name} has from {least} to {most} members, not {len(value)}")
    for item in value:
        if not isinstance(item, kind):
            raise TypeError(f"{name} has {kind.__name__}, not {type(item).__name__}")
