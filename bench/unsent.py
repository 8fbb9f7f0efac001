"""How much the senders' TCP has that it has not sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from wsasec.lab import Namespace

__all__ = ["little_unsent"]

_ALL_TOGETHER: Final = 64 << 20
_LOWAT: Final = "net.ipv4.tcp_notsent_lowat"


@contextmanager
def little_unsent(sender: Namespace, streams: int) -> Iterator[None]:
    """Have the streams of a host keep 64 MiB together that are not sent, each an equal part.

    Else each of a thousand has some hundred kilobytes, and the system's TCP is near the limit of its memory
    (net.ipv4.tcp_mem), at which receivers let every sender have four segments at a time.
    """
    before = sender.sysctl(_LOWAT)
    sender.sysctl(_LOWAT, _ALL_TOGETHER // streams)
    try:
        yield
    finally:
        sender.sysctl(_LOWAT, before)
