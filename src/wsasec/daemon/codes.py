"""Numbers of the C library that answers carry: src/core/errors.c and include/wsasec.h; a test compares them."""

from __future__ import annotations

from typing import Final

from ..constants import Winsock
from ..keys.reason import Reason

__all__ = ["NOT_A_SOCKET", "STEP_DAEMON", "STEP_NEGOTIATE", "code_of"]

STEP_DAEMON: Final = 31
STEP_NEGOTIATE: Final = 32
NOT_A_SOCKET: Final = 1

_CODES: Final[dict[int, Winsock]] = {
    NOT_A_SOCKET: Winsock.WSAENOTSOCK,
    Reason.NO_DAEMON: Winsock.WSAENETDOWN,
    Reason.DAEMON_SILENT: Winsock.WSAETIMEDOUT,
    Reason.DAEMON_ANSWER: Winsock.WSAENETDOWN,
    Reason.DAEMON_BUSY: Winsock.WSAENOBUFS,
    Reason.NO_CHARON: Winsock.WSAENETDOWN,
    Reason.PEER_SILENT: Winsock.WSAETIMEDOUT,
    Reason.UNREACHABLE: Winsock.WSAENETUNREACH,
    Reason.NO_ASSOCIATION: Winsock.WSAENOTCONN,
    Reason.NOT_CONNECTED: Winsock.WSAENOTCONN,
    Reason.NON_BLOCKING: Winsock.WSAEINVAL,
    Reason.NAME_FORM: Winsock.WSAEINVAL,
    Reason.NO_NAME: Winsock.WSAEINVAL,
    Reason.TOKENS: Winsock.WSAEOPNOTSUPP,
    Reason.IMPERSONATING: Winsock.WSAEINVAL,
}


def code_of(reason: int) -> int:
    """Return a reason's code, a Winsock code made negative; 0 for none."""
    return -int(_CODES.get(reason, Winsock.WSAEACCES)) if reason else 0
