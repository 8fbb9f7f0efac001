"""IPsec for single sockets, at C speed.

with socket.socket() as s:
    wsasec.secure(s)                    # encrypted from here on, or nothing is sent
    wsasec.connect(s, ("10.0.0.2", 443))
"""

from importlib.metadata import version as _version
from importlib.util import find_spec as _find_spec

from . import aio, constants
from ._wsasec import release_namespaces, secure, secure_many, socket_options
from .constants import *  # noqa: F403
from .errors import BatchError, SecurityError
from .first_use import SecurityWarning
from .profile import Profile
from .profiles import ConfigError
from .settings import IpsecSettings, Settings
from .sockets import WSAGetLastError, WSASetSocketSecurity, connect

__version__ = _version("wsasec")

__all__ = [
    "BatchError",
    "ConfigError",
    "IpsecSettings",
    "Profile",
    "SecurityError",
    "SecurityWarning",
    "Settings",
    "WSAGetLastError",
    "WSASetSocketSecurity",
    "aio",
    "connect",
    "get_include",
    "release_namespaces",
    "secure",
    "secure_many",
    "socket_options",
]
__all__ += constants.__all__


def get_include() -> str:
    """Return the folder of wsasec.h and wsasec_types.h, for C compilers."""
    spec = _find_spec("wsasec.include")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("wsasec was installed without its headers")
    return str(next(iter(spec.submodule_search_locations)))
