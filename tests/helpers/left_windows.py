"""What this process has open, as Windows tells it: sockets by handles, processes and threads by a snapshot.

Other handles are not looked for: Windows and Python keep some from their first use on.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

SOL_SOCKET, SO_TYPE = 0xFFFF, 0x1008
TH32CS_SNAPPROCESS, TH32CS_SNAPTHREAD = 0x2, 0x4
INVALID_HANDLE_VALUE = ctypes.c_void_p(-1).value
# A handle is a place in a table that only grows: places behind what is in use now may be in use, too.
SPARE = 256

kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
ws2_32 = ctypes.WinDLL("ws2_32")
kernel32.GetCurrentProcess.restype = ctypes.c_void_p
kernel32.GetProcessHandleCount.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
kernel32.CreateToolhelp32Snapshot.restype = ctypes.c_void_p
kernel32.CloseHandle.argtypes = [ctypes.c_void_p]
ws2_32.getsockopt.argtypes = [ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]


class Process(ctypes.Structure):
    """PROCESSENTRY32."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("usage", ctypes.c_uint32),
        ("process", ctypes.c_uint32),
        ("heap", ctypes.c_size_t),
        ("module", ctypes.c_uint32),
        ("threads", ctypes.c_uint32),
        ("parent", ctypes.c_uint32),
        ("priority", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
        ("file", ctypes.c_char * 260),
    ]


class Thread(ctypes.Structure):
    """THREADENTRY32."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("usage", ctypes.c_uint32),
        ("thread", ctypes.c_uint32),
        ("process", ctypes.c_uint32),
        ("priority", ctypes.c_int32),
        ("delta", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
    ]


def descriptors() -> dict[str, str]:
    """All sockets, and of which type they are."""
    count, value, length = ctypes.c_uint32(), ctypes.c_int(), ctypes.c_int()
    kernel32.GetProcessHandleCount(kernel32.GetCurrentProcess(), ctypes.byref(count))
    places = (ctypes.byref(value), ctypes.byref(length))
    found: dict[str, str] = {}
    for handle in range(4, 4 * (count.value + SPARE), 4):
        length.value = ctypes.sizeof(value)
        if ws2_32.getsockopt(handle, SOL_SOCKET, SO_TYPE, *places) == 0:
            found[str(handle)] = f"socket of type {value.value}"
    return found


def children() -> set[str]:
    """The processes that this one has started."""
    listed = _listed(TH32CS_SNAPPROCESS, kernel32.Process32First, kernel32.Process32Next, Process())
    return {str(entry.process) for entry in listed if entry.parent == os.getpid()}


def tasks() -> set[str]:
    """The threads, also those that Python does not know of."""
    listed = _listed(TH32CS_SNAPTHREAD, kernel32.Thread32First, kernel32.Thread32Next, Thread())
    return {str(entry.thread) for entry in listed if entry.process == os.getpid()}


def _listed(what, first, following, entry) -> Iterator:
    """The same entry, again and again with other contents."""
    first.argtypes = following.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    snapshot = kernel32.CreateToolhelp32Snapshot(what, 0)
    assert snapshot != INVALID_HANDLE_VALUE, ctypes.WinError(ctypes.get_last_error())
    try:
        entry.size = ctypes.sizeof(entry)
        more = first(snapshot, ctypes.byref(entry))
        while more:
            yield entry
            more = following(snapshot, ctypes.byref(entry))
    finally:
        kernel32.CloseHandle(snapshot)
