"""Whether work grows as what there is to do, and not as its square: counted in steps of Python, not timed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

FEW, MANY = 100, 800


def _steps(run: Callable[[], object]) -> int:
    """Return how many lines of Python it takes, a turn of a loop on one line being one; of C none."""
    count = 0

    def step(_frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
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
    assert 0 < many < 2 * MANY / FEW * few, (few, many)
