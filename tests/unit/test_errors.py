"""What an error carries, and that it survives pickling."""

from __future__ import annotations

import array
import errno
import pickle
import sys

import pytest

from wsasec import BatchError, SecurityError, Winsock
from wsasec.batch import _explained
from wsasec.connections import _HINTS
from wsasec.errors import _ERRNO


def make(**more: object) -> SecurityError:
    return SecurityError("it is bound", winsock=10022, hint="secure it first", socket=7, step="state", **more)


def test_attributes() -> None:
    error = make()
    assert isinstance(error, OSError)
    assert error.errno == errno.EINVAL
    assert error.winsock is Winsock.WSAEINVAL
    assert str(error) == "[WSAEINVAL 10022] socket 7: it is bound (step: state); secure it first"


def test_the_systems_own_number_is_told() -> None:
    assert "Operation not permitted" in str(make(errno=errno.EPERM))


def test_hints_are_for_this_system() -> None:
    limit = _explained(SecurityError("no descriptor", winsock=Winsock.WSAEMFILE), 3, 4)
    hints = " ".join([*_HINTS.values(), limit.hint])
    for words in "`ip ", "net.ipv4", "namespace", "RLIMIT", "descriptor":
        assert (words in hints) == (sys.platform != "win32")
    for words in "`route print`", "`netsh ", "handles":
        assert (words in hints) == (sys.platform == "win32")


def test_every_code_has_an_errno() -> None:
    for code in Winsock:
        if code in (Winsock.WSA_IO_PENDING, Winsock.WSANOTINITIALISED):
            continue
        assert _ERRNO[code] > 0
        assert code.name in str(SecurityError("x", winsock=code))


def test_codes_without_an_errno() -> None:
    for code in 997, 10091, 10093:
        error = SecurityError("x", winsock=code, hint="y")
        assert error.errno == code
        assert str(error) == f"[{Winsock(code).name} {code}] x; y"
        assert pickle.loads(pickle.dumps(error))._state() == error._state()


def test_pickle() -> None:
    error = make(profile="p")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is SecurityError
    assert again._state() == error._state()


def test_batch_error() -> None:
    error = BatchError(make(), array.array("i", [0, 10022, 0]), 1)
    assert str(error).startswith("1 of 3 sockets failed, first index 1: [WSAEINVAL")
    with pytest.raises(SecurityError):
        raise error
