"""Why key negotiation, or a question about it, failed: those reasons of enum wsasec_reason."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["DETAIL_BYTES", "CharonError", "Reason", "one_line"]

DETAIL_BYTES = 200


class Reason(IntEnum):
    """The numbers are those of include/wsasec.h; a test compares them."""

    NONE = 0
    NOT_A_SOCKET = 1
    FAMILY = 7
    CONNECTED = 10
    PEER_ADDRESS = 24
    PRIVILEGE = 26
    SYSTEM = 36
    NOT_SECURED = 52
    TIMED_OUT = 62
    NO_DAEMON = 71
    DAEMON_SILENT = 72
    DAEMON_ANSWER = 73
    DAEMON_BUSY = 74
    DAEMON_NAMESPACE = 75
    NOT_ALLOWED = 76
    NO_CHARON = 77
    PEER_SILENT = 78
    NO_PROPOSAL = 79
    AUTHENTICATION = 80
    OTHER_IDENTITY = 81
    NOT_TRANSPORT = 82
    NEGOTIATION = 83
    UNREACHABLE = 84
    NO_ASSOCIATION = 85
    NOT_CONNECTED = 86
    NO_IDENTITY = 87
    NO_ACCOUNT = 88
    NON_BLOCKING = 89
    NAME_FORM = 90
    NO_NAME = 91
    TOKENS = 92
    IMPERSONATING = 93
    IDENTITY_PRIVILEGE = 94
    NO_ABORT = 95
    NO_DEVICE = 96
    DEVICE_DOWN = 97
    DEVICE_UNVOUCHED = 98
    DEVICE_OTHER = 99
    DEVICE_RULES = 100
    DEVICE_REFLECT = 101
    NO_NFTABLES = 102


def one_line(text: str) -> str:
    """Return text as one line of printable characters, at most DETAIL_BYTES bytes of UTF-8.

    What peers and charon say is not to be trusted with the terminal it is shown on.
    """
    words = "".join(c if c.isprintable() else " " for c in text).split()
    return " ".join(words).encode("utf-8", "replace")[:DETAIL_BYTES].decode("utf-8", "ignore")


class CharonError(Exception):
    """charon, or a negotiation by it, failed.

    Attributes:
        reason: why.
        detail: what there is to say of this case: one line, at most DETAIL_BYTES bytes, never a secret.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        detail = one_line(detail)
        name = reason.name.lower().replace("_", " ")
        super().__init__(f"{name}: {detail}" if detail else name)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[CharonError], tuple[Reason, str]]:
        return type(self), (self.reason, self.detail)
