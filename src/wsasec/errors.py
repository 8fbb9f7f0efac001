"""The exceptions: OSErrors that also say the Winsock code and what to do next."""

from __future__ import annotations

import errno as _errno
import os
import sys
from array import array
from typing import Any, Final

from .constants import Winsock

__all__ = ["BatchError", "ImpersonationError", "SecurityError"]


def errno_of(number: int) -> int:
    """Return the errno that Python has in its own errors for an error number of the system.

    On Windows that of WSAGetLastError() or GetLastError() is translated as OSError does: WSAEACCES is EACCES
    (13), WSAEINVAL EINVAL (22), most of Winsock's others are what they are.
    """
    if sys.platform == "win32":
        return OSError(0, "", None, number).errno or number
    return number


def text_of(number: int) -> str:
    """Return what the system says of an error number: an errno, or on Windows one of Winsock's, too."""
    if sys.platform == "win32" and number >= _WINSOCK:
        from ctypes import FormatError

        return FormatError(number).strip()
    return os.strerror(number)


# From here on they are Winsock's, of which the C library knows nothing.
_WINSOCK: Final = 10_000

_ERRNO = {
    Winsock.WSAEACCES: _errno.EACCES,
    Winsock.WSAEFAULT: _errno.EFAULT,
    Winsock.WSAEINVAL: _errno.EINVAL,
    Winsock.WSAEMFILE: _errno.EMFILE,
    Winsock.WSAEWOULDBLOCK: _errno.EAGAIN,
    Winsock.WSAENOTSOCK: _errno.ENOTSOCK,
    Winsock.WSAEMSGSIZE: _errno.EMSGSIZE,
    Winsock.WSAEPROTONOSUPPORT: _errno.EPROTONOSUPPORT,
    Winsock.WSAEOPNOTSUPP: _errno.EOPNOTSUPP,
    Winsock.WSAEAFNOSUPPORT: _errno.EAFNOSUPPORT,
    Winsock.WSAEADDRINUSE: _errno.EADDRINUSE,
    Winsock.WSAEADDRNOTAVAIL: _errno.EADDRNOTAVAIL,
    Winsock.WSAENETDOWN: _errno.ENETDOWN,
    Winsock.WSAENETUNREACH: _errno.ENETUNREACH,
    Winsock.WSAECONNRESET: _errno.ECONNRESET,
    Winsock.WSAENOBUFS: _errno.ENOBUFS,
    Winsock.WSAEISCONN: _errno.EISCONN,
    Winsock.WSAENOTCONN: _errno.ENOTCONN,
    Winsock.WSAETIMEDOUT: _errno.ETIMEDOUT,
    Winsock.WSAECONNREFUSED: _errno.ECONNREFUSED,
    Winsock.WSAEHOSTUNREACH: _errno.EHOSTUNREACH,
}
if sys.platform == "win32":
    _ERRNO = {code: errno_of(code) for code in _ERRNO}


def _errno_for(code: Winsock) -> int:
    return _ERRNO.get(code, int(code))


class SecurityError(OSError):
    """A socket could not be secured, or has no security association.

    Attributes:
        errno: the system's error number where one was the cause (on Windows as Python translates it in its
            own errors), else the one that is nearest to the code; the code itself where there is none.
        strerror: what happened, in a sentence.
        winsock: the Winsock code.
        hint: what to do next.
        socket: the descriptor, or None where there is none.
        step: the step that failed: "descriptor", "settings", "guard", "outbound policy", ...
        profile: the name of the profile that was to be used, or None.

    """

    def __init__(
        self,
        message: str,
        *,
        winsock: int,
        errno: int | None = None,
        hint: str = "",
        socket: int | None = None,
        step: str = "none",
        profile: str | None = None,
    ) -> None:
        self.winsock = Winsock(winsock)
        super().__init__(_errno_for(self.winsock) if errno is None else errno, message)
        self.hint = hint
        self.socket = socket
        self.step = step
        self.profile = profile

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "message": self.strerror,
            "winsock": int(self.winsock),
            "errno": self.errno,
            "hint": self.hint,
            "socket": self.socket,
            "step": self.step,
            "profile": self.profile,
        }

    def __str__(self) -> str:
        where = "" if self.socket is None else f"socket {self.socket}: "
        cause = "" if self.errno == _errno_for(self.winsock) else f", {text_of(self.errno or 0)}"
        step = "" if self.step == "none" else f" (step: {self.step})"
        hint = f"; {self.hint}" if self.hint else ""
        return f"[{self.winsock.name} {self.winsock.value}] {where}{self.strerror}{cause}{step}{hint}"


class ImpersonationError(SecurityError):
    """A thread could not go back to its own identity: it still acts as the peer.

    Whatever it does next it does in the peer's name. End the process; at the least, end the thread without
    another access to anything.
    """


class BatchError(SecurityError):
    """Some sockets of many could not be secured, or not be made.

    From `secure_many` the others are secured, and stay so. From `SocketBatch` (errors="raise") there is none:
    all were closed again. The attributes of `SecurityError` are those of the first failure.

    Attributes:
        codes: array('i') of one Winsock code a socket, in their order; 0 for success.
        index: index of the first failure.

    """

    def __init__(self, first: SecurityError, codes: array[int], index: int) -> None:
        super().__init__(**first._state())
        self.codes = codes
        self.index = index

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_batch, (self._state(), self.codes, self.index)

    def __str__(self) -> str:
        failed = len(self.codes) - self.codes.count(0)
        return f"{failed} of {len(self.codes)} sockets failed, first index {self.index}: {super().__str__()}"


def _rebuild(kind: type[SecurityError], state: dict[str, Any]) -> SecurityError:
    return kind(**state)


def _rebuild_batch(state: dict[str, Any], codes: array[int], index: int) -> BatchError:
    return BatchError(SecurityError(**state), codes, index)
