"""One daemon a network namespace: who was there before, and what is left of it."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wsasec.daemon.client import Client, DaemonError, NotUpError
from wsasec.daemon.notify import notify
from wsasec.daemon.place import AlreadyUpError, Place, folder

TAKE = """
import sys, time
from pathlib import Path
from wsasec.daemon.place import Place
place = Place(Path(sys.argv[1]))
listener = place.listen()
print("taken", flush=True)
time.sleep(60)
"""


def test_modes_and_the_end(tmp_path: Path) -> None:
    place = Place(tmp_path / "run" / "net-1")
    with place.listen() as listener:
        assert stat.S_IMODE(place.folder.stat().st_mode) == 0o711
        assert stat.S_IMODE((place.folder / "lock").stat().st_mode) == 0o600
        assert stat.S_IMODE(place.control.stat().st_mode) == 0o666
        with Client(place.folder, seconds=1) as client:
            assert client.pid == os.getpid()
            with pytest.raises(DaemonError, match="does not answer"):
                client.control("status")
        assert listener.fileno() >= 0
    place.close()
    place.close()
    assert not place.folder.exists()
    with pytest.raises(NotUpError):
        Client(place.folder)


def test_one_only(tmp_path: Path) -> None:
    place = Place(tmp_path / "net-1")
    with pytest.raises(AlreadyUpError, match=f"already up, pid {os.getpid()}"):
        Place(tmp_path / "net-1")
    Place(tmp_path / "net-2").close()
    place.close()
    Place(tmp_path / "net-1").close()


def test_a_dead_one_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "net-1"
    with subprocess.Popen(
        [sys.executable, "-c", TAKE, str(path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "taken\n"
        with pytest.raises(AlreadyUpError) as caught:
            Place(path)
        assert caught.value.pid == other.pid
        with Client(path) as client:
            assert client.pid == other.pid
        other.kill()
        other.wait()
        with pytest.raises(NotUpError):
            Client(path)
        place = Place(path)
        with place.listen(), Client(path) as client:
            assert client.pid == os.getpid()
        place.close()


def test_a_folder_of_others_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "net-1").symlink_to("real")
    with pytest.raises(PermissionError, match="own"):
        Place(tmp_path / "net-1")


def test_the_folder_of_a_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inode = Path("/proc/self/ns/net").stat().st_ino
    monkeypatch.delenv("WSASEC_RUN", raising=False)
    assert folder() == Path(f"/run/wsasec/net-{inode}")
    monkeypatch.setenv("WSASEC_RUN", str(tmp_path))
    assert folder() == tmp_path / f"net-{inode}"


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1")
        assert manager.recv(100) == b"READY=1"
    notify("STOPPING=1")  # nobody hears it
