"""The six functions as Windows code calls them (ws2tcpip.h): buffers in, 0 or SOCKET_ERROR out.

What C could not have been called with raises TypeError, ValueError or BufferError. All else is answered as
in C.

Where there is an overlapped: it is the address of an OVERLAPPED, as an int (0 or None for NULL), and
completion_routine that of a function. Both are ignored for sockets that are not overlapped, and so on Linux.
A call that is under way answers SOCKET_ERROR, and `WSAGetLastError` WSA_IO_PENDING (997): the caller keeps
the OVERLAPPED and all buffers until it is completed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from . import _wsasec
from .constants import SOCKET_ERROR

if TYPE_CHECKING:
    from _typeshed import HasFileno, ReadableBuffer, WriteableBuffer

__all__ = [
    "WSADeleteSocketPeerTargetName",
    "WSAGetLastError",
    "WSAImpersonateSocketPeer",
    "WSAQuerySocketSecurity",
    "WSARevertImpersonation",
    "WSASetSocketPeerTargetName",
    "WSASetSocketSecurity",
]

_last_error = threading.local()


def _answer(code: int) -> int:
    if not code:
        return 0
    _last_error.code = code
    return SOCKET_ERROR


def WSAGetLastError() -> int:  # noqa: N802
    """Return the Winsock code of this thread's last of these calls that failed; 0 if none did."""
    return getattr(_last_error, "code", 0)


def WSASetSocketSecurity(  # noqa: N802
    socket: HasFileno | int,
    settings: ReadableBuffer | None,
    settings_len: int,
    overlapped: int | None = None,
    completion_routine: int | None = None,
) -> int:
    """WSASetSocketSecurity (ws2tcpip.h) as in C, for ports of Windows code.

    Args:
        socket: descriptor or SOCKET handle.
        settings: a buffer with the structure, or None for NULL.
        settings_len: bytes of it, at most the size of the buffer.
        overlapped: address of an OVERLAPPED; see the module.
        completion_routine: address of a function.

    Returns:
        0, or SOCKET_ERROR (-1) with the code in `WSAGetLastError`.

    Raises:
        TypeError, ValueError, BufferError: what C could not have been called with.

    """
    return _answer(
        _wsasec.set_socket_security(socket, settings, settings_len, overlapped, completion_routine)
    )


def WSAQuerySocketSecurity(  # noqa: N802
    socket: HasFileno | int,
    template: ReadableBuffer | None,
    template_len: int,
    info: WriteableBuffer | None,
    info_len: WriteableBuffer | None,
    overlapped: int | None = None,
    completion_routine: int | None = None,
) -> int:
    """WSAQuerySocketSecurity (ws2tcpip.h) as in C, for ports of Windows code.

    Args:
        socket: descriptor or SOCKET handle.
        template: a buffer with SOCKET_SECURITY_QUERY_TEMPLATE or ..._IPSEC2, or None for NULL.
        template_len: bytes of it, at most the size of the buffer.
        info: a writable buffer for the answer, or None for NULL, which asks for its size. Tokens in the
            answer are the caller's to close: `Token` (handle) does it.
        info_len: a writable buffer of 4 bytes, the size of info before and of the answer after the call:
            ctypes.c_uint32(24), array("I", [24]), bytearray(4); or None for NULL.
        overlapped: address of an OVERLAPPED; see the module.
        completion_routine: address of a function.

    Returns:
        0, or SOCKET_ERROR (-1) with the code in `WSAGetLastError`.

    Raises:
        TypeError, ValueError, BufferError: what C could not have been called with.

    """
    return _answer(
        _wsasec.query_socket_security(
            socket, template, template_len, info, info_len, overlapped, completion_routine
        )
    )


def WSASetSocketPeerTargetName(  # noqa: N802
    socket: HasFileno | int,
    peer_target_name: ReadableBuffer | None,
    peer_target_name_len: int,
    overlapped: int | None = None,
    completion_routine: int | None = None,
) -> int:
    """WSASetSocketPeerTargetName (ws2tcpip.h) as in C, for ports of Windows code.

    Args:
        socket: descriptor or SOCKET handle.
        peer_target_name: a buffer with SOCKET_PEER_TARGET_NAME and the name, or None for NULL.
        peer_target_name_len: bytes of it, at most the size of the buffer.
        overlapped: address of an OVERLAPPED; see the module.
        completion_routine: address of a function.

    Returns:
        0, or SOCKET_ERROR (-1) with the code in `WSAGetLastError`.

    Raises:
        TypeError, ValueError, BufferError: what C could not have been called with.

    """
    return _answer(
        _wsasec.set_socket_peer_target_name(
            socket, peer_target_name, peer_target_name_len, overlapped, completion_routine
        )
    )


def WSADeleteSocketPeerTargetName(  # noqa: N802
    socket: HasFileno | int,
    peer_addr: ReadableBuffer | None,
    peer_addr_len: int,
    overlapped: int | None = None,
    completion_routine: int | None = None,
) -> int:
    """WSADeleteSocketPeerTargetName (ws2tcpip.h) as in C, for ports of Windows code.

    Args:
        socket: descriptor or SOCKET handle.
        peer_addr: a buffer with a sockaddr, or None for NULL.
        peer_addr_len: bytes of it, at most the size of the buffer.
        overlapped: address of an OVERLAPPED; see the module.
        completion_routine: address of a function.

    Returns:
        0, or SOCKET_ERROR (-1) with the code in `WSAGetLastError`.

    Raises:
        TypeError, ValueError, BufferError: what C could not have been called with.

    """
    return _answer(
        _wsasec.delete_socket_peer_target_name(
            socket, peer_addr, peer_addr_len, overlapped, completion_routine
        )
    )


def WSAImpersonateSocketPeer(  # noqa: N802
    socket: HasFileno | int, peer_addr: ReadableBuffer | None, peer_addr_len: int
) -> int:
    """WSAImpersonateSocketPeer (ws2tcpip.h) as in C, for ports of Windows code.

    Nothing takes it back but `WSARevertImpersonation` in the same thread; `wsasec.impersonate` sees to that.

    Args:
        socket: descriptor or SOCKET handle.
        peer_addr: a buffer with a sockaddr, or None for NULL.
        peer_addr_len: bytes of it, at most the size of the buffer.

    Returns:
        0, or SOCKET_ERROR (-1) with the code in `WSAGetLastError`.

    Raises:
        TypeError, ValueError, BufferError: what C could not have been called with.

    """
    return _answer(_wsasec.impersonate_socket_peer(socket, peer_addr, peer_addr_len))


def WSARevertImpersonation() -> int:  # noqa: N802
    """WSARevertImpersonation (ws2tcpip.h) as in C, for ports of Windows code.

    Returns:
        0, or SOCKET_ERROR (-1) with the code in `WSAGetLastError`: the thread still acts as the peer then.

    """
    return _answer(_wsasec.revert_socket_impersonation())
