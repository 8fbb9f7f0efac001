"""What samples of calls on Windows come to."""

import io
from typing import Any

from rich.console import Console
from wsasec.bench.call_cost import METHODS, order_of
from wsasec.bench.call_summary import DOUBLE, REAL, call_tables, summarize_calls
from wsasec.bench.reading import FORMAT
from wsasec.bench.windows_suite import render

COSTS = {"floor": 15, "secure_many": 30, "secure": 400, "expert": 1_500, "naive": 900}


def data(*, double: bool = True) -> dict[str, Any]:
    methods = [method for method in METHODS if double or method != "floor"]
    cells = [
        {"sockets": count, "samples": {m: [COSTS[m] * count * part for part in (1, 2, 1)] for m in methods}}
        for count in (100, 1_000)
    ]
    return {"double": double, "settings_bytes": 88, "cells": cells}


def rendered(calls: dict[str, Any]) -> str:
    out = io.StringIO()
    machine = {"cpu": "a processor", "cores": 2, "system": "Wine 8.0"}
    render(
        {"format": FORMAT, "machine": machine, "calls": summarize_calls(calls)}, Console(file=out, width=132)
    )
    return out.getvalue()


def test_figures_and_ratios() -> None:
    rows = summarize_calls(data())["summary"]
    assert [(row["sockets"], row["method"]) for row in rows] == [
        (count, method) for count in (100, 1_000) for method in METHODS
    ]
    for row in rows:
        assert row["ns"]["median"] == COSTS[row["method"]]
        assert row["ns"]["maximum"] == 2 * COSTS[row["method"]]
        assert row["ratio"] == COSTS[row["method"]] / 30


def test_targets() -> None:
    found = [(target["value"], target["met"]) for target in summarize_calls(data())["targets"]]
    assert found == [(30, True), (50, True), (30, False)] * 2


def test_the_real_library_is_not_judged() -> None:
    found = summarize_calls(data(double=False))
    assert found["targets"] == []
    assert len(list(call_tables(found))) == 2


def test_what_is_said() -> None:
    for double, words in ((True, DOUBLE), (False, REAL)):
        text = rendered(data(double=double))
        assert words[:60] in text
        assert "a processor, 2 cores" in text
        assert "1,000 sockets, TCP, IPv4" in text
        assert ("not met" in text) is double


def test_a_clock_that_stands_still() -> None:
    calls = data()
    calls["cells"][0]["samples"]["secure_many"] = [0, 0, 0]
    rows = summarize_calls(calls)["summary"]
    assert {row["ratio"] for row in rows if row["sockets"] == 100} == {None}
    assert "not measured" in rendered(calls)


def test_orders_differ_and_are_the_same_in_each_run() -> None:
    orders = [order_of(list(METHODS), repeat) for repeat in range(20)]
    assert all(sorted(order) == sorted(METHODS) for order in orders)
    assert len({tuple(order) for order in orders}) > 5
    assert orders == [order_of(list(METHODS), repeat) for repeat in range(20)]
