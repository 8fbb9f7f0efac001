"""Microsoft's constants (mstcpip.h, winsock2.h): enums with short names, and the full names."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

__all__ = [
    "SOCKET_ERROR",
    "SOCKET_INFO_CONNECTION_ENCRYPTED",
    "SOCKET_INFO_CONNECTION_IMPERSONATED",
    "SOCKET_INFO_CONNECTION_SECURED",
    "SOCKET_QUERY_IPSEC2_ABORT_CONNECTION_ON_FIELD_CHANGE",
    "SOCKET_QUERY_IPSEC2_FIELD_MASK_MM_SA_ID",
    "SOCKET_QUERY_IPSEC2_FIELD_MASK_QM_SA_ID",
    "SOCKET_SETTINGS_ALLOW_INSECURE",
    "SOCKET_SETTINGS_GUARANTEE_ENCRYPTION",
    "SOCKET_SETTINGS_IPSEC_ALLOW_FIRST_INBOUND_PKT_UNENCRYPTED",
    "SOCKET_SETTINGS_IPSEC_OPTIONAL_PEER_NAME_VERIFICATION",
    "SOCKET_SETTINGS_IPSEC_PEER_NAME_IS_RAW_FORMAT",
    "SOCKET_SETTINGS_IPSEC_SKIP_FILTER_INSTANTIATION",
    "IpsecFlags",
    "QueryFields",
    "QueryFlags",
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


class QueryFields(IntFlag):
    """SOCKET_QUERY_IPSEC2_FIELD_MASK_..., for ``FieldMask`` in a query."""

    NONE = 0
    MM_SA_ID = 0x1
    QM_SA_ID = 0x2


class QueryFlags(IntFlag):
    """SOCKET_QUERY_IPSEC2_..., for ``Flags`` in a query."""

    NONE = 0
    ABORT_CONNECTION_ON_FIELD_CHANGE = 0x1
    """The connection ends when one of the fields changes."""


class Winsock(IntEnum):
    """Error codes of winsock2.h that the six functions return; Winsock(n) has a member for any other, too."""

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
    WSAENETUNREACH = 10051
    WSAECONNRESET = 10054
    WSAENOBUFS = 10055
    WSAEISCONN = 10056
    WSAENOTCONN = 10057
    WSAETIMEDOUT = 10060
    WSAECONNREFUSED = 10061
    WSAEHOSTUNREACH = 10065
    WSANOTINITIALISED = 10093

    @classmethod
    def _missing_(cls, value: object) -> Winsock | None:
        """Make a member of any other code that Windows may answer, named WINSOCK_ and its number."""
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 0x7FFFFFFF:
            return None
        member = int.__new__(cls, value)
        member._name_ = f"WINSOCK_{value:d}"
        member._value_ = int(value)
        # The first one, where two threads make it at once.
        return cls._value2member_map_.setdefault(int(value), member)  # type: ignore[return-value]

    def __reduce_ex__(self, _protocol: object) -> tuple[type[Winsock], tuple[int]]:
        """By the number: by the name only those above are found."""
        return Winsock, (int(self),)


SOCKET_ERROR: Final = -1

SOCKET_SETTINGS_GUARANTEE_ENCRYPTION: Final = SecurityFlags.GUARANTEE_ENCRYPTION
SOCKET_SETTINGS_ALLOW_INSECURE: Final = SecurityFlags.ALLOW_INSECURE
SOCKET_SETTINGS_IPSEC_SKIP_FILTER_INSTANTIATION: Final = IpsecFlags.SKIP_FILTER_INSTANTIATION
SOCKET_SETTINGS_IPSEC_OPTIONAL_PEER_NAME_VERIFICATION: Final = IpsecFlags.OPTIONAL_PEER_NAME_VERIFICATION
SOCKET_SETTINGS_IPSEC_ALLOW_FIRST_INBOUND_PKT_UNENCRYPTED: Final = (
    IpsecFlags.ALLOW_FIRST_INBOUND_PKT_UNENCRYPTED
)
SOCKET_SETTINGS_IPSEC_PEER_NAME_IS_RAW_FORMAT: Final = IpsecFlags.PEER_NAME_IS_RAW_FORMAT
SOCKET_QUERY_IPSEC2_ABORT_CONNECTION_ON_FIELD_CHANGE: Final = QueryFlags.ABORT_CONNECTION_ON_FIELD_CHANGE
SOCKET_QUERY_IPSEC2_FIELD_MASK_MM_SA_ID: Final = QueryFields.MM_SA_ID
SOCKET_QUERY_IPSEC2_FIELD_MASK_QM_SA_ID: Final = QueryFields.QM_SA_ID
SOCKET_INFO_CONNECTION_SECURED: Final = SocketInfo.CONNECTION_SECURED
SOCKET_INFO_CONNECTION_ENCRYPTED: Final = SocketInfo.CONNECTION_ENCRYPTED
SOCKET_INFO_CONNECTION_IMPERSONATED: Final = SocketInfo.CONNECTION_IMPERSONATED
