import sys
from typing import Any

import pytest
from wsasec.bench.worker import BenchError, python_command, run_worker

EVENTS = """
import json, sys
print("a line of its own")
print(json.dumps({"event": "step", "done": 1, "total": 2, "text": "half"}))
print(json.dumps({"event": "result", "data": {"figure": 7}}))
print("said aside", file=sys.stderr)
"""


def listen(code: str, timeout: float = 30.0) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    return run_worker([sys.executable, "-c", code], events.append, timeout), events


def test_events_notes_and_result() -> None:
    result, events = listen(EVENTS)
    assert result == {"figure": 7}
    assert events == [
        {"event": "note", "text": "a line of its own"},
        {"event": "step", "done": 1, "total": 2, "text": "half"},
        {"event": "note", "text": "said aside"},
    ]


def test_no_result() -> None:
    assert listen("pass") == (None, [])


def test_a_failure_shows_the_error() -> None:
    with pytest.raises(BenchError, match=r"exit code 3\nthe reason"):
        listen("import sys; sys.stderr.write('the reason\\n'); sys.exit(3)")


def test_a_deadline() -> None:
    with pytest.raises(BenchError, match=r"not done after 5 s\nstarted"):
        listen(
            "import sys, time; sys.stderr.write('started\\n'); sys.stderr.flush(); time.sleep(60)",
            timeout=5.0,
        )


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(BenchError, match="/no/such/command"):
        run_worker(["/no/such/command"], lambda event: None, 5.0)


def test_the_command_of_a_module() -> None:
    command = python_command("wsasec.bench.wire_side", "word")
    assert command[0] == sys.executable
    assert command[-3:] == ["-m", "wsasec.bench.wire_side", "word"]
