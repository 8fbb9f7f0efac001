"""Figures of the rounds of a case."""

from collections.abc import Callable
from typing import Any

from wsasec.bench.rounds import measure_rounds


class Benchmark:
    def __init__(self) -> None:
        self.extra_info: dict[str, Any] = {}

    def pedantic(
        self, act: Callable[[], object], *, rounds: int, warmup_rounds: int, iterations: int
    ) -> None:
        assert iterations == 1
        for _ in range(warmup_rounds + rounds):
            act()


def test_all_rounds_count_and_no_warm_up() -> None:
    rates = iter((1000.0, 3.0, 9.0, 4.0))
    benchmark = Benchmark()
    samples = measure_rounds(benchmark, 3, lambda: {"per_second": next(rates), "loss": 0.5}, warm_ups=1)
    assert samples == {"per_second": [3.0, 9.0, 4.0], "loss": [0.5] * 3}
    assert benchmark.extra_info == {"per_second": 4.0, "loss": 0.5, "samples": samples}
