"""Whether time grows as what there is to do, and not as its square."""

from __future__ import annotations

import time
from collections.abc import Callable

FEW, MANY = 500, 4000
_SHORTEST = 0.0005
# Of Windows' the steps are too long.
_clock = (
    time.process_time if time.get_clock_info("process_time").resolution < _SHORTEST else time.perf_counter
)


def check_linear(work: Callable[[int], Callable[[], object]]) -> None:
    """What is done with MANY takes no more than four times what so many more take: the square were eight."""

    def fastest(count: int) -> float:
        seconds = []
        for _ in range(3):
            run = work(count)
            begun = _clock()
            run()
            seconds.append(_clock() - begun)
        return min(seconds)

    assert fastest(MANY) < 4 * MANY / FEW * max(fastest(FEW), _SHORTEST)
