"""The verbs where nothing is up, and how the status is shown."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from wsasec.cli import main
from wsasec.cli.status import render
from wsasec.daemon.workers import Workers

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 7,
    "since": 0,
    "config": "/etc/wsasec/wsasec.toml",
    "charon": {"pid": 8, "alive": True, "shared": None, "restarts": 1, "trouble": ""},
    "profiles": [{"name": "default", "identity": "a.example"}],
    "peers": [
        {
            "address": "10.9.0.2",
            "identity": "[red]b.example[/red]",
            "state": "ESTABLISHED",
            "associations": [
                {
                    "profile": "default", "protocol": "ESP", "spi_in": "0x00000001", "spi_out": "0x00000002",
                    "algorithms": "AES_GCM_16 256", "esn": True, "bytes_in": 100, "bytes_out": 3 << 20,
                    "age": 3700, "rekey_in": None,
                }
            ],
        },
        {"address": "10.9.0.3", "identity": "%any", "state": "CONNECTING", "associations": []},
    ],
    "errors": [
        {"address": "10.9.0.4", "profile": "default", "reason": "peer silent", "detail": "x", "when": 0}
    ],
}  # fmt: skip


def test_status_shows_what_there_is() -> None:
    """What peers say of themselves is never taken for markup."""
    output = io.StringIO()
    Console(file=output, width=160).print(render(STATUS))
    for word in (
        "[red]b.example[/red]",
        "00000001 00000002",
        "3.0 MiB",
        "1:01:40",
        "connecting",
        "peer silent: x",
    ):
        assert word in output.getvalue()


def test_nothing_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WSASEC_RUN", str(tmp_path))
    assert main(["down"]) == 0
    assert capsys.readouterr().out == "not up\n"
    for verb in ("status", "reload"):
        assert main([verb]) == 1
        assert capsys.readouterr().err == f"wsasec {verb}: no key daemon runs in this network namespace\n"
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is said at the terminal, and nothing was begun."""
    monkeypatch.setenv("WSASEC_RUN", str(tmp_path / "run"))
    assert main(["up", "--config", str(tmp_path / "none.toml")]) == 1
    said = capfd.readouterr().err
    assert said.startswith("wsasec up: ")
    assert "none.toml" in said or "CAP_" in said
    assert not (tmp_path / "run").exists()
    assert main(["up", "--log", "syslog"]) == 2


def test_nobody_has_all_threads() -> None:
    workers = Workers(threads=3, share=2)
    go_on, done = threading.Event(), threading.Semaphore(0)

    def wait() -> None:
        go_on.wait(20)
        done.release()

    for _ in range(6):
        workers.submit(1, wait)
    workers.submit(2, done.release)
    assert done.acquire(timeout=20)
    go_on.set()
    for _ in range(6):
        assert done.acquire(timeout=20)
    workers.close()
