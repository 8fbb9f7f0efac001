"""charon's log, which is in a folder where charon may put what it likes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wsasec.keys import charon
from wsasec.keys.charon import Charon


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Charon:
    monkeypatch.setattr(charon, "_LOG_BYTES", 10)
    (tmp_path / "own").mkdir()
    return Charon(tmp_path)


def test_log_that_has_grown_is_put_aside(made: Charon, tmp_path: Path) -> None:
    for text in ("the first of them", "another of them"):
        made.log.write_text(text)
        made._trim_log()
        assert made.log.read_text() == ""
        assert (tmp_path / "log.1").read_text() == text
        assert (tmp_path / "log.1").stat().st_mode & 0o777 == 0o600


def test_short_log_stays(made: Charon, tmp_path: Path) -> None:
    made.log.write_text("short")
    made._trim_log()
    assert made.log.read_text() == "short"
    assert not (tmp_path / "log.1").exists()


def test_what_charon_leads_to_is_left_alone(made: Charon, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("what is none of charon's")
    made.log.symlink_to(other)
    made._trim_log()
    assert other.read_text() == "what is none of charon's"
    made.log.unlink()
    os.mkfifo(made.log)
    made._trim_log()
    assert not (tmp_path / "log.1").exists()
