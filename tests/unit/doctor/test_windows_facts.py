"""`wsasec doctor` on Windows: what it finds there."""

from __future__ import annotations

import ctypes
import re
import socket

import pytest

from wsasec import SecurityError, _wsasec
from wsasec.doctor.services import ask_services
from wsasec.doctor.windows_facts import LIBRARY, SERVICES, collect, find_system, try_socket


def test_versions() -> None:
    found = find_system()
    assert re.fullmatch(r"\d+\.\d+\.\d+", found.windows)
    assert (found.wine is not None) is hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


def test_services() -> None:
    """Of those that every Windows has one runs, so that it is known that a state can be read."""
    running, none = ask_services(["RpcSs", "no-such-service"])
    assert (running.state, running.disabled) == ("running", False)
    assert (none.state, none.disabled) == ("absent", False)


def test_a_trial_says_what_secure_says() -> None:
    found = try_socket("ipv4")
    with socket.socket() as sock:
        if found.why is None:
            _wsasec.secure(sock)
        else:
            with pytest.raises(SecurityError) as caught:
                _wsasec.secure(sock)
            assert found.step == caught.value.step
            assert caught.value.hint.startswith(found.hint)
            assert "the socket" not in found.hint
            assert str(caught.value.strerror) in found.why
    assert _wsasec.capability("socket-policy") is (found.step != LIBRARY)


def test_all() -> None:
    found = collect()
    assert [trial.family for trial in found.trials] == ["ipv4", "ipv6"]
    assert [service.name for service in found.services] == list(SERVICES)
    assert found.build.extension == "_wsasec.pyd"
