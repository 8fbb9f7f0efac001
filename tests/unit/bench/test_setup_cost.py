import gc
import json
import os
import socket
from collections import Counter
from dataclasses import astuple
from itertools import pairwise

import pytest
from wsasec.bench import stages
from wsasec.bench.calls import Calls
from wsasec.bench.clock import RECEIVER, SENDER, pinned, processor, timed
from wsasec.bench.descriptor_limit import RESERVED, raise_descriptor_limit, room_for
from wsasec.bench.methods import BASES, GROUPS, METHODS, Method
from wsasec.bench.setup_cost import Cell, _fit, command_words, measure, order_of
from wsasec.bench.stages import Work

# What is wanted of the kernel does not matter here.
CALLS = Calls(int(socket.AF_INET), int(socket.SOCK_STREAM), None, b"", None, 0, 17, b"", b"", b"")


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough


def method(stage: stages.Stage) -> Method:
    return Method("x", "X", "checks", lambda _calls, _watch: lambda _work: None, stage)


def test_every_method_is_measured_once_a_repeat_in_changing_order() -> None:
    orders = [[method.key for method in order_of(METHODS, repeat)] for repeat in range(20)]
    for order in orders:
        assert sorted(order) == sorted(method.key for method in METHODS)
    assert len({tuple(order) for order in orders}) > 10
    # No method is always the first.
    assert max(Counter(order[0] for order in orders).values()) < 20
    assert orders == [[method.key for method in order_of(METHODS, repeat)] for repeat in range(20)]


def test_what_is_compared_is_measured_close_together() -> None:
    for repeat in range(5):
        groups = [method.group for method in order_of(METHODS, repeat)]
        assert len(list(dict.fromkeys(groups))) == 1 + sum(a != b for a, b in pairwise(groups))


def test_keys_groups_and_bases() -> None:
    keys = [method.key for method in METHODS]
    assert len(set(keys)) == len(keys)
    assert {method.group for method in METHODS} == set(GROUPS) == set(BASES)
    by_key = {method.key: method for method in METHODS}
    for group, bases in BASES.items():
        assert set(bases.values()) <= set(by_key), group
        assert "floor" in bases


def test_measure_hands_over_fresh_sockets_without_collection_and_closes_them() -> None:
    seen: list[socket.socket] = []
    frozen = gc.get_freeze_count()

    def run(work: Work) -> None:
        assert not gc.isenabled()
        assert gc.get_freeze_count() > frozen
        assert work.count == 5
        assert [sock.fileno() for sock in work.sockets] == list(work.numbers)
        assert all(sock.getsockname() == ("0.0.0.0", 0) for sock in work.sockets)
        seen.extend(work.sockets)

    wall, cpu = measure(method(stages.fresh), run, CALLS, 5)
    assert wall > 0
    assert cpu >= 0
    assert len(seen) == 5
    assert all(sock.fileno() == -1 for sock in seen)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_measure_cleans_up_after_a_failure() -> None:
    seen: list[socket.socket] = []

    def run(work: Work) -> None:
        seen.extend(work.sockets)
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        measure(method(stages.fresh), run, CALLS, 3)
    assert gc.isenabled()
    assert all(sock.fileno() == -1 for sock in seen)


def test_what_a_method_made_before_it_failed_is_closed() -> None:
    def run(work: Work) -> None:
        work.numbers[0] = socket.socket().detach()
        work.sockets.append(socket.socket())
        raise OSError("no")

    before = descriptors()
    with pytest.raises(OSError, match="no"):
        measure(method(stages.nothing), run, CALLS, 3)
    assert descriptors() == before


def test_plain_batches_are_closed_once() -> None:
    before = descriptors()
    with stages.plain_batch(CALLS, 4) as work:
        assert work.batch is not None
        assert list(work.batch) == list(work.numbers)
        for number in work.batch.detach():
            os.close(number)
    assert descriptors() == before


def test_the_clock_measures_what_it_is_given() -> None:
    wall, cpu = timed(lambda: sum(range(100_000)))
    assert wall >= 0 < cpu


def test_processors_are_given_back() -> None:
    home = os.sched_getaffinity(0)
    with pinned() as apart:
        assert (len(os.sched_getaffinity(0)) == 1) == (apart or len(home) == 1)
    assert os.sched_getaffinity(0) == home
    with pinned(single=False) as apart:
        assert not apart
        assert os.sched_getaffinity(0) == home


def test_a_processor_is_set_apart_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _pid, processors: chosen.append(set(processors)))
    with pinned() as apart:
        assert apart
        assert chosen == [{3}]
    assert chosen == [{3}, {0, 1, 2, 3}]
    assert (processor(SENDER), processor(RECEIVER)) == (3, 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    assert processor(SENDER) is None


def test_room_under_the_descriptor_limit() -> None:
    limit = raise_descriptor_limit()
    assert room_for(10, limit) == 10
    assert room_for(10**9, 10_000) < 10_000 - RESERVED
    with pytest.raises(OSError, match="ulimit -n"):
        room_for(10, RESERVED)


def test_sizes_that_do_not_fit_become_one(capsys: pytest.CaptureFixture[str]) -> None:
    plan = [
        Cell("inet", "stream", size, repeats, main=False)
        for size, repeats in ((1, 15), (5_000, 9), (15_000, 7))
    ]
    fitting, notes = _fit(plan, 1_000)
    room = room_for(5_000, 1_000)
    assert [(cell.sockets, count, cell.repeats) for cell, count in fitting] == [(1, 1, 15), (5_000, room, 9)]
    assert [note.split(" sockets")[0] for note in notes] == ["5,000", "15,000"]
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == notes


def test_a_plan_goes_through_the_command_line() -> None:
    plan = [Cell("inet6", "dgram", 5, 2, main=True)]
    [words] = command_words(plan)
    assert [Cell(*fields) for fields in json.loads(words)] == plan
    assert astuple(plan[0]) == ("inet6", "dgram", 5, 2, True)
    assert plan[0].title == "5 UDP/IPv6"
