"""The error of the lab."""

from __future__ import annotations

__all__ = ["LabError"]


class LabError(RuntimeError):
    """The lab cannot do what was asked.

    Attributes:
        remedy: one command or step that helps, or an empty string.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message}; {remedy}" if remedy else message)
        self.remedy = remedy
