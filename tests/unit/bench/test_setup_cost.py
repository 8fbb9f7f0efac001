import gc
import json
import socket
from array import array
from collections import Counter
from collections.abc import Sequence

import pytest
from wsasec.bench.descriptor_limit import RESERVED, raise_descriptor_limit, room_for
from wsasec.bench.methods import BASES, METHODS
from wsasec.bench.setup_cost import _fit, measure, order_of


def test_every_method_is_measured_once_a_repeat_in_changing_order() -> None:
    orders = [[method.key for method in order_of(METHODS, repeat)] for repeat in range(20)]
    for order in orders:
        assert sorted(order) == sorted(method.key for method in METHODS)
    assert len({tuple(order) for order in orders}) > 10
    # No method is always the first.
    assert max(Counter(order[0] for order in orders).values()) < 20
    assert orders == [[method.key for method in order_of(METHODS, repeat)] for repeat in range(20)]


def test_bases_are_methods() -> None:
    assert set(BASES) <= {method.key for method in METHODS}


def test_measure_hands_over_fresh_sockets_without_collection_and_closes_them() -> None:
    seen: list[socket.socket] = []

    def run(sockets: Sequence[socket.socket], numbers: "array[int]") -> None:
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 0
        assert [sock.fileno() for sock in sockets] == list(numbers)
        assert all(sock.getsockname() == ("0.0.0.0", 0) for sock in sockets)
        seen.extend(sockets)

    wall, cpu = measure(run, 5)
    assert wall > 0
    assert cpu >= 0
    assert len(seen) == 5
    assert all(sock.fileno() == -1 for sock in seen)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_measure_cleans_up_after_a_failure() -> None:
    seen: list[socket.socket] = []

    def run(sockets: Sequence[socket.socket], numbers: "array[int]") -> None:
        seen.extend(sockets)
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        measure(run, 3)
    assert gc.isenabled()
    assert all(sock.fileno() == -1 for sock in seen)


def test_room_under_the_descriptor_limit() -> None:
    limit = raise_descriptor_limit()
    assert room_for(10, limit) == 10
    assert room_for(10**9, 10_000) < 10_000 - RESERVED
    with pytest.raises(OSError, match="ulimit -n"):
        room_for(10, RESERVED)


def test_sizes_that_do_not_fit_become_one(capsys: pytest.CaptureFixture[str]) -> None:
    fitting, notes = _fit([(1, 15), (5_000, 9), (15_000, 7)], 1_000)
    room = room_for(5_000, 1_000)
    assert fitting == [(1, 1, 15), (5_000, room, 9)]
    assert [note.split(" sockets")[0] for note in notes] == ["5,000", "15,000"]
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == notes
