"""What a socket takes of memory: in the extra information of the case."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wsasec.bench.memory import summarize_memory
from wsasec.bench.rounds import keep
from wsasec.bench.worker import python_command, run_worker


@pytest.mark.usefixtures("namespace")
def test_memory(sockets: int, rounds: int, benchmark: Any) -> None:
    """A process makes sockets and looks, as often as there are to be rounds; its time means nothing."""
    command = python_command("wsasec.bench.memory", json.dumps([sockets, rounds]))
    data = benchmark.pedantic(run_worker, args=(command, lambda _event: None, 120.0), rounds=1, iterations=1)
    benchmark.group = "memory"
    keep(
        benchmark,
        {f"kernel, {kind}": [s / data["sockets"] for s in taken] for kind, taken in data["kernel"].items()},
    )
    for row in summarize_memory(data):
        benchmark.extra_info[row["what"]] = row["bytes"]
        assert row["bytes"] > 0 or row["what"].startswith("kernel"), row
