"""What a method finds when its clock starts; making that, and closing what is left, is not timed."""

from __future__ import annotations

import socket
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import wsasec

from .calls import Calls

__all__ = ["Stage", "Work", "fresh", "nothing", "plain_batch", "secured", "secured_batch"]


@dataclass(slots=True)
class Work:
    """Sockets in the forms in which methods take them.

    Attributes:
        count: how many.
        sockets: objects; empty where a method makes or closes sockets itself.
        numbers: descriptors, -1 where there is none; the stage closes those that it did not make as objects.
        batch: a batch, or where a method puts one that it makes.
    """

    count: int
    sockets: list[socket.socket] = field(default_factory=list)
    numbers: array[int] = field(default_factory=lambda: array("i"))
    batch: wsasec.SocketBatch | None = None


Stage = Callable[[Calls, int], AbstractContextManager[Work]]


@contextmanager
def fresh(calls: Calls, count: int) -> Iterator[Work]:
    """New sockets, as objects and as numbers."""
    work = Work(count)
    try:
        for _ in range(count):
            work.sockets.append(socket.socket(calls.family, calls.type))
        work.numbers = array("i", (sock.fileno() for sock in work.sockets))
        yield work
    finally:
        for sock in work.sockets:
            sock.close()


@contextmanager
def secured(calls: Calls, count: int) -> Iterator[Work]:
    """Secured sockets, as objects and as numbers."""
    batch = wsasec.SocketBatch(count, family=calls.family, type=calls.type, method="plain")
    work = Work(count, sockets=batch.sockets())
    try:
        work.numbers = array("i", (sock.fileno() for sock in work.sockets))
        yield work
    finally:
        for sock in work.sockets:
            sock.close()


@contextmanager
def nothing(_calls: Calls, count: int) -> Iterator[Work]:
    """Room for numbers; what a method makes is closed."""
    work = Work(count, numbers=array("i", [-1]) * count)
    try:
        yield work
    finally:
        for sock in work.sockets:
            sock.close()
        for number in work.numbers:
            if number >= 0:
                socket.close(number)
        if work.batch is not None:
            work.batch.close()


@contextmanager
def _batch(calls: Calls, count: int, *, secure: bool) -> Iterator[Work]:
    batch = wsasec.SocketBatch(count, family=calls.family, type=calls.type, secure=secure, method="plain")
    try:
        yield Work(count, numbers=array("i", batch), batch=batch)
    finally:
        batch.close()


def secured_batch(calls: Calls, count: int) -> AbstractContextManager[Work]:
    """A batch of secured sockets, and their numbers."""
    return _batch(calls, count, secure=True)


def plain_batch(calls: Calls, count: int) -> AbstractContextManager[Work]:
    """A batch of sockets that are not secured, and their numbers."""
    return _batch(calls, count, secure=False)
