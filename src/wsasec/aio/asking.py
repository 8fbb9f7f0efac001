"""Asking the key daemon without blocking the loop; once for all sockets that use the same association."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any, Final
from weakref import WeakKeyDictionary

from .. import _wsasec
from ..asking import Answer, pack, time_to_answer
from .readiness import ready

__all__ = ["ask", "ask_for_names"]

_AT_A_TIME: Final = 16
"""Questions about single sockets."""


async def ask(sock: socket.socket, address: Any, deadline: float) -> Answer | None:
    """Have keys made for a socket and an address, until a deadline; see `asking.ask`."""
    peer = pack(sock, address)
    question = None if peer is None else _wsasec.question(sock, peer, time_to_answer(deadline))
    if question is None:
        return None
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            while (answer := question.answer()) is None:
                await ready(question, "read")
            return answer
    except TimeoutError:
        return None
    finally:
        question.close()


_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def ask_for_names(sock: socket.socket, address: Any, deadline: float) -> Answer | None:
    """Have the names of one socket held against its peer: a few sockets at a time."""
    gate = _gates.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_A_TIME))
    async with gate:
        return await ask(sock, address, deadline)
