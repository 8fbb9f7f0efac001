"""From samples to figures and targets."""

import copy
from typing import Any

import pytest
from bench_samples import (
    COSTS,
    connect_data,
    loopback_data,
    memory_data,
    parts,
    results,
    setup_data,
    traffic_data,
)
from wsasec.bench.memory import summarize_memory
from wsasec.bench.methods import METHODS
from wsasec.bench.reading import read
from wsasec.bench.setup_summary import ratios_by_cell, summarize_setup
from wsasec.bench.summary import summarized
from wsasec.bench.targets import evaluate
from wsasec.bench.wire_summary import summarize_connect, summarize_loopback, summarize_traffic


def setup_rows(**arguments: Any) -> dict[str, dict[str, Any]]:
    rows = summarize_setup(setup_data(**arguments))
    return {row["method"]: row for row in rows if row["family"] == "inet"}


def test_figures_of_the_setup() -> None:
    rows = setup_rows()
    assert list(rows) == [method.key for method in METHODS]
    floor, many, checked = rows["floor"], rows["secure_many"], rows["ctypes_checked"]
    assert floor["us"]["median"] == pytest.approx(2.0)
    assert floor["sockets_per_second"] == pytest.approx(500_000)
    ctypes = COSTS["ctypes_checked"] / 1000
    assert many["ratio"] == {"floor": pytest.approx(3 / 2), "ctypes_checked": pytest.approx(3 / ctypes)}
    assert checked["ratio"]["ctypes_checked"] == 1
    assert checked["group"] == "one"
    assert not floor["us"]["unstable"]


def test_groups_have_their_own_loop_to_be_compared_with() -> None:
    rows = setup_rows()
    batch = COSTS["batch"] / COSTS["floor_create"]
    assert rows["batch"]["ratio"] == {"floor": pytest.approx(batch)}
    assert rows["query_ctypes"]["ratio"]["ctypes_checked"] == 1


def test_cells_of_main_methods_only() -> None:
    rows = [row for row in summarize_setup(setup_data()) if row["family"] == "inet6"]
    assert [row["method"] for row in rows] == [method.key for method in METHODS if method.main]
    assert {row["type"] for row in rows} == {"dgram"}


def test_a_method_that_was_missing_is_left_out() -> None:
    data = setup_data()
    for cell in data["cells"]:
        del cell["samples"]["secure_many_io_uring"]
    assert "secure_many_io_uring" not in {row["method"] for row in summarize_setup(data)}


def test_what_slows_whole_repeats_leaves_the_ratios_alone() -> None:
    rows = setup_rows(noise=(1.0, 3.0, 1.0, 5.0))
    assert rows["secure_many"]["us"]["unstable"]
    assert rows["secure_many"]["ratio"]["floor"] == pytest.approx(3 / 2)


def test_what_runs_in_one_thread_is_compared_by_the_time_it_was_running() -> None:
    data = setup_data()
    for cell in data["cells"]:
        for sample in cell["samples"]["secure_many"]:
            sample["ns"] *= 7  # another program had the processor
        for sample in cell["samples"]["secure_many_threads"]:
            sample["cpu_ns"] *= 7  # its threads are not in this thread's time
    rows = {row["method"]: row for row in summarize_setup(data) if row["family"] == "inet"}
    assert rows["secure_many"]["ratio"]["floor"] == pytest.approx(3 / 2)
    assert rows["secure_many"]["ratio_clock"]["floor"] == "cpu_ns"
    assert rows["secure_many"]["us"]["median"] == pytest.approx(7 * rows["secure_many"]["cpu_us"]["median"])
    threads = COSTS["secure_many_threads"] / COSTS["floor"]
    assert rows["secure_many_threads"]["ratio"]["floor"] == pytest.approx(threads)
    assert rows["secure_many_threads"]["ratio_clock"]["floor"] == "ns"


def test_ratios_by_cell() -> None:
    data = setup_data()
    assert ratios_by_cell(data, "secure_many", "floor") == {
        "100 TCP, IPv4": [pytest.approx(3 / 2)] * 3,
        "100 UDP, IPv6": [pytest.approx(3 / 2)] * 3,
    }
    assert list(ratios_by_cell(data, "query", "query_floor")) == ["100 TCP, IPv4"]
    assert ratios_by_cell(data, "secure_many", "floor", wanted=101) == {}
    assert ratios_by_cell(data, "no such method", "floor") == {}
    assert ratios_by_cell({}, "secure_many", "floor") == {}


