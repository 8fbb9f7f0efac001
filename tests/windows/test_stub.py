"""With Wine's own fwpuclnt.dll, whose functions end the process that calls them."""

from __future__ import annotations

import ctypes
import socket

import pytest

from wsasec import SecurityError, Winsock, WSAGetLastError, WSASetSocketSecurity, secure

pytestmark = pytest.mark.stub


def test_wines_own_is_loaded() -> None:
    library = ctypes.WinDLL("fwpuclnt.dll", winmode=0x800)
    assert ctypes.string_at(library._handle + 0x40, 16) == b"Wine builtin DLL"
    assert hasattr(library, "WSASetSocketSecurity")
    assert not hasattr(library, "WsasecDoubleVersion")


def test_it_is_not_called() -> None:
    with socket.socket() as sock:
        assert WSASetSocketSecurity(sock, None, 0) == -1
        assert WSAGetLastError() == Winsock.WSAEOPNOTSUPP
        with pytest.raises(SecurityError, match="this Wine does not implement"):
            secure(sock)
