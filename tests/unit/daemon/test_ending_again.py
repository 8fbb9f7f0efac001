"""What a charon of others did not end is asked for again, until it has, or the policy is there again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator

import pytest

from wsasec.daemon import service
from wsasec.daemon.service import Service
from wsasec.keys.reason import CharonError, Reason

REQIDS = frozenset({7, 8})


class Hanging:
    """A charon of others that does not answer some times.

    Attributes:
        asked: what it was asked to end.
        failures: how many of them are left.
    """

    alive = True

    def __init__(self, failure: Exception, failures: int) -> None:
        self.failure = failure
        self.failures = failures
        self.asked: list[frozenset[int]] = []
        self.done = threading.Event()

    def end_associations(self, reqids: Collection[int], _: float) -> None:
        self.asked.append(frozenset(reqids))
        self.failures -= 1
        if self.failures >= 0:
            raise self.failure
        self.done.set()

    def give_up(self, *_: object) -> bool:
        return False


class Sessions:
    """Which policies are no more."""

    def __init__(self) -> None:
        self.over = set(REQIDS)

    def gone(self, reqids: Collection[int]) -> frozenset[int]:
        return frozenset(self.over.intersection(reqids))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Hanging], tuple[Service, Sessions]]]:
    """Return what makes the part of a daemon that looks after its charon, with its thread."""
    monkeypatch.setattr(service, "_AGAIN_SECONDS", 0.001)
    made: list[Service] = []

    def make(ike: Hanging) -> tuple[Service, Sessions]:
        daemon, sessions = object.__new__(Service), Sessions()
        parts = {"_ike": ike, "_sessions": sessions, "_changing": threading.Lock(), "_left": set()}
        parts |= {"_wake": threading.Event(), "_stopping": threading.Event()}
        for name, part in parts.items():
            setattr(daemon, name, part)
        daemon._watcher = threading.Thread(target=daemon._watch)
        daemon._watcher.start()
        made.append(daemon)
        return daemon, sessions

    yield make
    for daemon in made:
        daemon._stopping.set()
        daemon._wake.set()
        daemon._watcher.join()


@pytest.mark.parametrize(
    "failure",
    [CharonError(Reason.NO_CHARON, "no answer"), OSError(24, "no descriptors")],
    ids=["charon", "here"],
)
def test_it_is_asked_until_it_has_done_it(
    watched: Callable[[Hanging], tuple[Service, Sessions]], failure: Exception
) -> None:
    ike = Hanging(failure, 3)
    daemon, _ = watched(ike)
    with daemon._changing:
        daemon._end_associations(REQIDS)
    assert ike.done.wait(10)
    assert ike.asked == 4 * [REQIDS]
    assert not daemon._left


def test_a_policy_that_is_there_again_is_left_alone(
    watched: Callable[[Hanging], tuple[Service, Sessions]],
) -> None:
    ike = Hanging(CharonError(Reason.NO_CHARON, "no answer"), 1)
    daemon, sessions = watched(ike)
    with daemon._changing:
        daemon._end_associations(REQIDS)
        sessions.over.discard(8)
    assert ike.done.wait(10)
    assert ike.asked == [REQIDS, frozenset({7})]
