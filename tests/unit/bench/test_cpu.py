"""What processors did: the kernel's texts, and sums."""

import os

import pytest
from wsasec.bench.cpu import Meter, machine_ticks, process_ticks, stolen_part

STAT = "12 (a) b) S 1 1 1 0 -1 4194560 1 2 3 4 70 30 5 5 20 0 1 0 100 1 1"


def test_the_kernel_texts() -> None:
    assert process_ticks(STAT) == 100
    assert machine_ticks("cpu  1 2 4 1000 500 8 16 300 0 0\ncpu0 9 9 9 9\n") == 1 + 2 + 4 + 8 + 16


def test_what_the_host_gave_to_others() -> None:
    before = "cpu  10 0 10 1000 0 0 0 100 0 0\ncpu0 9 9 9 9\n"
    assert stolen_part(before, "cpu  30 0 20 1700 0 0 0 110 0 0\n") == pytest.approx(0.25)
    assert stolen_part(before, before) is None


def test_this_process() -> None:
    with Meter([os.getpid(), os.getpid()]) as meter:
        while not meter._read()[0] - meter._before[0] >= 5:
            sum(range(10_000))
    assert meter.processes * os.sysconf("SC_CLK_TCK") >= 5
    assert meter.seconds > 0
    # Ticks of the machine are told a little later than those of a process.
    assert meter.machine >= 0


def test_what_a_gigabyte_takes() -> None:
    meter = Meter(())
    meter.seconds, meter.processes, meter.machine = 2.0, 3.0, 4.0
    assert meter.per_gigabyte(2_000_000_000, 1.0) == {
        "cpu_per_gb": pytest.approx(0.75),
        "machine_cpu_per_gb": pytest.approx(1.0),
    }
    assert meter.per_gigabyte(0, 1.0) == {"cpu_per_gb": None, "machine_cpu_per_gb": None}
