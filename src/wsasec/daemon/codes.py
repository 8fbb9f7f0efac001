"""The C library's numbers (include/wsasec.h) that answers carry; a test compares them."""

from __future__ import annotations

from typing import Final

__all__ = ["NOT_A_SOCKET", "STEP_DAEMON", "STEP_NEGOTIATE"]

STEP_DAEMON: Final = 31
STEP_NEGOTIATE: Final = 32
NOT_A_SOCKET: Final = 1