def test_a_base_that_took_no_time_is_left_out() -> None:
    data = setup_data()
    for sample in data["cells"][0]["samples"]["floor"]:
        sample["cpu_ns"] = 0
    data["cells"][1]["samples"]["floor"][0]["cpu_ns"] = 0
    rows = {(row["family"], row["method"]): row for row in summarize_setup(data)}
    assert "floor" not in rows["inet", "secure_many"]["ratio"]
    assert "floor" not in rows["inet", "secure_many"]["ratio_clock"]
    assert len(rows["inet6", "secure_many"]["ratios"]["floor"]) == 2
    assert list(ratios_by_cell(data, "secure_many", "floor")) == ["100 UDP, IPv6"]
    for cell in data["cells"]:
        for sample in cell["samples"]["floor"]:
            sample["ns"] = 0
    found = {row["method"]: row for row in summarize_setup(data)}
    assert found["floor"]["sockets_per_second"] is None


def test_memory() -> None:
    rows = {row["what"]: row for row in summarize_memory(memory_data())}
    assert {what: row["bytes"] for what, row in rows.items()} == {
        "user space, secure_many": 16,
        "user space, SocketBatch": 24,
        "kernel, a plain TCP socket": 3_800,
        "kernel, a secured TCP socket": 5_800,
        "kernel, for being secured": 2_000,
    }
    secured = rows["kernel, a secured TCP socket"]["figure"]
    assert (secured["median"], secured["low"], secured["high"], secured["count"]) == (5_800, 5_775, 5_825, 3)
    assert [what for what, row in rows.items() if row.get("baseline")] == ["kernel, a plain TCP socket"]
    assert [what for what, row in rows.items() if row.get("derived")] == ["kernel, for being secured"]
    assert not any("figure" in row for what, row in rows.items() if what.startswith("user"))


def test_connections() -> None:
    rows = summarize_connect(connect_data())
    by_key = {(row["kind"], row["side"], row["connections"]): row for row in rows}
    secured = by_key["secured", "connect", 50]
    assert secured["per_second"]["median"] == pytest.approx(4000.5)
    assert secured["ratio_to_plain"] == pytest.approx(0.8, rel=1e-3)
    assert secured["ratio_to_tls"] == pytest.approx(10, rel=1e-2)
    assert secured["latency_us"]["count"] == 4
    assert by_key["secured", "connect", 500]["ratio_to_tls"] is None
    assert by_key["tls256", "connect", 50]["ratio_to_tls"] == pytest.approx(0.75, rel=1e-2)
    assert by_key["tls128", "connect", 50]["ratio_to_plain"] == pytest.approx(0.08, rel=1e-2)
    assert by_key["plain", "accept", 50]["ratio_to_plain"] == 1
    assert by_key["plain", "accept", 50]["latency_us"] is None


def test_traffic() -> None:
    traffic = summarize_traffic(traffic_data())
    rows = {(row["streams"], row["kind"]): row for row in traffic["throughput"]}
    secured = rows[1_000, "secured"]
    assert secured["gbit_per_second"]["median"] == pytest.approx(0.0804)
    assert secured["gbit_per_second"]["count"] == 2
    assert secured["ratio_to_plain"] == pytest.approx(0.01)
    assert secured["ratio_to_tls"] == pytest.approx(0.1)
    assert secured["ratio_to_policy"] == pytest.approx(0.8)
    assert secured["proof"] == {
        "esp": 10,
        "clear": 0,
        "neighbour": 2,
        "dropped": 0,
        "sa_bytes": 4_000_000,
        "sa_bytes_back": 100,
        "payload_bytes": 3_800_000,
    }
    assert rows[1, "system_policy"]["proof"] is None
    latency = {row["kind"]: row for row in traffic["latency"]}
    assert latency["secured"]["latency_us"]["count"] == 4
    assert latency["secured"]["ratio_to_plain"] == 1
    assert [row["ratio_to_plain"] for row in traffic["datagrams"]] == [1, 1, 1]
    assert [row["loss"] for row in traffic["datagrams"]] == [pytest.approx(0.05)] * 3


