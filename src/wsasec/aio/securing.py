"""asyncio's twin of `wsasec.secure`: on Windows that takes as long as the system's services take."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

from .. import _wsasec
from ..settings import SettingsBase
from ..sockets import check_timeout
from .connecting import in_time

__all__ = ["secure"]


class _Call(asyncio.Future[None]):
    """A call that is under way; who gives it up has it completed soon."""

    def __init__(self, sock: socket.socket, address: int, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._sock = sock
        self._address = address

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the call as well."""
        if not self.done() and self._sock.fileno() >= 0:
            _wsasec.overlapped_cancel(self._sock, self._address)
        return super().cancel(msg)


def _begin(proactor: Any, sock: socket.socket, settings: _wsasec.OverlappedSettings) -> _Call:
    """Begin a call that asyncio's completion port tells of.

    The loop keeps what is in its cache until then: the OVERLAPPED and the settings, which Windows may still
    use, and the socket.
    """
    import _overlapped  # type: ignore[import-not-found]  # Windows'

    proactor._register_with_iocp(sock)  # a socket belongs to one port; asyncio remembers which it has
    overlapped = _overlapped.Overlapped(0)
    address: int = overlapped.address
    call = _Call(sock, address, loop=asyncio.get_running_loop())

    def completed(*_: object) -> None:
        _wsasec.overlapped_end(sock, settings, address)

    entry = (call, overlapped, sock, completed)
    # Windows tells of what was done at once all the same, and the loop then finds it done.
    if not _wsasec.overlapped_begin(sock, settings, address, proactor._cache, entry):
        call.set_result(None)
    return call


async def secure(sock: socket.socket, settings: SettingsBase | None = None, timeout: float = 30.0) -> None:
    """Secure a socket without blocking the loop; see `wsasec.secure`.

    On Windows, under the Proactor loop, it is an overlapped call of WSASetSocketSecurity; on the other loop a
    thread makes the call. On Linux it takes microseconds, and is done at once.

    Args:
        sock: a socket; under the Proactor loop one that nothing else but this loop waits for.
        settings: as for `wsasec.secure`.
        timeout: seconds; math.inf for no end.

    Raises:
        SecurityError: as `wsasec.secure`.
        TimeoutError: it was not done in time; the socket is to be closed. The call is cancelled, but that of
            a thread goes on.
        OSError: the Proactor loop cannot wait for the socket: another loop does, or did.
        TypeError, ValueError: wrong arguments.

    """
    deadline = check_timeout(timeout)
    if sys.platform != "win32":
        _wsasec.secure(sock, settings)
        return
    loop = asyncio.get_running_loop()
    proactor = getattr(loop, "_proactor", None)
    async with in_time(deadline, f"WSASetSocketSecurity for socket {sock.fileno()}"):
        if proactor is None:
            await loop.run_in_executor(None, _wsasec.secure, sock, settings)
            return
        await _begin(proactor, sock, _wsasec.OverlappedSettings(settings))
