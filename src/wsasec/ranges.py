"""Checks of numbers."""

from __future__ import annotations

from typing import Final

__all__ = ["U32", "check_range"]

U32: Final = 0xFFFFFFFF


def check_range(name: str, value: object, lowest: int = 0, highest: int = U32) -> None:
    """Raise TypeError or ValueError unless the value is an int of a range."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an int, not {type(value).__name__}")
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is from {lowest} to {highest}, not {value}")
