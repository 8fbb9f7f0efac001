"""Shows how far a measurement is: live on a terminal, as plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["Monitor"]

_PARTS: Final = 10


class Monitor:
    """A listener for the events of measuring processes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._title = ""
        self._part = 0
        self.notes: list[str] = []

    def __enter__(self) -> Monitor:
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description:<8}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[text]}"),
            )
            self._bars = Progress(*columns, console=self._console)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def phase(self, title: str, text: str) -> None:
        """Begin a part of the work."""
        self._title, self._part = title, 0
        if self._bars is not None:
            self._task = self._bars.add_task(title, total=1, text=text)
        else:
            self._line(f"{title}: {text}")

    def __call__(self, event: dict[str, Any]) -> None:
        """Take an event."""
        if event["event"] == "note":
            self.notes.append(event["text"])
            self._line(event["text"])
        elif event["event"] == "phase":
            self.phase(event["title"], event["text"])
        elif event["event"] == "step":
            self._step(event["done"], event["total"], event["text"])

    def _step(self, done: int, total: int, text: str) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=done, total=total, text=text if done < total else "done")
        elif done * _PARTS // total > self._part or done == total:
            self._part = done * _PARTS // total
            self._line(f"{self._title}: {done}/{total}, {text}")

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)
