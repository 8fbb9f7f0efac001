"""The devices of a daemon: an engine that ends is started again, and what could not be had is tried anew."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wsasec.daemon import devices
from wsasec.daemon.devices import Devices
from wsasec.engine import Engine, Keeper
from wsasec.kernel.links import LinkSocket
from wsasec.profiles import DEFAULT, Profile

PATIENCE = 20.0
OTHER = Profile("other", uuid.UUID(int=5), 7, 0x58000000, 0xFF000000)
WITHOUT_TABLE = Profile("reserved", uuid.UUID(int=6), 0x57000000 ^ 254, 0x59000000, 0xFF000000)


def becomes(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture
def kept(possible: None, tmp_path: Path) -> Iterator[Devices]:
    kept = Devices(tmp_path / "engine")
    kept.start([DEFAULT])
    try:
        yield kept
    finally:
        kept.stop()


def names() -> set[str]:
    with LinkSocket() as links:
        return {each.name for each in links.links() if each.kind == "tun"}


def test_an_engine_that_ends_again_and_again_is_waited_for(
    kept: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    wait = kept._stopping.wait

    def note(pause: float) -> bool:
        pauses.append(pause)
        return wait(pause)

    monkeypatch.setattr(kept._stopping, "wait", note)
    for count in range(5):
        pid = kept.status()["pid"]
        os.kill(pid, signal.SIGKILL)
        becomes(lambda done=count: kept.status()["restarts"] > done, "it was not started again")  # type: ignore[misc]
    assert pauses == [devices._FIRST_PAUSE * 2**count for count in range(5)]


def test_each_engine_stays_awake_as_configured(possible: None, tmp_path: Path) -> None:
    kept = Devices(tmp_path / "engine", 70)
    kept.start([DEFAULT])
    try:
        for count in range(2):
            pid = kept.status()["pid"]
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            assert words[words.index(b"--spin") + 1] == b"70"
            os.kill(pid, signal.SIGKILL)
            becomes(lambda done=count: kept.status()["restarts"] > done, "it was not started again")  # type: ignore[misc]
    finally:
        kept.stop()


def test_what_the_engine_refused_is_tried_anew(kept: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "no room")

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "add_device", refuse)
        with pytest.raises(OSError, match="no room"):
            kept.use([DEFAULT, OTHER])
    assert names() == {f"ws{DEFAULT.reqid}"}
    kept.use([DEFAULT, OTHER])
    assert {each["name"]: each["faults"] for each in kept.status()["devices"]} == {
        f"ws{DEFAULT.reqid}": [],
        f"ws{OTHER.reqid}": [],
    }


def test_a_keeper_that_did_not_start_is_tried_anew(kept: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(24, "no descriptors")

    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "start", fail)
        with pytest.raises(OSError, match="no descriptors"):
            kept.use([DEFAULT, OTHER])
    kept.use([DEFAULT, OTHER])
    assert not any(each["faults"] for each in kept.status()["devices"])


def test_without_a_routing_table_there_is_no_device(kept: Devices) -> None:
    with pytest.raises(ValueError, match="routing table"):
        kept.use([DEFAULT, WITHOUT_TABLE])
    assert names() == {f"ws{DEFAULT.reqid}"}
