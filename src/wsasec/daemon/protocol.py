"""What programs and the key daemon say to each other; src/linux/daemon_protocol.h says what it means."""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import Final

__all__ = [
    "ACCOUNT",
    "ASSOCIATION",
    "DESCRIPTORS",
    "FOLDER",
    "HEADER",
    "LARGEST",
    "MAGIC",
    "QUESTION",
    "SECURED",
    "VARIABLE",
    "VERDICT",
    "AbortFlag",
    "Flag",
    "Kind",
    "NameFlag",
]

FOLDER: Final = "/run/wsasec"
VARIABLE: Final = "WSASEC_RUN"
MAGIC: Final = 0x31617377
LARGEST: Final = 65536
DESCRIPTORS: Final = 250


class Kind(IntEnum):
    """What is asked; an answer has ANSWER added. ANSWER alone says why a question was not taken."""

    SECURE = 1
    NEGOTIATE = 2
    SET_NAME = 3
    DELETE_NAME = 4
    HOLD = 5
    QUERY = 6
    ACCOUNT = 7
    CONTROL = 8
    ANSWER = 0x8000


class Flag(IntFlag):
    """Flags of headers."""

    MORE = 1


class NameFlag(IntFlag):
    """Flags of questions about names."""

    RAW = 1
    OPTIONAL = 2


class AbortFlag(IntFlag):
    """Flags of QUERY: the connection is to be aborted when this changes."""

    NONE = 0
    MM_SA_ID = 4
    QM_SA_ID = 8


HEADER: Final = struct.Struct("=IHHII")
QUESTION: Final = struct.Struct("=II128s")
SECURED: Final = struct.Struct("=16sII")
VERDICT: Final = struct.Struct("=iHH248s")
ASSOCIATION: Final = struct.Struct("=256sIIQQQQQQQQ12I")
ACCOUNT: Final = struct.Struct("=256s6I")
