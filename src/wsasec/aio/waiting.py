"""The wait for security associations, shared by the sockets of a loop.

Nothing tells when there is an association: connect() must be tried again. Thousands of sockets that each did
so would keep the loop busy with nothing else. So sockets that wait for the same association wait in a group;
a few of them try, in turn, and when one gets through, the others follow, a batch in each round of the loop.
The key daemon, where one runs, is asked once for all of them; what it says is tried out, or told, at once.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections import OrderedDict
from contextlib import suppress
from typing import Any, Final
from weakref import WeakKeyDictionary

from .. import _wsasec
from ..asking import Answer
from ..errors import SecurityError
from ..kernel.options import netns_cookie
from ..sockets import begin_connect, no_association
from .asking import ask

__all__ = ["wait_for_association", "wait_for_keys"]

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05
_PROBES: Final = 4
"""Sockets of a group that try at a time. Not one alone: an association may be for some ports only."""
_RATE: Final = 2000
"""Tries a second in all groups of a loop, about; with more groups the pauses grow."""
_BATCH: Final = 64
"""Sockets that are let through in one round of the loop."""

_Key = tuple[object, ...]


def _key(sock: socket.socket, address: Any) -> _Key:
    """Return what sockets that use the same association have in common.

    It is a hint, nothing more: of two sockets that share it by mistake, each is still tried in its turn.
    """
    namespace = b""
    with suppress(OSError):  # a kernel before 5.14
        namespace = netns_cookie(sock)
    host = address[0] if isinstance(address, tuple) else address
    return sock.family, host, _wsasec.profile_of(sock), namespace


class _Waiter:
    """A socket that waits."""

    __slots__ = ("address", "answer", "deadline", "sock")

    def __init__(
        self, sock: socket.socket, address: Any, deadline: float, answer: asyncio.Future[int]
    ) -> None:
        self.sock = sock
        self.address = address
        self.deadline = deadline
        self.answer = answer

    def attempt(self, *, last: bool = False, refusal: SecurityError | None = None) -> bool:
        """Try to connect; return whether the wait is over. refusal: why there will be no association."""
        if self.answer.done():
            return True
        try:
            state = begin_connect(self.sock, self.address)
        except BaseException as error:  # noqa: BLE001  # it goes to who waits
            self.answer.set_exception(error)
            return True
        if state == errno.EAGAIN and refusal is not None:
            self.answer.set_exception(no_association(self.sock, self.address, refusal))
            return True
        if state == errno.EAGAIN and not last:
            return False
        self.answer.set_result(state)
        return True


class _Group:
    """Sockets that wait for the same association."""

    def __init__(self, room: _Room, key: _Key, loop: asyncio.AbstractEventLoop) -> None:
        self._room = room
        self._key = key
        self._loop = loop
        # Ordered, and fast where it is taken from: a dict is slow to find its first key after many removals.
        self._waiters: OrderedDict[_Waiter, None] = OrderedDict()
        self._pause = 0.0
        self._next: asyncio.Handle | None = None
        self._question: asyncio.Task[Answer | None] | None = None
        self._refusal: SecurityError | None = None

    def _ask(self) -> None:
        """Have the daemon asked, unless it is."""
        if self._question is None and self._refusal is None:
            waiter = next(iter(self._waiters))
            self._question = self._room.ask(self._key, waiter.sock, waiter.address, waiter.deadline)
            self._question.add_done_callback(self._hear)

    def _hear(self, question: asyncio.Task[Answer | None]) -> None:
        self._question = None
        answer = None if question.cancelled() or question.exception() else question.result()
        if answer is None or not answer[1] or not self._waiters:
            return
        self._refusal = answer[0]
        if self._next is not None:
            self._next.cancel()
        self._next = self._loop.call_soon(self._try, _BATCH if self._refusal else _PROBES)

    def add(self, waiter: _Waiter) -> None:
        self._waiters[waiter] = None
        self._room.waiting += 1
        if self._next is None:
            self._schedule()

    def remove(self, waiter: _Waiter) -> None:
        if waiter not in self._waiters:
            return
        del self._waiters[waiter]
        self._room.waiting -= 1
        if not self._waiters:
            if self._next is not None:
                self._next.cancel()
                self._next = None
            if self._question is not None:
                self._question.cancel()
            del self._room.groups[self._key]

    def _schedule(self) -> None:
        self._ask()
        self._pause = max(min(self._pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE), self._room.shortest_pause())
        self._next = self._loop.call_later(self._pause, self._try, _PROBES)

    def _try(self, count: int) -> None:
        """Let so many try, those first that have not for the longest time."""
        self._next = None
        through = 0
        try:
            for _ in range(min(count, len(self._waiters))):
                waiter = next(iter(self._waiters))
                self._waiters.move_to_end(waiter)
                if waiter.attempt(refusal=self._refusal):
                    through += 1
                    self.remove(waiter)
        finally:
            if self._waiters:
                if through:
                    self._next = self._loop.call_soon(self._try, _BATCH)
                else:
                    self._schedule()


async def _ask_until(sock: socket.socket, address: Any, deadline: float) -> Answer | None:
    """Ask for a socket and those that join it; cancelled at its deadline, which tells others nothing."""
    answer = await ask(sock, address, deadline)
    if answer is None and time.monotonic() >= deadline:
        raise asyncio.CancelledError
    return answer


class _Room:
    """All groups of a loop.

    Attributes:
        groups: by key; none is empty.
        waiting: how many sockets are in them.
    """

    def __init__(self) -> None:
        self.groups: dict[_Key, _Group] = {}
        self.waiting = 0
        self._questions: dict[_Key, asyncio.Task[Answer | None]] = {}

    def ask(
        self, key: _Key, sock: socket.socket, address: Any, deadline: float
    ) -> asyncio.Task[Answer | None]:
        """Ask the key daemon, or join those who are at it."""
        question = self._questions.get(key)
        if question is None:
            # It has a descriptor of its own: the socket that it is asked for may be closed before the answer.
            question = self._questions[key] = asyncio.ensure_future(_ask_until(sock, address, deadline))
            question.add_done_callback(lambda _: self._questions.pop(key, None))
        return question

    def shortest_pause(self) -> float:
        """Return the seconds between two tries of a group that keep all groups together to the rate."""
        return min(self.waiting, _PROBES * len(self.groups)) / _RATE if len(self.groups) > 1 else 0.0


_rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, _Room] = WeakKeyDictionary()


async def wait_for_keys(sock: socket.socket, address: Any, deadline: float) -> None:
    """Have the key daemon asked, and wait for what it says, until a deadline (of time.monotonic())."""
    room = _rooms.setdefault(asyncio.get_running_loop(), _Room())
    key = _key(sock, address)
    while (left := deadline - time.monotonic()) > 0:
        question = room.ask(key, sock, address, deadline)
        await asyncio.wait([question], timeout=left)
        if not question.cancelled():  # as a group does that does not wait any more; that says nothing
            return


async def wait_for_association(sock: socket.socket, address: Any, deadline: float) -> int:
    """Try to connect until connect() answers anything but EAGAIN.

    Args:
        sock: a non-blocking socket that has got EAGAIN.
        address: a resolved address.
        deadline: of time.monotonic(); once more it is tried then.

    Returns:
        0 (connected), EINPROGRESS, or EAGAIN: still no association at the deadline.

    Raises:
        SecurityError: the key daemon says that there will be none, and why.
        OSError: any other error of connect().

    """
    loop = asyncio.get_running_loop()
    waiter = _Waiter(sock, address, deadline, loop.create_future())
    room = _rooms.setdefault(loop, _Room())
    key = _key(sock, address)
    group = room.groups.get(key)
    if group is None:
        group = room.groups[key] = _Group(room, key, loop)
    group.add(waiter)
    left = max(0.0, deadline - time.monotonic())
    last = loop.call_later(left, lambda: waiter.attempt(last=True))
    try:
        return await waiter.answer
    finally:
        last.cancel()
        group.remove(waiter)
