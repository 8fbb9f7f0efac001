"""Sockets for ESP, as far as nothing is bound: whoever may open any may."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from wsasec.engine import routes, unbound
from wsasec.engine.transports import _RECEIVED, _TO_SEND
from wsasec.keys.carrier import EngineCarrier


def closed(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


def test_unbound_sockets() -> None:
    found = unbound(2)
    try:
        assert [each.family for each in found] == 2 * [socket.AF_INET] + 2 * [socket.AF_INET6]
        for each in found:
            assert each.type == socket.SOCK_DGRAM
            assert each.getsockname()[1] == 0
            assert not os.get_inheritable(each.fileno())
            for option, size, limit in (
                (socket.SO_RCVBUF, _RECEIVED, "rmem_default"),
                (socket.SO_SNDBUF, _TO_SEND, "wmem_default"),
            ):
                # Linux counts double (socket(7)). Without CAP_NET_ADMIN it stays as it was.
                usual = int(Path("/proc/sys/net/core", limit).read_text())
                assert each.getsockopt(socket.SOL_SOCKET, option) in (2 * size, usual)
    finally:
        closed(found)


def test_carrier_has_one_for_each_thread_and_family(tmp_path: Path) -> None:
    found = EngineCarrier(tmp_path / "engine", 3).sockets()
    assert len(found) == 6
    closed(found)


def without_six(error: int) -> Any:
    class Socket(socket.socket):
        def __init__(self, family: int, *rest: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(error, "no")
            super().__init__(family, *rest)

    return Socket


def test_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", without_six(errno.EAFNOSUPPORT))
    monkeypatch.setattr(routes, "has_ipv6", lambda: False)
    found = unbound(2)
    assert [each.family for each in found] == 2 * [socket.AF_INET]
    closed(found)


def test_without_descriptors_none_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """nothing_left looks for them."""
    monkeypatch.setattr(socket, "socket", without_six(errno.EMFILE))
    with pytest.raises(OSError, match="no") as raised:
        unbound(2)
    assert raised.value.errno == errno.EMFILE
