"""Programs in the kernel (bpf(2)): put together, loaded and attached to a cgroup, without a library."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import Final

__all__ = [
    "CGROUP_SETSOCKOPT",
    "R0",
    "R1",
    "R2",
    "R3",
    "R4",
    "R5",
    "R6",
    "R7",
    "R8",
    "R10",
    "Assembler",
    "attach",
    "load",
]

# linux/bpf.h
_PROG_LOAD: Final = 5
_LINK_CREATE: Final = 28
_PROG_TYPE_CGROUP_SOCKOPT: Final = 25
CGROUP_SETSOCKOPT: Final = 22
"""Where a program sees each setsockopt() before the kernel does (BPF_CGROUP_SETSOCKOPT)."""

# Of the system call, where the engine runs.
_NUMBERS: Final = {"x86_64": 321, "aarch64": 280}
_INSTRUCTION: Final = struct.Struct("=BBhi")
_LOG_BYTES: Final = 65536

R0, R1, R2, R3, R4, R5, R6, R7, R8, _R9, R10 = range(11)

_ALU64_MOV_K: Final = 0xB7
_ALU64_MOV_X: Final = 0xBF
_ALU64_ADD_K: Final = 0x07
_ALU_MOV_X: Final = 0xBC
_LDX_W: Final = 0x61
_LDX_DW: Final = 0x79
_ST_W: Final = 0x62
_LD_IMM64: Final = 0x18
_JEQ_K: Final = 0x15
_JNE_K: Final = 0x55
_JNE_X: Final = 0x5D
_JGT_X: Final = 0x2D
_JMP32_JSLE_K: Final = 0xD6
_JA: Final = 0x05
_CALL: Final = 0x85
_EXIT: Final = 0x95


class Assembler:
    """Puts a program together; jumps lead forward, to labels. Registers are R0 to R10."""

    def __init__(self) -> None:
        self._code: list[list[int]] = []
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []

    def _add(self, code: int, to: int = 0, by: int = 0, offset: int = 0, value: int = 0) -> None:
        self._code.append([code, to | by << 4, offset, value])

    def set(self, register: int, value: int) -> None:
        """Have a number of 32 bits, with its sign, in a register."""
        self._add(_ALU64_MOV_K, register, value=value)

    def set_wide(self, register: int, value: int) -> None:
        """Have a number of 64 bits in a register."""
        low, high = struct.unpack("=ii", struct.pack("=Q", value))
        self._add(_LD_IMM64, register, value=low)
        self._add(0, value=high)

    def copy(self, register: int, other: int, plus: int = 0) -> None:
        """Have what another register has, and some more, in a register."""
        self._add(_ALU64_MOV_X, register, other)
        if plus:
            self._add(_ALU64_ADD_K, register, value=plus)

    def copy_low(self, register: int, other: int) -> None:
        """Have the low 32 bits of another register in a register."""
        self._add(_ALU_MOV_X, register, other)

    def read(self, register: int, at: int, offset: int, *, wide: bool = False) -> None:
        """Have in a register the 32 bits, or 64, that are at the address in another."""
        self._add(_LDX_DW if wide else _LDX_W, register, at, offset)

    def write(self, at: int, offset: int, value: int) -> None:
        """Write 32 bits to the address in a register."""
        self._add(
            _ST_W, at, offset=offset, value=struct.unpack("=i", struct.pack("=I", value & 0xFFFFFFFF))[0]
        )

    def _jump(self, code: int, label: str, register: int = 0, other: int = 0, value: int = 0) -> None:
        self._jumps.append((len(self._code), label))
        self._add(code, register, other, value=value)

    def go(self, label: str) -> None:
        """Go on at a label."""
        self._jump(_JA, label)

    def go_if_equal(self, register: int, value: int, label: str) -> None:
        """Go on at a label if the register has that number of 32 bits."""
        self._jump(_JEQ_K, label, register, value=value)

    def go_unless_equal(self, register: int, value: int, label: str) -> None:
        """Go on at a label unless the register has that number of 32 bits."""
        self._jump(_JNE_K, label, register, value=value)

    def go_unless_same(self, register: int, other: int, label: str) -> None:
        """Go on at a label unless both registers have the same."""
        self._jump(_JNE_X, label, register, other)

    def go_if_above(self, register: int, other: int, label: str) -> None:
        """Go on at a label if the register has more than the other, both without a sign."""
        self._jump(_JGT_X, label, register, other)

    def go_unless_more(self, register: int, value: int, label: str) -> None:
        """Go on at a label unless the low 32 bits of a register, with their sign, are more than a number."""
        self._jump(_JMP32_JSLE_K, label, register, value=value)

    def call(self, helper: int) -> None:
        """Call a function of the kernel by its number; R1 to R5 are its arguments, R0 its answer."""
        self._add(_CALL, value=helper)

    def leave(self, value: int) -> None:
        """End with an answer."""
        self.set(R0, value)
        self._add(_EXIT)

    def label(self, name: str) -> None:
        """Give the next instruction a name to jump to."""
        self._labels[name] = len(self._code)

    def program(self) -> bytes:
        """Return it. KeyError: a label is missing."""
        for at, label in self._jumps:
            self._code[at][2] = self._labels[label] - at - 1
        return b"".join(_INSTRUCTION.pack(*each) for each in self._code)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _bpf(command: int, attributes: bytes) -> int:
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf: no system call is known for {platform.machine()}")
    given = ctypes.create_string_buffer(attributes, len(attributes))
    found: int = _libc.syscall(ctypes.c_long(number), command, given, ctypes.c_uint(len(attributes)))
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"bpf: {os.strerror(code)}")
    return found


def load(program: bytes, name: str, attach_type: int) -> int:
    """Load a program for the options of sockets; return its descriptor.

    Args:
        program: of an Assembler.
        name: that tools list it by, up to 15 characters.
        attach_type: what it will be attached as: CGROUP_SETSOCKOPT.

    Raises:
        OSError: the kernel has none of this kind, CAP_BPF or CAP_NET_ADMIN is missing (EPERM), or it does not
            take the program (EINVAL, EACCES): the message says why.
    """
    code = ctypes.create_string_buffer(program, len(program))
    license_ = ctypes.create_string_buffer(b"Apache-2.0")
    log = ctypes.create_string_buffer(_LOG_BYTES)

    def attributes(level: int) -> bytes:
        # union bpf_attr, of BPF_PROG_LOAD up to expected_attach_type.
        return struct.pack(
            "=IIQQIIQII16sII",
            *(_PROG_TYPE_CGROUP_SOCKOPT, len(program) // _INSTRUCTION.size),
            *(ctypes.addressof(code), ctypes.addressof(license_)),
            *((level, _LOG_BYTES, ctypes.addressof(log)) if level else (0, 0, 0)),
            *(0, 0, name.encode(), 0, attach_type),
        )

    try:
        return _bpf(_PROG_LOAD, attributes(0))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EACCES):
            raise
    # Once more, for the reason.
    try:
        return _bpf(_PROG_LOAD, attributes(1))
    except OSError as error:
        said = log.value.decode(errors="replace").strip().splitlines()
        raise OSError(error.errno, "; ".join([str(error.strerror), *said[-3:]])) from None


def attach(program: int, cgroup: int, attach_type: int) -> int:
    """Attach a program to a cgroup, beside others; return a descriptor that keeps it there while it is open.

    Raises:
        OSError: the kernel has no such links (EINVAL), another program wants to be alone there (EPERM), or a
            privilege is missing (EPERM).
    """
    return _bpf(_LINK_CREATE, struct.pack("=IIII", program, cgroup, attach_type, 0))
