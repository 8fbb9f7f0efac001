"""Whether work grows as what there is to do, and not as its square: counted in steps of Python, not timed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

FEW, MANY = 100, 800


def _steps(run: Callable[[], object]) -> int:
    """Return how many instructions of Python it takes; what C does in one counts as one."""
    count = 0

    def step(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def check_linear(work: Callable[[int], Callable[[], object]]) -> None:
    """What is done with MANY takes about as many times more steps than with FEW: the square were eight."""
    few, many = _steps(work(FEW)), _steps(work(MANY))
    assert many < 2 * MANY / FEW * few, (few, many)
