"""A process that is there and does nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from wire import wait_for


def hang(pid: int) -> None:
    """Stop a process, and wait until each of its threads has stopped. SIGCONT has it go on."""
    os.kill(pid, signal.SIGSTOP)

    def stopped() -> bool:
        statuses = (task / "status" for task in Path(f"/proc/{pid}/task").iterdir())
        return all("\nState:\tT" in status.read_text() for status in statuses)

    wait_for(stopped, "it has stopped")
