"""What a socket takes of memory: in the extra information of the case."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wsasec.bench.memory import summarize_memory
from wsasec.bench.worker import python_command, run_worker


@pytest.mark.usefixtures("namespace")
def test_memory(sockets: int, benchmark: Any) -> None:
    """One round is a process that makes sockets and looks; its time means nothing."""
    command = python_command("wsasec.bench.memory", json.dumps([sockets, 1]))
    data = benchmark.pedantic(run_worker, args=(command, lambda _event: None, 120.0), rounds=1, iterations=1)
    benchmark.group = "memory"
    for row in summarize_memory(data):
        benchmark.extra_info[row["what"]] = row["bytes"]
        assert row["bytes"] > 0 or row["what"].startswith("kernel"), row