def test_a_repeat_without_its_base_is_left_out_of_the_ratio() -> None:
    data = traffic_data()
    data["throughput_samples"] = [
        sample
        for sample in data["throughput_samples"]
        if (sample["kind"], sample["repeat"]) != ("plain", 0) and sample["streams"] == 1
    ]
    rows = {row["kind"]: row for row in summarize_traffic(data)["throughput"]}
    assert rows["secured"]["ratio_to_plain"] == pytest.approx(0.01)
    data["throughput_samples"] = [s for s in data["throughput_samples"] if s["kind"] != "plain"]
    rows = {row["kind"]: row for row in summarize_traffic(data)["throughput"]}
    assert rows["secured"]["ratio_to_plain"] is None


def test_ratios_are_of_pairs_and_not_of_medians() -> None:
    data = traffic_data()
    data["throughput_samples"] = [
        {
            "kind": kind,
            "streams": 1,
            "message_bytes": 1,
            "repeat": repeat,
            "gbit_per_second": rate,
            "proof": None,
        }
        for kind, rates in {"secured": (1.0, 4.0, 9.0), "system_policy": (2.0, 16.0, 10.0)}.items()
        for repeat, rate in enumerate(rates)
    ]
    rows = {row["kind"]: row for row in summarize_traffic(data)["throughput"]}
    assert rows["secured"]["ratio_to_policy"] == 0.5  # the ratio of the medians is 0.4


def test_loopback() -> None:
    rows = {row["kind"]: row for row in summarize_loopback(loopback_data())}
    assert rows["plain"]["ratio_to_iperf3"] == pytest.approx(1.25)
    alone = {"samples": [s for s in loopback_data()["samples"] if s["kind"] == "plain"]}
    assert [row["ratio_to_iperf3"] for row in summarize_loopback(alone)] == [None]


def test_what_is_left_of_parts_that_failed() -> None:
    found = summarized({"errors": {"setup": "x"}, "setup": {"memory_samples": memory_data()}})
    assert found["errors"] == {"setup": "x"}
    assert "summary" not in found["setup"]
    assert len(found["setup"]["memory"]) == 5
    values = {target["name"]: target["value"] for target in found["targets"]}
    assert values["user-space bytes a secured socket"] == 24
    assert values["secure_many, plain loop / C loop"] is None
    found = summarized({"setup": setup_data()})
    assert len(found["setup"]["summary"]) > len(METHODS)
    assert "memory" not in found["setup"]
    nothing = {"throughput_samples": [], "latency_samples": [], "datagram_samples": []}
    found = summarized({"connect": {"samples": []}, "traffic": nothing})
    assert found["connect"]["summary"] == found["traffic"]["latency"] == []
    assert {target["value"] for target in found["targets"]} == {None}


