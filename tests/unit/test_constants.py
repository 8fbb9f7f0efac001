"""Python's constants against the header that C programs use."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

import wsasec
from wsasec import Winsock, constants

HEADER = (Path(wsasec.get_include()) / "wsasec_types.h").read_text()


def test_headers_are_installed() -> None:
    assert (Path(wsasec.get_include()) / "wsasec.h").is_file()


def _defines(prefix: str) -> dict[str, int]:
    found = re.findall(rf"#define WSASEC_{prefix}(\w+) UINT32_C\((0x[0-9a-fA-F]+)\)", HEADER)
    return {name: int(value, 0) for name, value in found}


def _enumerators(prefix: str) -> dict[str, int]:
    found = re.findall(rf"WSASEC_{prefix}(\w+) = (\d+)", HEADER)
    return {name: int(value) for name, value in found}


def test_flags() -> None:
    both = _defines("SOCKET_SETTINGS_")
    ipsec = {name.removeprefix("IPSEC_"): value for name, value in both.items() if name.startswith("IPSEC_")}
    plain = {name: value for name, value in both.items() if not name.startswith("IPSEC_")}
    assert {flag.name: flag.value for flag in constants.SecurityFlags if flag} == plain
    assert {flag.name: flag.value for flag in constants.IpsecFlags if flag} == ipsec
    assert {flag.name: flag.value for flag in constants.SocketInfo if flag} == _defines("SOCKET_INFO_")
    query = _defines("SOCKET_QUERY_IPSEC2_")
    fields = {f"FIELD_MASK_{field.name}": field.value for field in constants.QueryFields if field}
    assert fields | {flag.name: flag.value for flag in constants.QueryFlags if flag} == query


def test_protocols() -> None:
    assert {p.name: p.value for p in constants.SecurityProtocol} == _enumerators("SOCKET_SECURITY_PROTOCOL_")


def test_codes() -> None:
    codes = {f"WSA{name}": value for name, value in _enumerators("WSA").items()}
    assert {code.name: code.value for code in constants.Winsock} == codes


def test_microsofts_names() -> None:
    prefixes = ("SOCKET_SETTINGS_", "SOCKET_INFO_", "SOCKET_QUERY_")
    known = {p + name: value for p in prefixes for name, value in _defines(p).items()}
    names = [name for name in constants.__all__ if name.startswith(prefixes)]
    assert {name: getattr(wsasec, name) for name in names} == known


@pytest.mark.parametrize("number", [1, 6, 10091, 11001, 2**31 - 1])
def test_any_other_code_has_a_member(number: int) -> None:
    code = Winsock(number)
    assert (code, code.name, code.value) == (number, f"WINSOCK_{number}", number)
    assert isinstance(code, Winsock)
    assert Winsock(number) is code
    assert pickle.loads(pickle.dumps(code)) is code
    assert code not in list(Winsock)
    assert repr(code) == f"<Winsock.WINSOCK_{number}: {number}>"


@pytest.mark.parametrize("wrong", [0, -1, 2**31, "10013", None, 1.5])
def test_what_is_no_code(wrong: object) -> None:
    with pytest.raises(ValueError, match="is not a valid Winsock"):
        Winsock(wrong)
