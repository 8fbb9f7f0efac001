"""charon's plugin for the engine, built here: once for all tests."""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from wsasec.keys.plugin import ENVIRONMENT, NAME, find_plugin
from wsasec.keys.reason import CharonError

ROOT = Path(__file__).parents[2]


@functools.cache
def _built() -> tuple[Path | None, str]:
    if ENVIRONMENT in os.environ:
        return Path(os.environ[ENVIRONMENT]), ""
    if not ((ROOT / "src/charon").is_dir() and (ROOT / "Makefile").exists()):
        return None, "the sources of charon's plugin are not here"
    # As two test runs may be at once, and both would build.
    (ROOT / "build").mkdir(exist_ok=True)
    command = ["flock", str(ROOT / "build"), "make", "--no-print-directory", "-C", str(ROOT), "charon-plugin"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        cannot = [line for line in said if "cannot be built here" in line]
        assert cannot, said[-20:]
        return None, cannot[0]
    return ROOT / "build/charon" / NAME, ""


@functools.cache
def _usable(path: Path) -> Path:
    """It, or a copy where it lies below another user's folder: the daemon refuses that one."""
    try:
        return find_plugin(path)
    except CharonError:
        if not path.exists():
            return path
    folder = tempfile.TemporaryDirectory(prefix="wsasec-plugin-")
    atexit.register(folder.cleanup)
    copy = Path(folder.name) / NAME
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o644)
    return copy


def plugin() -> Path:
    """Return its path; the test is skipped where strongSwan's sources cannot be had."""
    path, why = _built()
    if path is None:
        pytest.skip(why)
    return _usable(path)
