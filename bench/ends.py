"""The two ends of the wire where the engine makes the traffic: a listener, and a batch connected to it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

import wsasec
from wsasec.lab import Lab, Namespace
from wsasec.settings import SettingsBase

from .baselines import _floor
from .baselines.one_policy import one_policy_for_all
from .clock import RECEIVER, SENDER, pinned
from .kinds import SECURED_KINDS

if TYPE_CHECKING:
    from wsasec.connections import ConnectReport

__all__ = [
    "ENGINE_KINDS",
    "Ends",
    "Hosts",
    "connected",
    "dial",
    "listening",
    "protected",
    "reset_on_close",
]

ENGINE_KINDS: Final = ("secured", "system_policy", "plain")
"""A policy for each socket, one for all sockets, none."""

Mode = Literal["sink", "echo"]

DEADLINE: Final = 60.0
_BACKLOG: Final = 4096
_DATAGRAM_ROOM: Final = 4 << 20
# close() then ends the connection at once, with a reset: nothing of it is left for the next measurement.
_LINGER: Final = ((socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)),)


class Hosts(Protocol):
    """Two hosts, which reach each other by their addresses."""

    @property
    def a(self) -> Namespace:
        """The one that connects."""

    @property
    def b(self) -> Namespace:
        """The one that listens."""


@dataclass(frozen=True, slots=True)
class Ends:
    """A listener and the batch that is connected to it."""

    listener: wsasec.Listener
    batch: wsasec.SocketBatch
    report: ConnectReport


@contextmanager
def protected(lab: Hosts, kind: str) -> Iterator[None]:
    """Set up what a kind of traffic needs of the system."""
    if kind == "system_policy":
        assert isinstance(lab, Lab)
        with one_policy_for_all(lab):
            yield
    else:
        yield


@contextmanager
def listening(
    host: Namespace,
    kind: str,
    mode: Mode,
    type_: int = socket.SOCK_STREAM,
    settings: SettingsBase | None = None,
) -> Iterator[wsasec.Listener]:
    """A listener in a namespace, with one thread."""
    with host.entered(), pinned(RECEIVER):
        listener = wsasec.Listener(
            (host.v4, 0),
            settings=settings,
            secure=kind in SECURED_KINDS,
            type=type_,
            mode=mode,
            backlog=_BACKLOG,
            threads=1,
            receive_buffer=_DATAGRAM_ROOM if type_ == socket.SOCK_DGRAM else 0,
        )
    with listener:
        yield listener


@contextmanager
def dial(
    host: Namespace,
    kind: str,
    count: int,
    type_: int = socket.SOCK_STREAM,
    *,
    nodelay: bool = False,
    settings: SettingsBase | None = None,
) -> Iterator[wsasec.SocketBatch]:
    """A batch in a namespace, not yet connected; its connections end with a reset."""
    with host.entered():
        batch = wsasec.SocketBatch(
            count,
            settings=settings,
            secure=kind in SECURED_KINDS,
            type=type_,
            nodelay=nodelay,
            raise_limit=True,
            method="plain",
        )
    with batch:
        yield batch
        if type_ == socket.SOCK_STREAM:
            reset_on_close(batch)


def reset_on_close(batch: wsasec.SocketBatch) -> None:
    """Let connections end without a trace when they are closed."""
    _floor.effective(batch, _LINGER)


@contextmanager
def connected(
    server: Namespace,
    client: Namespace,
    kind: str,
    count: int,
    mode: Mode,
    type_: int = socket.SOCK_STREAM,
    *,
    nodelay: bool = False,
    settings: SettingsBase | None = None,
) -> Iterator[Ends]:
    """Connect a batch to a listener; all is accepted when the block begins.

    Args:
        server: where the listener is.
        client: where the batch is.
        kind: of ENGINE_KINDS or SECURED_KINDS, or another, which is plain.
        count: of connections.
        mode: the listener's.
        type_: SOCK_STREAM or SOCK_DGRAM.
        nodelay: whether the batch's messages are sent at once.
        settings: of the sockets at both ends, where they are secured.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(listening(server, kind, mode, type_, settings))
        batch = stack.enter_context(dial(client, kind, count, type_, nodelay=nodelay, settings=settings))
        with pinned(SENDER):
            report = batch.connect(listener.address, timeout=DEADLINE)
        if type_ == socket.SOCK_STREAM:
            listener.wait_accepted(count, DEADLINE)
        yield Ends(listener, batch, report)
