"""charon's events: whatever ends the thread that hears them is told."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from wsasec.keys import watcher
from wsasec.keys.associations import Event
from wsasec.keys.reason import CharonError, Reason
from wsasec.keys.watcher import Watcher


class Session:
    """It has one event, and then what it is told to."""

    def __init__(self, then: BaseException) -> None:
        self.then = then
        self.closed = False
        self.told = False

    def register(self, kind: str, deadline: float) -> None:
        """Take it."""

    def next_event(self, deadline: float | None) -> tuple[str, dict[str, object]]:
        assert deadline is None
        if self.told:
            raise self.then
        self.told = True
        return "child-updown", {}

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("happened", "unexpected"),
    [(CharonError(Reason.NO_CHARON, "its end"), False), (RuntimeError("can't start new thread"), True)],
    ids=["charon's end", "what nobody has thought of"],
)
def test_its_end_is_told_whatever_it_was(
    monkeypatch: pytest.MonkeyPatch, happened: BaseException, unexpected: bool
) -> None:
    session, gone, raised = Session(happened), threading.Event(), []
    monkeypatch.setattr(watcher, "connect", lambda _path, _deadline: session)
    monkeypatch.setattr(watcher, "event", lambda _kind, _message: None)
    monkeypatch.setattr(threading, "excepthook", raised.append)

    def call(event: Event) -> None:
        assert event.kind == "gone"
        gone.set()

    listening = Watcher(Path("nowhere"), call)
    listening.start(0.0)
    assert gone.wait(20)
    listening._thread.join()
    assert not listening.alive
    assert session.closed
    assert bool(raised) == unexpected