def targets(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {target["name"]: target for target in evaluate(found)}


def test_targets() -> None:
    # Those of devices are in test_device.
    found = targets({part: data for part, data in parts().items() if part != "device"})
    values = {name: target["value"] for name, target in found.items()}
    cost = COSTS
    assert values == {
        "secure_many, plain loop / C loop": pytest.approx(1.5),
        "secure_many, io_uring or threads / C loop": pytest.approx(2.0),
        "SocketBatch of 15,000, plain loop / C loop": None,
        "ctypes, same checks / secure": pytest.approx(cost["ctypes_checked"] / cost["secure"]),
        "ctypes, same checks / secure_many": pytest.approx(cost["ctypes_checked"] / cost["secure_many_auto"]),
        "user-space bytes a secured socket": 24,
        "connect rate, secured / plain": pytest.approx(0.8, rel=1e-3),
        "connect rate, secured / TLS 1.3": pytest.approx(10, rel=1e-2),
        "throughput, a policy a socket / one for all, 1,000 streams": pytest.approx(0.8),
        "throughput on loopback, plain / iperf3": pytest.approx(1.25),
    }
    met = [name for name, target in found.items() if target["met"]]
    assert met == [
        "user-space bytes a secured socket",
        "connect rate, secured / plain",
        "throughput on loopback, plain / iperf3",
    ]
    assert found["SocketBatch of 15,000, plain loop / C loop"]["met"] is None


def test_every_case_must_meet_a_target() -> None:
    found = parts()
    found["setup"] = copy.deepcopy(found["setup"])
    fast, slow = (cell["samples"]["secure_many"] for cell in found["setup"]["cells"])
    for sample in fast:
        sample["cpu_ns"] = 100 * COSTS["floor"]
    for sample in slow:
        sample["cpu_ns"] = int(106 * COSTS["floor"])
    target = targets(found)["secure_many, plain loop / C loop"]
    assert target["value"] == pytest.approx(1.03)
    assert (target["met"], target["cases"], target["cases_met"]) == (False, 2, 1)
    assert (target["worst"], target["worst_case"]) == (pytest.approx(1.06), "100 UDP, IPv6")
    # Each alone is as steady as can be, however far they are from each other.
    assert not target["unstable"]
    for sample in slow:
        sample["cpu_ns"] = int(103 * COSTS["floor"])
    target = targets(found)["secure_many, plain loop / C loop"]
    assert (target["met"], target["cases_met"], target["worst"]) == (True, 2, pytest.approx(1.03))


def test_a_case_that_spreads_is_pointed_out_among_others_that_do_not() -> None:
    found = parts()
    found["setup"] = copy.deepcopy(found["setup"])
    for sample, part in zip(found["setup"]["cells"][1]["samples"]["secure_many"], (1, 2, 3), strict=True):
        sample["cpu_ns"] *= part
    assert targets(found)["secure_many, plain loop / C loop"]["unstable"]
    assert not targets(found)["ctypes, same checks / secure"]["unstable"]


def test_where_more_is_better_the_least_is_the_worst() -> None:
    found = parts()
    found["connect"] = connect_data()
    for sample in found["connect"]["samples"]:
        if (sample["kind"], sample["connections"]) == ("secured", 500):
            sample["per_second"] /= 2
    target = targets(found)["connect rate, secured / plain"]
    assert (target["worst"], target["worst_case"]) == (pytest.approx(0.4, rel=1e-3), "500 connections")
    assert (target["met"], target["cases"], target["cases_met"]) == (False, 2, 1)


def test_the_best_way_may_be_another_in_each_case() -> None:
    found = parts()
    found["setup"] = copy.deepcopy(found["setup"])
    first, second = (cell["samples"] for cell in found["setup"]["cells"])
    for samples, method in ((first, "secure_many_io_uring"), (second, "secure_many_threads")):
        for sample, floor in zip(samples[method], samples["floor"], strict=True):
            sample["ns"] = floor["ns"] * 0.8
    target = targets(found)["secure_many, io_uring or threads / C loop"]
    assert (target["value"], target["worst"]) == (pytest.approx(0.8), pytest.approx(0.8))
    assert target["met"]


def test_the_batch_of_15_000() -> None:
    found = parts()
    for cell in found["setup"]["cells"]:
        cell["wanted"] = 15_000  # also where fewer fit
    assert targets(found)["SocketBatch of 15,000, plain loop / C loop"]["value"] == pytest.approx(
        COSTS["batch"] / COSTS["floor_create"]
    )


def test_targets_of_what_was_measured() -> None:
    assert evaluate({}) == []
    assert [target["name"] for target in evaluate({"loopback": parts()["loopback"]})] == [
        "throughput on loopback, plain / iperf3"
    ]


def test_a_base_that_is_missing() -> None:
    found = parts()
    found["traffic"] = copy.deepcopy(found["traffic"])
    found["traffic"]["throughput_samples"] = []
    target = targets(found)["throughput, a policy a socket / one for all, 1,000 streams"]
    assert (target["value"], target["met"], target["unstable"]) == (None, None, False)


def test_the_reports_can_read_all_of_it() -> None:
    rows = read(results())
    assert rows.unreadable == 0
    assert len(rows.setup) == len(METHODS) + len([method for method in METHODS if method.main])
    assert len(rows.memory) == 5
    assert len(rows.connect) == 8
    assert len(rows.throughput) == 12
    assert len(rows.latency) == len(rows.datagrams) == 3
    assert len(rows.targets) == 15
    assert {target.cases for target in rows.targets} == {0, 1, 2, 8}
    assert sum(row.figure is not None for row in rows.memory) == 2
    assert [row.method for row in rows.setup if row.family == "inet" and not row.baseline] == [
        *("secure_many", "secure_many_io_uring", "secure_many_threads", "secure_many_auto", "secure"),
        *("batch", "batch_io_uring", "batch_threads", "batch_auto", "create_python", "query", "close_batch"),
    ]
    assert rows.connect_machine is not None
    assert rows.connect_machine.guest
