"""What a measuring process tells its parent: a line of JSON per event on its standard output."""

from __future__ import annotations

import json
import sys
from typing import Any

__all__ = ["emit"]


def emit(event: str, **fields: Any) -> None:
    """Send an event.

    The kinds: "phase" (title, text), "step" (done, total, text), "note" (text), "result" (data).
    """
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()
