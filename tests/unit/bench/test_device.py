"""Secure devices: figures, targets, and what is left out where something is missing."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
from bench_samples import device_data, results
from wsasec.bench import device_cost, device_rates, device_side, suite
from wsasec.bench.device_memory import associations, resident
from wsasec.bench.device_summary import set_up_ratios, summarize_device
from wsasec.bench.device_ways import Way, Ways
from wsasec.bench.measures import measures
from wsasec.bench.plans import FULL, QUICK, DevicePlan, Requests, Throughput
from wsasec.bench.reading import read
from wsasec.bench.tables import device_tables
from wsasec.bench.targets import evaluate
from wsasec.bench.unsent import little_unsent

from wsasec import engine

SMALL = DevicePlan(
    warm=0.1,
    seconds=0.1,
    throughput=(
        Throughput(1, 4096, ("device", "device_openssl", "plain", "tls256", "tls256_c", "wireguard"), 1),
        Throughput(20, 4096, ("device", "device_cubic", "plain_cubic", "tls256_cubic"), 1),
    ),
    requests=(Requests(1, ("device", "plain"), 1),),
    request_bytes=64,
    datagram_bytes=64,
    datagram_kinds=("device", "plain"),
    datagram_repeats=1,
    sockets=50,
    set_up_repeats=2,
    associations=20,
    flows=10,
)

NAMES = {
    "tls": "device, one stream / TLS 1.3 by Python",
    "plain": "device, one stream / plain",
    "many": "device, 1,000 streams / one",
    "later": "device, p50 of a request less plain, µs",
    "set-up": "set-up, device / policy",
}


def targets(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {target["name"]: target for target in evaluate({"device": data})}
    assert set(found) == set(NAMES.values())
    return {key: found[name] for key, name in NAMES.items()}


def test_targets() -> None:
    found = targets(device_data())
    assert found["tls"]["worst"] == pytest.approx(1.5)
    assert found["tls"]["worst_case"] == "TLS 1.3, AES-128"
    assert (found["tls"]["cases"], found["tls"]["met"]) == (2, True)
    assert found["plain"]["value"] == pytest.approx(3 / 8)
    assert found["many"]["value"] == pytest.approx(0.95)
    assert found["later"]["value"] == pytest.approx(50)
    assert found["set-up"]["value"] == pytest.approx(0.25)
    assert all(target["met"] for target in found.values())


def test_each_congestion_control_is_a_case_of_its_own() -> None:
    data = device_data()
    found = {"device": 4.5, "plain": 18.0, "tls128": 3.5, "tls256": 2.5}
    data["throughput_samples"] += [
        {
            **s,
            "kind": s["kind"] + "_cubic",
            "gbit_per_second": found[s["kind"]] / (2 if s["streams"] > 1 else 1),
        }
        for s in data["throughput_samples"]
        if s["kind"] in found
    ]
    judged = targets(data)
    assert (judged["tls"]["cases"], judged["tls"]["cases_met"]) == (4, 3)
    assert judged["tls"]["worst_case"] == "TLS 1.3, AES-128, CUBIC"
    assert (judged["plain"]["worst_case"], judged["plain"]["worst"]) == ("plain, CUBIC", 0.25)
    assert (judged["many"]["worst_case"], judged["many"]["worst"]) == ("secure device, CUBIC", 0.5)
    rows = {(row["kind"], row["streams"]): row for row in summarize_device(data)["throughput"]}
    assert rows["device_cubic", 1]["ratio_to_plain"] == pytest.approx(0.25)
    assert rows["device_cubic", 1]["ratio_to_tls"] == pytest.approx(4.5 / 3.5)
    assert rows["device", 1]["ratio_to_plain"] == pytest.approx(3 / 8)


def test_targets_that_are_missed_are_said_to_be() -> None:
    data = device_data()
    for sample in data["throughput_samples"]:
        if sample["kind"] == "device":
            sample["gbit_per_second"] /= 2 if sample["streams"] == 1 else 5
    for sample in data["latency_samples"]:
        if sample["kind"] == "device":
            sample["latency_us"]["p50"] += 100
    for sample in data["setup_samples"]:
        if (sample["kind"], sample["what"]) == ("device", "secure"):
            sample["cpu_ns"] *= 3
    found = targets(data)
    assert {key for key, target in found.items() if target["met"] is False} == set(NAMES)
    assert found["set-up"]["worst_case"] in ("secure, one by one, IPv4", "secure, one by one, IPv6")
    assert (found["set-up"]["cases"], found["set-up"]["cases_met"]) == (8, 6)


def test_what_was_not_measured_is_no_target_met() -> None:
    data = device_data() | {"throughput_samples": [], "latency_samples": [], "setup_samples": []}
    assert all(target["met"] is None for target in targets(data).values())


def test_only_repeats_that_have_both_are_compared() -> None:
    data = device_data()["setup_samples"]
    missing = ("policy", "secure", "inet6", 1)
    without = [s for s in data if (s["kind"], s["what"], s["family"], s["repeat"]) != missing]
    counts = {case: len(found) for case, found in set_up_ratios(without).items()}
    assert len(counts) == 8
    assert counts.pop(("secure", "inet6")) == 1
    assert set(counts.values()) == {2}


def test_what_plain_sockets_take_is_no_part_of_securing_them() -> None:
    data = device_data()["setup_samples"]
    assert set_up_ratios(data)["batch", "inet6"] == pytest.approx([0.25, 0.25])
    assert set_up_ratios([s for s in data if s["kind"] != "plain"])["batch", "inet6"] == []


def test_figures() -> None:
    found = summarize_device(device_data())
    row = next(row for row in found["throughput"] if (row["kind"], row["streams"]) == ("device", 1))
    assert row["ratio_to_plain"] == pytest.approx(3 / 8)
    assert row["ratio_to_tls"] == pytest.approx(1.5)
    assert row["cpu_per_gb"]["median"] == 4.0
    assert row["proof"]["clear"] == 0
    tunnel = next(row for row in found["throughput"] if row["kind"] == "wireguard")
    assert "machine_cpu_per_gb" not in tunnel
    assert tunnel["proof"] is None
    by_kind = {(row["what"], row["family"], row["kind"]): row for row in found["setup"]}
    assert by_kind["secure", "inet", "device"]["ratio_to_policy"] == pytest.approx(0.25)
    assert by_kind["secure", "inet", "policy"]["ratio_to_policy"] is None
    assert by_kind["batch", "inet6", "plain"]["ratio_to_policy"] is None
    assert by_kind["secure", "inet6", "device"]["us"]["median"] == pytest.approx(1.1)
    assert [(row["what"], row["bytes"]) for row in found["memory"]] == [("flow", 0), ("association", 1500)]


def test_tables_have_no_empty_columns() -> None:
    found = {table.title: table for table in device_tables(read(results()))}
    assert "of one policy" not in found["Device: Throughput"].columns
    assert "CPU s/GB, processes" in found["Device: Throughput"].columns
    for table in found.values():
        assert all(len(row) in (1, len(table.columns)) for row in table.rows), table.title
    assert "0" in [
        cell.text
        for row in found["Device: What passed the wire while the sockets were secured"].rows
        for cell in row
    ]


def test_no_device_is_an_error_only_where_one_was_asked_for() -> None:
    said: list[dict[str, Any]] = []
    for asked in (True, False):
        found: dict[str, Any] = {"errors": {}, "leaks": []}
        suite._add_device(found, {"missing": ["no TUN", "no nftables"]}, said.append, asked=asked)  # type: ignore[arg-type]
        assert "device" not in found
        assert found["errors"] == ({"device": "no TUN; no nftables"} if asked else {})
    assert said == [{"event": "note", "text": "device: not measured: no TUN; no nftables"}]


def test_errors_and_leaks_of_devices_are_those_of_the_run() -> None:
    found: dict[str, Any] = {"errors": {"keys": "x"}, "leaks": []}
    data = {"errors": {"device streams": "y"}, "leaks": ["z"], "mtu": 1500}
    suite._add_device(found, data, lambda _event: None, asked=False)  # type: ignore[arg-type]
    assert found == {"errors": {"keys": "x", "device streams": "y"}, "leaks": ["z"], "device": {"mtu": 1500}}


@pytest.mark.parametrize(("esp", "measured"), [(True, False), (False, True)])
def test_devices_are_measured_where_the_kernel_has_no_esp(
    esp: bool, measured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "kernel_has_esp", lambda: esp)
    assert ("device" in suite.default_parts()) is measured


def test_plans_have_what_the_targets_need() -> None:
    for effort in (QUICK, FULL):
        plan = effort.device
        one = next(case for case in plan.throughput if case.streams == 1)
        assert {"device", "plain", "tls128", "tls256", "tls256_c", "wireguard", "libipsec"} <= set(one.kinds)
        many = next(case for case in plan.throughput if case.streams == 1_000)
        assert {"device_cubic", "plain_cubic"} <= set(one.kinds) & set(many.kinds)
        assert {1, 16, 256, 1_000} <= {case.streams for case in plan.throughput}
        assert {"device", "plain"} <= set(next(case.kinds for case in plan.requests if case.connections == 1))
        assert plan.datagram_bytes == 64
        assert device_side.kinds_of(plan)[0] == "device"
        assert len(device_side.kinds_of(plan)) == len(set(device_side.kinds_of(plan)))
    assert 4_096 in {case.streams for case in FULL.device.throughput}
    small = FULL.device.within(500)
    assert max(case.streams for case in small.throughput) == 256
    assert max(case.connections for case in small.requests) == 64
    assert small.flows == 500


def nothing_there() -> Ways:
    lab: Any = SimpleNamespace(a=None, b=None)
    return Ways(lab, {"device": Way(lab), "plain": Way(lab)})


def test_what_is_left_out_is_said_and_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = nothing_there()
    found.leave_out(["wireguard"], "wireguard-go is missing")
    assert found.absent == {"wireguard": "wireguard-go is missing"}
    assert "left out: wireguard: wireguard-go is missing" in capsys.readouterr().out
    monkeypatch.setattr(device_rates, "measure_streams", lambda _way, kind, _case, _plan: {"rate": kind})
    case = Throughput(1, 9, ("device", "wireguard", "plain"), 2)
    plan: Any = SimpleNamespace(throughput=(case,))
    taken = [(s["kind"], s["repeat"]) for s in device_rates.run_streams(found, plan)]
    assert taken == [("device", 0), ("plain", 0), ("plain", 1), ("device", 1)]


def test_streams_share_what_may_be_unsent() -> None:
    """Whatever becomes of them, the host has its setting back."""
    name, seen = "net.ipv4.tcp_notsent_lowat", {"net.ipv4.tcp_notsent_lowat": "4294967295"}

    def sysctl(which: str, value: object = None) -> str:
        if value is not None:
            seen[which] = str(value)
        return seen[which]

    def end_early(streams: int) -> None:
        with little_unsent(host, streams):
            assert 60 << 20 < int(seen[name]) * streams <= 64 << 20
            raise OSError("ended")

    host: Any = SimpleNamespace(sysctl=sysctl)
    for streams in (1, 1_000):
        with pytest.raises(OSError, match="ended"):
            end_early(streams)
        assert seen == {name: "4294967295"}


@pytest.mark.parametrize("can", [True, False])
def test_carriers_take_turns_and_the_profiles_are_put_back(
    monkeypatch: pytest.MonkeyPatch, can: bool
) -> None:
    from wsasec.bench.device_ways import PROFILE

    from wsasec import profiles

    before = profiles.active()
    seen: list[str] = []

    def sample(what: str, profile: Any, calls: Any, _count: int, *, one_call: bool) -> dict[str, Any]:
        seen.append(profiles.active().default.carrier)
        carrier = profile.carrier if profile else "plain"
        if carrier == "device" and can and not one_call:
            carrier = "several"
        return {"carrier": carrier, "made": calls.family}

    monkeypatch.setattr(device_cost, "_sample", sample)
    monkeypatch.setattr(device_cost, "prepare", lambda family: SimpleNamespace(family=family))
    samples = list(device_cost.run_set_up(PROFILE, 10, 3, one_call=can))
    assert len(samples) == device_cost.samples_of(3, one_call=can)
    assert profiles.active() == before
    assert set(seen) == {"policy"}
    assert sum(s["warm_up"] for s in samples) == len(samples) / 4
    own = [s for s in samples if not s["warm_up"]]
    assert all((s["carrier"], s["made"]) == (s["kind"], s["family"]) for s in own)
    found = {(s["family"], s["what"], s["kind"], s["repeat"]) for s in own}
    assert len(found) == len(own)
    assert {each for each in found if each[3] < 3} == {
        (*case, repeat) for case in device_cost.CASES for repeat in range(3)
    }
    # What is measured without the program comes later, with policies of its own.
    assert {each for each in found if each[3] >= 3} == {
        (family, what, kind, repeat)
        for family, what, kind in device_cost.CASES
        if can and what != "batch"
        for kind in ({"device": "several"}.get(kind, kind),)
        for repeat in range(3, 6)
    }
    assert {what for _family, what, kind in device_cost.CASES if kind == "plain"} == {"batch"}


def test_associations_that_are_added_are_all_different() -> None:
    from ipaddress import IPv4Address

    found = list(associations(IPv4Address("10.9.0.2"), 20))
    assert len({a.name for a in found}) == 20
    assert len({bytes(a.key.reveal()) for a in found}) == 20
    assert {a.name.source for a in found if a.name.direction == 1} == {IPv4Address("10.9.0.2")}
    assert {a.name.destination for a in found if a.name.direction == 2} == {IPv4Address("10.9.0.2")}


def test_memory_of_a_process() -> None:
    assert resident("Name:\tx\nVmHWM:\t   9 kB\nVmRSS:\t    4096 kB\n") == 4 << 20
    with pytest.raises(OSError, match="does not tell"):
        resident("Name:\tx\n")


def test_a_row_that_cannot_be_read_is_left_out() -> None:
    found = copy.deepcopy(results())
    found["device"]["setup"][0]["us"] = None
    found["device"]["memory"][0]["count"] = "many"
    rows = read(found)
    assert rows.unreadable == 2
    assert len(rows.device.setup) == 17
    assert len(rows.device.memory) == 1


def test_what_is_compared_with_another_run() -> None:
    found = {
        measure.name: measure for key, measure in measures(read(results())).items() if key[0] == "device"
    }
    assert all(name.startswith("devices, ") for name in found)
    stream = found["devices, 1 stream, 128 KiB: secure device / plain"]
    assert (stream.ratio, stream.baseline, stream.value) == (True, False, pytest.approx(3 / 8))
    assert found["devices, 1 stream, 128 KiB: wireguard-go, Gbit/s"].baseline
    assert found["devices, secure, one by one, IPv6: secure device / policies"].value == pytest.approx(0.25)
    assert not found["devices, secure, one by one, IPv6: secure device / policies"].more_is_better
    assert found["devices, memory of the engine for one of 1,000 associations, bytes"].value == 1500


@pytest.mark.linux
def test_the_whole_in_small() -> None:
    if os.geteuid():
        pytest.skip("not root: the kernel's rules and devices are changed in namespaces that root makes")
    if missing := engine.missing():
        pytest.skip("; ".join(missing))
    command = [sys.executable, "-m", "wsasec.bench.device_side", json.dumps(asdict(SMALL))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    data = events[-1]["data"]
    assert (data["errors"], data["leaks"]) == ({}, [])
    assert data["sa_algorithm"] == "AES_256_GCM"
    # What is left out is said, and nothing else is missing.
    wanted = {kind for case in SMALL.throughput for kind in case.kinds}
    assert {sample["kind"] for sample in data["throughput_samples"]} | set(data["absent"]) == wanted
    for sample in data["throughput_samples"]:
        assert sample["bytes"] > 0, sample
        if sample["kind"].startswith("device"):
            assert sample["proof"]["clear"] == 0
            assert sample["proof"]["esp"] > 0
            assert sample["proof"]["sa_bytes"] >= sample["proof"]["payload_bytes"] >= sample["bytes"]
        else:
            assert sample["proof"] is None
    assert {sample["kind"] for sample in data["latency_samples"]} == {"device", "plain"}
    assert {sample["kind"] for sample in data["datagram_samples"]} == {"device", "plain"}
    kinds = {sample["kind"] for sample in data["setup_samples"]}
    assert len(data["setup_samples"]) == 2 * device_cost.samples_of(0, one_call="several" in kinds)
    assert [sample["what"] for sample in data["memory_samples"]] == ["flow", "association"]
    steps = [event for event in events if event["event"] == "step"]
    assert steps[-1]["done"] == steps[-1]["total"] == len(steps)
    summarize_device(data)
