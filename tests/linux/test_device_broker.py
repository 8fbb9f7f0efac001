"""Programs without CAP_NET_ADMIN: the key daemon binds and marks their sockets"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from secure_device import SecureDevice
from told_daemon import FakeDaemon

import wsasec
from wsasec import IpsecSettings, Profile, SecurityError, SocketBatch, Winsock, profiles

Without = Callable[[], AbstractContextManager[None]]

SO_BINDTOIFINDEX = 62
CONFIG = """\
[profile.carried]
guid = "00000000-0000-0000-0000-000000de51ce"
reqid = 0x77
mark = 0x60000000
mask = 0xff000000
carrier = "device"
"""


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, realm: object) -> Profile:
    file = tmp_path / "wsasec.toml"
    file.write_text(CONFIG)
    monkeypatch.setenv("WSASEC_CONFIG", str(file))
    profiles.use(profiles.load([file]))
    found = profiles.active()["carried"]
    assert found.carrier == "device"
    return found


@pytest.fixture
def device(profile: Profile) -> Iterator[SecureDevice]:
    made = SecureDevice(profile)
    yield made
    made.close()


def is_protected(number: int, device: SecureDevice) -> bool:
    with socket.socket(fileno=os.dup(number)) as sock:
        bound = sock.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX)
        mark = sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)
    return (bound, mark) == (device.index, device.profile.mark)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_one(tmp_path: Path, without_net_admin: Without, device: SecureDevice, family: int) -> None:
    settings = IpsecSettings(qm_policy=device.profile.guid)
    with FakeDaemon(tmp_path, secure="real") as daemon, socket.socket(family) as sock:
        with without_net_admin():
            wsasec.secure(sock, settings)
            with pytest.raises(SecurityError, match="secured already"):
                wsasec.secure(sock, settings)
        assert is_protected(sock.fileno(), device)
        assert daemon.kinds() == {"SECURE": 1}


@pytest.mark.parametrize("method", ["plain", "threads"])
def test_many(tmp_path: Path, without_net_admin: Without, device: SecureDevice, method: str) -> None:
    settings = IpsecSettings(qm_policy=device.profile.guid)
    with FakeDaemon(tmp_path, secure="real"), SocketBatch(600, secure=False) as batch:
        with without_net_admin():
            wsasec.secure_many(batch, settings, method=method)
        assert all(is_protected(number, device) for number in batch)


def test_a_batch(tmp_path: Path, without_net_admin: Without, device: SecureDevice) -> None:
    settings = IpsecSettings(qm_policy=device.profile.guid)
    with (
        FakeDaemon(tmp_path, secure="real"),
        without_net_admin(),
        SocketBatch(600, settings=settings) as batch,
    ):
        assert all(is_protected(number, device) for number in batch)


def test_what_the_daemon_finds_missing(
    tmp_path: Path, without_net_admin: Without, device: SecureDevice
) -> None:
    device.say("")
    with FakeDaemon(tmp_path, secure="real"), without_net_admin(), socket.socket() as sock:
        with pytest.raises(SecurityError) as caught:
            wsasec.secure(sock, IpsecSettings(qm_policy=device.profile.guid))
        assert caught.value.winsock == Winsock.WSAENETDOWN
        assert sock.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX) == 2**31 - 1


def test_without_a_daemon(tmp_path: Path, without_net_admin: Without, device: SecureDevice) -> None:
    """It may set the mark, by CAP_NET_RAW, but not see that the rules are in force."""
    os.environ["WSASEC_RUN"] = str(tmp_path)
    try:
        with without_net_admin(), socket.socket() as sock:
            with pytest.raises(SecurityError, match="CAP_NET_ADMIN") as caught:
                wsasec.secure(sock, IpsecSettings(qm_policy=device.profile.guid))
            assert caught.value.winsock == Winsock.WSAEACCES
            assert sock.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX) == 2**31 - 1
    finally:
        del os.environ["WSASEC_RUN"]
