"""IPsec for single sockets, at C speed.

with socket.socket() as s:
    wsasec.secure(s)                    # encrypted from here on, or nothing is sent
    wsasec.connect(s, ("10.0.0.2", 443))
"""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import traffic
from ._wsasec import Histogram, method_costs, release_namespaces, secure, secure_many, socket_options
from .accepting import accept
from .batch import SocketBatch
from .connections import ConnectError, ConnectReport
from .constants import (
    SOCKET_ERROR,
    SOCKET_INFO_CONNECTION_ENCRYPTED,
    SOCKET_INFO_CONNECTION_IMPERSONATED,
    SOCKET_INFO_CONNECTION_SECURED,
    SOCKET_QUERY_IPSEC2_ABORT_CONNECTION_ON_FIELD_CHANGE,
    SOCKET_QUERY_IPSEC2_FIELD_MASK_MM_SA_ID,
    SOCKET_QUERY_IPSEC2_FIELD_MASK_QM_SA_ID,
    SOCKET_SETTINGS_ALLOW_INSECURE,
    SOCKET_SETTINGS_GUARANTEE_ENCRYPTION,
    SOCKET_SETTINGS_IPSEC_ALLOW_FIRST_INBOUND_PKT_UNENCRYPTED,
    SOCKET_SETTINGS_IPSEC_OPTIONAL_PEER_NAME_VERIFICATION,
    SOCKET_SETTINGS_IPSEC_PEER_NAME_IS_RAW_FORMAT,
    SOCKET_SETTINGS_IPSEC_SKIP_FILTER_INSTANTIATION,
    IpsecFlags,
    QueryFields,
    QueryFlags,
    SecurityFlags,
    SecurityProtocol,
    SocketInfo,
    Winsock,
)
from .descriptor_limit import raise_descriptor_limit
from .errors import BatchError, ImpersonationError, SecurityError
from .first_use import SecurityWarning
from .listener import Listener, ListenerCounts
from .peers import (
    Association,
    Impersonation,
    SocketSecurity,
    Token,
    delete_peer_target_name,
    impersonate,
    negotiate,
    query,
    revert_impersonation,
    set_peer_target_name,
)
from .profile import Profile
from .profiles import ConfigError
from .settings import IpsecSettings, Settings
from .sockets import connect
from .winsock import (
    WSADeleteSocketPeerTargetName,
    WSAGetLastError,
    WSAImpersonateSocketPeer,
    WSAQuerySocketSecurity,
    WSARevertImpersonation,
    WSASetSocketPeerTargetName,
    WSASetSocketSecurity,
)

if _TYPE_CHECKING:
    from . import aio, policy

    __version__: str

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
    "Association",
    "BatchError",
    "ConfigError",
    "ConnectError",
    "ConnectReport",
    "Histogram",
    "Impersonation",
    "ImpersonationError",
    "IpsecFlags",
    "IpsecSettings",
    "Listener",
    "ListenerCounts",
    "Profile",
    "QueryFields",
    "QueryFlags",
    "SecurityError",
    "SecurityFlags",
    "SecurityProtocol",
    "SecurityWarning",
    "Settings",
    "SocketBatch",
    "SocketInfo",
    "SocketSecurity",
    "Token",
    "WSADeleteSocketPeerTargetName",
    "WSAGetLastError",
    "WSAImpersonateSocketPeer",
    "WSAQuerySocketSecurity",
    "WSARevertImpersonation",
    "WSASetSocketPeerTargetName",
    "WSASetSocketSecurity",
    "Winsock",
    "accept",
    "aio",
    "connect",
    "delete_peer_target_name",
    "get_include",
    "get_library_dir",
    "impersonate",
    "method_costs",
    "negotiate",
    "policy",
    "query",
    "raise_descriptor_limit",
    "release_namespaces",
    "revert_impersonation",
    "secure",
    "secure_many",
    "set_peer_target_name",
    "socket_options",
    "traffic",
]


if not _TYPE_CHECKING:  # or any other name were an Any

    def __getattr__(name: str) -> _Any:
        """Load what most programs do without: asyncio, for one, takes as long as all the rest."""
        if name in ("aio", "policy"):
            return _import_module(f".{name}", __name__)
        if name == "__version__":
            version = globals()[name] = _import_module("importlib.metadata").version("wsasec")
            return version
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


def get_include() -> str:
    """Return the folder of wsasec.h, wsasec_capi.h and the other headers, for C and Cython compilers."""
    spec = _find_spec("wsasec.include")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("wsasec was installed without its headers")
    return str(next(iter(spec.submodule_search_locations)))


def get_library_dir() -> str:
    """Return the folder of libwsasec.a, for the linkers of C programs; `wsasec config --libs` says it all.

    Extension modules of Python do not link with it: they share the library that is loaded (wsasec_capi.h).
    """
    folder = _Path(__file__).with_name("lib")
    if not folder.is_dir():
        raise FileNotFoundError("wsasec was installed without its static library")
    return str(folder)
