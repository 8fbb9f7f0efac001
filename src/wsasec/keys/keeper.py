"""Keeps what is ours in a charon of others: `swanctl --load-all` takes out what it has not loaded itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from .reason import CharonError

__all__ = ["Keeper"]

_log = logging.getLogger(__name__)

_EVERY_SECONDS: Final = 1.0
_DEADLINE: Final = 10.0


class Keeper:
    """A thread that looks again and again, as charon tells nobody of it."""

    def __init__(self, restore: Callable[[float], bool]) -> None:
        """Begin.

        Args:
            restore: gets a deadline, and returns whether something was missing, which it has put back.
        """
        self._restore = restore
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wsasec-keeper", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        said = ""
        while not self._ended.wait(_EVERY_SECONDS):
            try:
                if self._restore(time.monotonic() + _DEADLINE):
                    _log.warning(
                        "connections or keys were taken out of charon by others, and are loaded again"
                    )
                said = ""
            except (CharonError, OSError, ValueError) as error:
                # The end of charon is noticed elsewhere. Of all else each look would say the same.
                if str(error) != said and not self._ended.is_set():
                    _log.error("what others took out of charon cannot be loaded again: %s", error)
                said = str(error)

    def close(self) -> None:
        """End the thread. Twice is fine."""
        self._ended.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
