"""Microsoft's constants (mstcpip.h, winsock2.h): enums with short names, and the full names."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

__all__ = [
    "SOCKET_ERROR",
    "SOCKET_INFO_CONNECTION_ENCRYPTED",
    "SOCKET_INFO_CONNECTION_IMPERSONATED",
    "SOCKET_INFO_CONNECTION_SECURED",
    "SOCKET_SETTINGS_ALLOW_INSECURE",
    "SOCKET_SETTINGS_GUARANTEE_ENCRYPTION",
    "SOCKET_SETTINGS_IPSEC_ALLOW_FIRST_INBOUND_PKT_UNENCRYPTED",
    "SOCKET_SETTINGS_IPSEC_OPTIONAL_PEER_NAME_VERIFICATION",
    "SOCKET_SETTINGS_IPSEC_PEER_NAME_IS_RAW_FORMAT",
    "SOCKET_SETTINGS_IPSEC_SKIP_FILTER_INSTANTIATION",
    "IpsecFlags",
    "SecurityFlags",
    "SecurityProtocol",
    "SocketInfo",
    "Winsock",
]


class SecurityProtocol(IntEnum):
    """SOCKET_SECURITY_PROTOCOL_..."""

    DEFAULT = 0
    IPSEC = 1
    IPSEC2 = 2
    INVALID = 3


class SecurityFlags(IntFlag):
    """SOCKET_SETTINGS_..., for ``SecurityFlags``."""

    NONE = 0
    GUARANTEE_ENCRYPTION = 0x1
    """If encryption is not possible, nothing is sent and no connection is made."""
    ALLOW_INSECURE = 0x2
    """Clear text is allowed where security cannot be had. Beside GUARANTEE_ENCRYPTION it allows nothing."""


class IpsecFlags(IntFlag):
    """SOCKET_SETTINGS_IPSEC_..., for ``IpsecFlags``."""

    NONE = 0
    SKIP_FILTER_INSTANTIATION = 0x1
    """The administrator's policy covers this traffic: install nothing."""
    OPTIONAL_PEER_NAME_VERIFICATION = 0x2
    ALLOW_FIRST_INBOUND_PKT_UNENCRYPTED = 0x4
    """No effect on Linux: the first packet, too, must be protected."""
    PEER_NAME_IS_RAW_FORMAT = 0x8


class SocketInfo(IntFlag):
    """SOCKET_INFO_..., in the answer of a query."""

    NONE = 0
    CONNECTION_SECURED = 0x1
    CONNECTION_ENCRYPTED = 0x2
    CONNECTION_IMPERSONATED = 0x4


class Winsock(IntEnum):
    """Error codes of winsock2.h that the six functions return."""

    WSA_IO_PENDING = 997
    WSAEACCES = 10013
    WSAEFAULT = 10014
    WSAEINVAL = 10022
    WSAEMFILE = 10024
    WSAEWOULDBLOCK = 10035
    WSAENOTSOCK = 10038
    WSAEMSGSIZE = 10040
    WSAEPROTONOSUPPORT = 10043
    WSAEOPNOTSUPP = 10045
    WSAEAFNOSUPPORT = 10047
    WSAEADDRINUSE = 10048
    WSAEADDRNOTAVAIL = 10049
    WSAENETDOWN = 10050
    WSAECONNRESET = 10054
    WSAENOBUFS = 10055
    WSAEISCONN = 10056
    WSAENOTCONN = 10057
    WSAETIMEDOUT = 10060
    WSANOTINITIALISED = 10093


SOCKET_ERROR: Final = -1

SOCKET_SETTINGS_GUARANTEE_ENCRYPTION: Final = SecurityFlags.GUARANTEE_ENCRYPTION
SOCKET_SETTINGS_ALLOW_INSECURE: Final = SecurityFlags.ALLOW_INSECURE
SOCKET_SETTINGS_IPSEC_SKIP_FILTER_INSTANTIATION: Final = IpsecFlags.SKIP_FILTER_INSTANTIATION
SOCKET_SETTINGS_IPSEC_OPTIONAL_PEER_NAME_VERIFICATION: Final = IpsecFlags.OPTIONAL_PEER_NAME_VERIFICATION
SOCKET_SETTINGS_IPSEC_ALLOW_FIRST_INBOUND_PKT_UNENCRYPTED: Final = (
    IpsecFlags.ALLOW_FIRST_INBOUND_PKT_UNENCRYPTED
)
SOCKET_SETTINGS_IPSEC_PEER_NAME_IS_RAW_FORMAT: Final = IpsecFlags.PEER_NAME_IS_RAW_FORMAT
SOCKET_INFO_CONNECTION_SECURED: Final = SocketInfo.CONNECTION_SECURED
SOCKET_INFO_CONNECTION_ENCRYPTED: Final = SocketInfo.CONNECTION_ENCRYPTED
SOCKET_INFO_CONNECTION_IMPERSONATED: Final = SocketInfo.CONNECTION_IMPERSONATED
