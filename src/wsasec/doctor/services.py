"""What Windows' service control manager says of services; no program is run, and nothing changed."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Service", "ask_services"]

# winsvc.h and winerror.h
_SC_MANAGER_CONNECT: Final = 0x1
_SERVICE_QUERY_CONFIG: Final = 0x1
_SERVICE_QUERY_STATUS: Final = 0x4
_SERVICE_DISABLED: Final = 4
_ERROR_ACCESS_DENIED: Final = 5
_ERROR_SERVICE_DOES_NOT_EXIST: Final = 1060
_STATES: Final = {
    1: "stopped",
    2: "starting",
    3: "stopping",
    4: "running",
    5: "about to continue",
    6: "about to pause",
    7: "paused",
}


@dataclass(frozen=True, slots=True)
class Service:
    """A service.

    Attributes:
        name: as sc.exe has it.
        state: "running", "stopped", ...; "absent" where there is none; None if it could not be asked.
        why: why it could not be asked.
        disabled: whether it cannot be started as it is configured; False also where this is not told.

    """

    name: str
    state: str | None
    why: str = ""
    disabled: bool = False


if sys.platform == "win32":

    def ask_services(names: Iterable[str]) -> tuple[Service, ...]:
        """Ask for services by their names."""
        library = _library()
        manager = library.OpenSCManagerW(None, None, _SC_MANAGER_CONNECT)
        if not manager:
            why = _words(ctypes.get_last_error())
            return tuple(Service(name, None, why) for name in names)
        try:
            return tuple(_ask(library, manager, name) for name in names)
        finally:
            library.CloseServiceHandle(manager)

    def _library() -> ctypes.WinDLL:
        """Return advapi32.dll, whose handles are pointers."""
        library = ctypes.WinDLL(
            "advapi32", use_last_error=True, winmode=0x800
        )  # LOAD_LIBRARY_SEARCH_SYSTEM32
        handle, text, number = ctypes.c_void_p, ctypes.c_wchar_p, ctypes.c_uint32
        for name, result, arguments in (
            ("OpenSCManagerW", handle, (text, text, number)),
            ("OpenServiceW", handle, (handle, text, number)),
            ("QueryServiceStatus", ctypes.c_int, (handle, ctypes.c_void_p)),
            ("QueryServiceConfigW", ctypes.c_int, (handle, ctypes.c_void_p, number, ctypes.c_void_p)),
            ("CloseServiceHandle", ctypes.c_int, (handle,)),
        ):
            function: Any = getattr(library, name)
            function.restype = result
            function.argtypes = arguments
        return library

    def _words(error: int) -> str:
        return f"{ctypes.FormatError(error).rstrip('.')} ({error})"

    def _ask(library: ctypes.WinDLL, manager: int, name: str) -> Service:
        service = library.OpenServiceW(manager, name, _SERVICE_QUERY_STATUS | _SERVICE_QUERY_CONFIG)
        told = bool(service)
        if not service and ctypes.get_last_error() == _ERROR_ACCESS_DENIED:
            service = library.OpenServiceW(manager, name, _SERVICE_QUERY_STATUS)
        if not service:
            error = ctypes.get_last_error()
            if error == _ERROR_SERVICE_DOES_NOT_EXIST:
                return Service(name, "absent")
            return Service(name, None, _words(error))
        try:
            status = (ctypes.c_uint32 * 7)()  # SERVICE_STATUS, of which the second member is the state
            if not library.QueryServiceStatus(service, ctypes.byref(status)):
                return Service(name, None, _words(ctypes.get_last_error()))
            state = _STATES.get(status[1], f"in state {status[1]}")
            return Service(name, state, disabled=told and _is_disabled(library, service))
        finally:
            library.CloseServiceHandle(service)

    def _is_disabled(library: ctypes.WinDLL, service: int) -> bool:
        # QUERY_SERVICE_CONFIGW, of which the second member is how it starts; none is longer than 8 KiB.
        config = (ctypes.c_uint32 * 2048)()
        needed = ctypes.c_uint32()
        if not library.QueryServiceConfigW(service, config, ctypes.sizeof(config), ctypes.byref(needed)):
            return False
        return config[1] == _SERVICE_DISABLED

else:

    def ask_services(names: Iterable[str]) -> tuple[Service, ...]:
        """Elsewhere there is nobody to ask."""
        return tuple(Service(name, None, "not on Windows") for name in names)
