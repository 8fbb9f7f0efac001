"""WSASetSocketSecurity through ctypes: by somebody who knows it, and as it is first written."""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

__all__ = ["bind_expert", "bind_naive"]

_ELSEWHERE: Final = "WSASetSocketSecurity is a function of Windows"

Secure = Callable[[socket.socket], None]


class _Guid(ctypes.Structure):
    _fields_ = [
        ("Data1", ctypes.c_uint32),
        ("Data2", ctypes.c_uint16),
        ("Data3", ctypes.c_uint16),
        ("Data4", ctypes.c_uint8 * 8),
    ]


class _Settings(ctypes.Structure):
    """SOCKET_SECURITY_SETTINGS_IPSEC (mstcpip.h)."""

    _fields_ = [
        ("SecurityProtocol", ctypes.c_int32),
        ("SecurityFlags", ctypes.c_uint32),
        ("IpsecFlags", ctypes.c_uint32),
        ("AuthipMMPolicyKey", _Guid),
        ("AuthipQMPolicyKey", _Guid),
        ("Reserved", _Guid),
        ("Reserved2", ctypes.c_uint64),
        ("UserNameStringLen", ctypes.c_uint32),
        ("DomainNameStringLen", ctypes.c_uint32),
        ("PasswordStringLen", ctypes.c_uint32),
    ]


def bind_expert(library: Any, settings: bytes) -> Secure:
    """Return a function that secures a socket: function, types and structure are made ready once.

    Args:
        library: fwpuclnt.dll as ctypes has it, with use_last_error.
        settings: the bytes of the structure.
    """
    if sys.platform != "win32":
        raise OSError(_ELSEWHERE)
    # A function of its own: types that are declared are those of all who look it up.
    declared = ctypes.WINFUNCTYPE(
        ctypes.c_int,
        ctypes.c_size_t,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_void_p,
        ctypes.c_void_p,
        use_last_error=True,
    )
    call = declared(("WSASetSocketSecurity", library))
    made = _Settings.from_buffer_copy(settings)
    at, size = ctypes.byref(made), ctypes.sizeof(made)

    def secure(sock: socket.socket) -> None:
        if call(sock.fileno(), at, size, None, None):
            raise ctypes.WinError(ctypes.get_last_error())

    return secure


def bind_naive(library: Any, settings: bytes) -> Secure:
    """Return a function that looks the function up and fills the structure in for each socket.

    Types are not declared. Args: as bind_expert().
    """
    if sys.platform != "win32":
        raise OSError(_ELSEWHERE)
    given = _Settings.from_buffer_copy(settings)
    protocol, flags, ipsec_flags = given.SecurityProtocol, given.SecurityFlags, given.IpsecFlags

    def secure(sock: socket.socket) -> None:
        made = _Settings()
        made.SecurityProtocol = protocol
        made.SecurityFlags = flags
        made.IpsecFlags = ipsec_flags
        # A name in brackets is looked up in the library each time.
        if library["WSASetSocketSecurity"](
            sock.fileno(), ctypes.byref(made), ctypes.sizeof(made), None, None
        ):
            raise ctypes.WinError(ctypes.get_last_error())

    return secure
