"""Threads of real time, where they may be."""

from __future__ import annotations

import subprocess

import pytest


def need_real_time() -> None:
    """Skip where no thread may be of real time."""
    done = subprocess.run(["chrt", "--rr", "1", "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no thread of real time may be started (CAP_SYS_NICE): {done.stderr.strip()}")
