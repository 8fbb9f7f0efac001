"""Waiting until something can be read from or written to, without blocking the loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from _typeshed import HasFileno

__all__ = ["ready"]


async def ready(file: HasFileno, event: Literal["read", "write"]) -> None:
    """Wait until it can be read from or written to."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    add, remove = (
        (loop.add_reader, loop.remove_reader) if event == "read" else (loop.add_writer, loop.remove_writer)
    )

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    add(file, wake)
    try:
        await done
    finally:
        remove(file)
