"""The double of fwpuclnt.dll, from Python: what it was called with, and what it is to do. See double.h."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import time
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

VERSION = 2
CALLS = 20_000
BYTES = 256
PORTS = 64
NAME_LENGTH = 64
PATIENCE = 30.0

LOAD_LIBRARY_SEARCH_SYSTEM32 = 0x800
STATUS_CANCELLED = 0xC0000120
STATUS_CONNECTION_RESET = 0xC000020D


class Function(IntEnum):
    """The functions, by their own names."""

    WSASetSocketSecurity = 0
    WSAQuerySocketSecurity = 1
    WSASetSocketPeerTargetName = 2
    WSADeleteSocketPeerTargetName = 3
    WSAImpersonateSocketPeer = 4
    WSARevertImpersonation = 5
    FwpmEngineOpen0 = 6
    FwpmEngineClose0 = 7
    FwpmProviderContextAdd1 = 8
    FwpmProviderContextDeleteByKey0 = 9
    FwpmProviderContextGetByKey1 = 10
    FwpmProviderContextCreateEnumHandle0 = 11
    FwpmProviderContextEnum1 = 12
    FwpmProviderContextDestroyEnumHandle0 = 13
    FwpmFreeMemory0 = 14
    IPsecSaContextCreateEnumHandle0 = 15
    IPsecSaContextEnum1 = 16
    IPsecSaContextDestroyEnumHandle0 = 17
    IkeextSaGetById1 = 18


class Mode(IntEnum):
    """What becomes of an overlapped call."""

    AT_ONCE = 0  # it returns 0, and is completed as if it had been pending
    DELAYED = 1  # WSA_IO_PENDING; completed after the delay
    RANDOM = 2  # ... at any time within the delay
    ON_RELEASE = 3  # ... when it is released
    NEVER = 4  # ... by CancelIoEx or the end of the socket: a real request of the system's


class Given(IntFlag):
    """Pointers that were not NULL."""

    INPUT = 1
    OUTPUT = 2
    LENGTH = 4
    OVERLAPPED = 8
    ROUTINE = 16


class Handles(IntEnum):
    """What is handed out for tokens: nothing, handles of events, or tokens of this process."""

    NONE = 0
    EVENTS = 1
    TOKENS = 2


class _Told(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint32)
        for name in ("error", "status", "skip", "times", "mode", "delay", "seen", "unused")
    ]


class _Record(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("socket", "overlapped", "routine", "value")),
        *((name, ctypes.c_uint32) for name in ("function", "thread", "pointers", "length", "output_length")),
        *((name, ctypes.c_uint32) for name in ("exclusive", "result", "error", "written", "release")),
        *((name, ctypes.c_uint32) for name in ("completed", "status")),
        ("bytes", ctypes.c_uint8 * BYTES),
    ]


class _Port(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("socket", "port", "key")]


class _Shared(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("version", "size", "count", "completed", "pending", "look")),
        *((name, ctypes.c_uint32) for name in ("exclusive", "seed", "handles", "size_error", "info_length")),
        *((name, ctypes.c_uint32) for name in ("port_count", "bare", "unused")),
        ("last", ctypes.c_uint8 * BYTES),
        ("info", ctypes.c_uint8 * 64),
        ("ports", _Port * PORTS),
        ("told", _Told * len(Function)),
        ("records", _Record * CALLS),
    ]


class Pair(ctypes.Structure):
    """Two associations of quick mode, one for each direction. IPv4 addresses are the first four bytes."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("id", "main_mode")),
        *((name, ctypes.c_uint32) for name in ("quick_mode", "version")),  # version: 0 IPv4, 1 IPv6
        *((name, ctypes.c_uint8 * 16) for name in ("local", "remote")),
        *((name, ctypes.c_uint32) for name in ("remote_port", "transform", "auth_type", "auth_config")),
        *((name, ctypes.c_uint32) for name in ("cipher_type", "cipher_config", "inbound_spi")),
        *((name, ctypes.c_uint32) for name in ("outbound_spi", "seconds", "kilobytes", "packets", "pfs")),
        *((name, ctypes.c_uint32) for name in ("flags", "unused")),
        ("target", ctypes.c_wchar * NAME_LENGTH),
    ]


