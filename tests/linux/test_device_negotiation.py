"""Connections on a secure device without keys: nothing refuses them; the key daemon is asked what lacks."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from secure_device import SecureDevice, run
from told_daemon import FakeDaemon, number_of

import wsasec
from wsasec import ConnectError, IpsecSettings, Profile, SecurityError, SocketBatch, Winsock, profiles

LONG = 60.0
STEP = number_of("WSASEC_STEP_NEGOTIATE", "wsasec_step")
PROFILE = Profile("carried", uuid.UUID(int=0xDE51CE), 0x77, 0x60000000, 0xFF000000, carrier="device")
ON_DEVICE = IpsecSettings(qm_policy=PROFILE.guid)
SILENT = [
    -Winsock.WSAETIMEDOUT,
    number_of("WSASEC_REASON_PEER_SILENT", "wsasec_reason"),
    STEP,
    "what it said",
]
BUSY = [-Winsock.WSAENETDOWN, number_of("WSASEC_REASON_DAEMON_SILENT", "wsasec_reason"), STEP, ""]


@pytest.fixture
def device(realm: object) -> Iterator[SecureDevice]:
    """Packets go into it, and nowhere from there."""
    profiles.use(profiles.Profiles({"default": profiles.DEFAULT, PROFILE.name: PROFILE}, profiles.DEFAULT))
    made = SecureDevice(PROFILE)
    run("ip", "address", "add", "10.9.0.1/32", "dev", "lo")
    for peer in ("10.9.0.2", "10.9.0.3"):
        run("ip", "route", "add", peer, "dev", made.name, "src", "10.9.0.1", "table", "57")
    yield made
    made.close()


def connect_sync(address: Any, timeout: float) -> None:
    with socket.socket() as sock:
        wsasec.secure(sock, ON_DEVICE)
        wsasec.connect(sock, address, timeout)


def connect_async(address: Any, timeout: float) -> None:
    async def main() -> None:
        await wsasec.aio.open_connection(*address, settings=ON_DEVICE, timeout=timeout)

    asyncio.run(main())


def connect_batch(address: Any, timeout: float) -> None:
    with SocketBatch(3, settings=ON_DEVICE) as batch:
        batch.connect(address, timeout=timeout)


all_ways = pytest.mark.parametrize(
    "connect", [connect_sync, connect_async, connect_batch], ids=["sync", "asyncio", "C"]
)
Connect = Callable[[Any, float], None]


@all_ways
def test_why_there_are_no_keys(tmp_path: Path, device: SecureDevice, connect: Connect) -> None:
    with FakeDaemon(tmp_path, verdict=SILENT) as daemon:
        begin = time.monotonic()
        with pytest.raises(SecurityError, match=r"does not answer IKE.*what it said") as caught:
            connect(("10.9.0.2", 9), LONG)
        assert time.monotonic() - begin < LONG / 2
        assert caught.value.winsock is Winsock.WSAETIMEDOUT
        assert caught.value.step == "negotiation"
        assert daemon.questions()[0][:3] == ["NEGOTIATE", 1, "10.9.0.2"]
        assert daemon.kinds() == {"NEGOTIATE": 1}


@all_ways
@pytest.mark.parametrize("verdict", [None, BUSY], ids=["keys", "no answer"])
def test_what_says_nothing_of_the_peer(
    tmp_path: Path, device: SecureDevice, connect: Connect, verdict: list[Any] | None
) -> None:
    """It is waited for, and asked about once."""
    with FakeDaemon(tmp_path, verdict=verdict) as daemon:
        with pytest.raises(OSError) as caught:
            connect(("10.9.0.2", 9), 2.5)
        assert caught.value.errno == errno.ETIMEDOUT
        assert daemon.kinds() == {"NEGOTIATE": 1}


@all_ways
def test_without_a_daemon(
    tmp_path: Path, device: SecureDevice, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSASEC_RUN", str(tmp_path))
    with pytest.raises(OSError) as caught:
        connect(("10.9.0.2", 9), 1.5)
    assert caught.value.errno == errno.ETIMEDOUT


def test_one_host_of_two(tmp_path: Path, device: SecureDevice) -> None:
    """Those that are in progress end when it is known, and so do those that begin only then."""
    told = {"10.9.0.3": {"verdict": SILENT}}
    addresses = [("10.9.0.2", 9), ("10.9.0.3", 9), ("10.9.0.3", 10)]
    with FakeDaemon(tmp_path, by_host=told) as daemon, SocketBatch(60, settings=ON_DEVICE) as batch:
        report = batch.connect(addresses, timeout=4.0, concurrency=6, errors="return")
        assert list(report.errnos) == [errno.ETIMEDOUT, errno.EAGAIN, errno.EAGAIN] * 20
        assert sorted(question[2] for question in daemon.questions()) == ["10.9.0.2", "10.9.0.3"]
        with pytest.raises(ConnectError, match="does not answer IKE"):
            batch[1:2].connect(addresses[2], timeout=LONG)


def test_what_is_no_matter_of_keys(tmp_path: Path, device: SecureDevice) -> None:
    """Sockets that no device carries are waited for as ever."""
    with FakeDaemon(tmp_path, verdict=SILENT) as daemon, SocketBatch(3, secure=False) as batch:
        for number in batch:
            with socket.socket(fileno=socket.dup(number)) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROFILE.mark)
        report = batch.connect(("10.9.0.2", 9), timeout=2.5, errors="return")
        assert report.errors == {"ETIMEDOUT": 3}
        assert daemon.kinds() == {}
