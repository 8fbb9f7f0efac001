"""With Wine's own fwpuclnt.dll, whose functions end the process that calls them."""

from __future__ import annotations

import ctypes
import socket
import struct

import pytest

import wsasec
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


def test_nor_are_its_sisters() -> None:
    name = struct.pack("<I", 1) + bytes(140)
    peer = struct.pack("<H", socket.AF_INET) + bytes(14)
    with socket.socket() as sock:
        for call in (
            lambda: wsasec.WSAQuerySocketSecurity(sock, None, 0, bytearray(24), ctypes.c_ulong(24)),
            lambda: wsasec.WSASetSocketPeerTargetName(sock, name, len(name)),
            lambda: wsasec.WSADeleteSocketPeerTargetName(sock, peer, len(peer)),
            lambda: wsasec.WSAImpersonateSocketPeer(sock, None, 0),
            wsasec.WSARevertImpersonation,
        ):
            assert call() == wsasec.SOCKET_ERROR
            assert WSAGetLastError() == Winsock.WSAEOPNOTSUPP


def test_nor_is_the_filtering_platform() -> None:
    with pytest.raises(SecurityError, match="this Wine does not implement") as caught:
        wsasec.policy.Session()
    assert caught.value.winsock is Winsock.WSAEOPNOTSUPP