class MainMode(ctypes.Structure):
    """An association of main mode."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("id", "initiator", "responder")),
        *((name, ctypes.c_uint32) for name in ("key_module", "version")),
        *((name, ctypes.c_uint8 * 16) for name in ("local", "remote")),
        *((name, ctypes.c_uint32) for name in ("cipher", "key_length", "integrity", "seconds", "group")),
        *((name, ctypes.c_uint32) for name in ("quick_modes", "method", "unused")),
        ("peer", ctypes.c_wchar * NAME_LENGTH),
    ]


@dataclass(frozen=True, slots=True)
class Platform:
    """How many things of the filtering platform there are."""

    sessions: int
    contexts: int
    enumerations: int  # that were not destroyed
    answers: int  # that were not freed


@dataclass(frozen=True, slots=True)
class Call:
    """One call."""

    number: int  # the order of the calls, from 0
    function: Function
    socket: int  # for the filtering platform: the engine
    thread: int
    data: bytes  # the input, of which no more than BYTES are kept
    length: int  # ... which the caller said it has
    given: Given
    overlapped: int
    routine: int
    value: int  # a number that was given beside the input
    output_length: int  # the room for the answer
    exclusive: bool | None  # SO_EXCLUSIVEADDRUSE at the call; None: it was not asked, or there was no answer
    error: int  # that it returned with; 0: none
    completed: int  # 1 for the first overlapped call that was completed; 0: not completed, or not overlapped
    status: int  # that it was completed with


class Double:
    """The double that is loaded in this process; with a name, the memory that other processes have by it.

    They have WSASEC_DOUBLE=NAME in the environment.
    """

    def __init__(self, name: str | None = None) -> None:
        self._library: Any = None
        if name is None:
            self._library = load()
            if self._library is None:
                raise OSError("the fwpuclnt.dll that is loaded is not the double")
            name = os.environ.get("WSASEC_DOUBLE") or f"wsasec-double-{os.getpid()}"
        self._memory = mmap.mmap(-1, ctypes.sizeof(_Shared), tagname=name)  # type: ignore[call-arg]
        self.shared = _Shared.from_buffer(self._memory)
        if self._library and (self.shared.version, self.shared.size) != (VERSION, ctypes.sizeof(_Shared)):
            raise OSError("the double that is loaded is of another version: build it again")

    def reset(self) -> None:
        """Forget all calls and orders; what is pending is completed as cancelled."""
        self._library.WsasecDoubleReset()

    @property
    def library(self) -> Any:
        """The DLL."""
        return self._library

    @property
    def count(self) -> int:
        """How many calls there were, with those that had no room."""
        return int(self.shared.count)

    @property
    def calls(self) -> list[Call]:
        """All calls that are not still going on, in order."""
        return [self._call(number) for number in range(min(self.count, CALLS)) if self._is_written(number)]

    def calls_of(self, function: Function) -> list[Call]:
        """Those of one function."""
        return [
            self._call(number)
            for number in range(min(self.count, CALLS))
            if self.shared.records[number].function == function and self._is_written(number)
        ]

    def _is_written(self, number: int) -> bool:
        return bool(self.shared.records[number].written)

    def _call(self, number: int) -> Call:
        one = self.shared.records[number]
        given = Given(one.pointers)
        return Call(
            number=number,
            function=Function(one.function),
            socket=one.socket,
            thread=one.thread,
            data=bytes(one.bytes[: min(one.length, BYTES)]) if Given.INPUT in given else b"",
            length=one.length,
            given=given,
            overlapped=one.overlapped,
            routine=one.routine,
            value=one.value,
            output_length=one.output_length,
            exclusive=None if one.exclusive == 2 else bool(one.exclusive),
            error=one.error,
            completed=one.completed,
            status=one.status,
        )

    def fail(self, function: Function, error: int, *, skip: int = 0, times: int = 0) -> None:
        """Have calls fail: after so many more that succeed, so many (0: all). An error of 0 ends it."""
        told = self.shared.told[function]
        told.error, told.skip, told.times = error, told.seen + skip, times

    def overlap(
        self,
        function: Function,
        mode: Mode,
        *,
        delay: float = 0.0,
        status: int = 0,
        skip: int = 0,
        times: int = 0,
    ) -> None:
        """Have overlapped calls completed so, after seconds; some (see `fail`) or all with an NTSTATUS."""
        told = self.shared.told[function]
        told.mode, told.delay, told.status = mode, round(delay * 1e6), status
        told.skip, told.times = told.seen + skip, times

    def release(self, number: int) -> None:
        """Have a call completed that is pending until then."""
        self.shared.records[number].release = 1

    def release_all(self) -> None:
        """Have all of them completed."""
        for number in range(min(self.count, CALLS)):
            self.shared.records[number].release = 1

    @property
    def pending(self) -> int:
        """How many overlapped calls the double will complete yet."""
        return int(self.shared.pending)

    @property
    def completed(self) -> int:
        """How many it has completed."""
        return int(self.shared.completed)

    def settle(self) -> None:
        """Wait until nothing is pending."""
        deadline = time.monotonic() + PATIENCE
        while self.pending:
            assert time.monotonic() < deadline, f"{self.pending} calls are still pending"
            time.sleep(0.002)

    def answer(
        self,
        flags: int,
        *,
        main_mode: int = 0,
        quick_mode: int = 0,
        error: int = 0,
        lookup: bytes = bytes(16),
        length: int = 0,
    ) -> None:
        """Say what a query answers; the protocol is that of its template. The length, by default, too."""
        self.shared.info[:] = struct.pack("<4xI16xQQI16s4x", flags, main_mode, quick_mode, error, lookup)
        self.shared.info_length = length

    def size_error(self, error: int) -> None:
        """Say with what a query fails that only asks for the size."""
        self.shared.size_error = error

    def hand_out(self, handles: Handles) -> None:
        """Say what a query hands out as tokens, where its template asks for them."""
        self.shared.handles = handles

    @property
    def open_handles(self) -> int:
        """How many handles that were handed out are not closed."""
        return int(self._library.WsasecDoubleOpenHandles())

    def add(self, association: Pair | MainMode) -> None:
        """Have it told by IPsecSaContextEnum1 or IkeextSaGetById1."""
        name = "WsasecDoubleAddPair" if isinstance(association, Pair) else "WsasecDoubleAddMainMode"
        assert getattr(self._library, name)(ctypes.byref(association), ctypes.sizeof(association))

    @property
    def platform(self) -> Platform:
        """What there is of the filtering platform in this process."""
        counts = (ctypes.c_uint32 * 4)()
        self._library.WsasecDoubleWfp(counts)
        return Platform(*counts)

    def port(self, port: int, key: int, socket: int = 0) -> None:
        """Name the completion port of a socket, or of all. Under Wine it is found without."""
        count = self.shared.port_count
        self.shared.ports[count] = _Port(socket, port, key)
        self.shared.port_count = count + 1

    def bare(self) -> None:
        """Do nothing but write down: SO_EXCLUSIVEADDRUSE is neither asked for nor set."""
        self.shared.look = self.shared.exclusive = 0

    def only_copy(self) -> None:
        """Have WSASetSocketSecurity only count, and copy its settings, for measurements; from one thread."""
        self._library.WsasecDoubleBare(1)


def load() -> Any:
    """Load the system's fwpuclnt.dll as wsasec does; None where that is not the double."""
    library = ctypes.WinDLL("fwpuclnt.dll", winmode=LOAD_LIBRARY_SEARCH_SYSTEM32, use_last_error=True)  # type: ignore[attr-defined]
    return (
        library
        if hasattr(library, "WsasecDoubleVersion") and library.WsasecDoubleVersion() == VERSION
        else None
    )
