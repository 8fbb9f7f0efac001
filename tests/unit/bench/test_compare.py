"""Two results beside each other."""

import copy
import io
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from wsasec.bench.compare import MINIMUM_EFFECT, Comparison, Row, Verdict, _factor, compare, main, render
from wsasec.bench.reading import FormatError
from wsasec.bench.stats import summarize

Results = dict[str, Any]
FILE = Path(__file__).with_name("sample.json")
SAMPLE: Results = json.loads(FILE.read_text())


@pytest.fixture
def old() -> Results:
    return copy.deepcopy(SAMPLE)


@pytest.fixture
def new() -> Results:
    return copy.deepcopy(SAMPLE)


def figure(median: float, spread: float = 0.02, count: int = 15) -> dict[str, Any]:
    half = median * spread / 2
    return {
        "median": median,
        "low": median - half,
        "high": median + half,
        "minimum": median - 2 * half,
        "maximum": median + 2 * half,
        "count": count,
        "unstable": spread > 0.1,
    }


def setup(ratio: float, spread: float = 0.02, count: int = 15, **more: object) -> Results:
    """Return results with a C loop of 4 us and secure_many at a ratio to it."""

    def row(method: str, us: float) -> Results:
        kind = {"sockets": 1000, "family": "inet", "type": "stream", "method": method, "title": method}
        cost = {"us": figure(us, spread, count), "ratio": {"floor": us / 4}}
        return {**kind, "group": "checks", "baseline": method == "floor", **cost}

    rows = [row("floor", 4.0), row("secure_many", 4 * ratio)]
    return {"format": SAMPLE["format"], "machine": SAMPLE["machine"], "setup": {"summary": rows}, **more}


def ours(comparison: Comparison) -> Row:
    [row] = [row for row in comparison.rows if "secure_many" in row.name]
    return row


def printed(comparison: Comparison, width: int = 100) -> str:
    out = io.StringIO()
    render(comparison, Console(file=out, width=width))
    return " ".join(out.getvalue().split())


def test_a_run_beside_itself_is_the_same(old: Results) -> None:
    comparison = compare(old, old)
    verdicts = {row.verdict for row in comparison.rows}
    assert verdicts == {Verdict.SAME, Verdict.BASELINE, Verdict.UNJUDGED}
    assert comparison.exit_code == 0
    assert (comparison.differences, comparison.kernels, comparison.notes) == ((), (), ())
    assert comparison.left_out == 0
    assert all(row.change == 0 for row in comparison.rows)
    assert comparison.judged > 50


@pytest.mark.parametrize(
    ("ratio", "verdict", "code"),
    [
        (1.00, Verdict.SAME, 0),
        (1.04, Verdict.SAME, 0),
        (1.07, Verdict.WORSE, 1),
        (3.00, Verdict.WORSE, 1),
        (0.96, Verdict.SAME, 0),
        (0.90, Verdict.BETTER, 0),
    ],
)
def test_verdicts(ratio: float, verdict: Verdict, code: int) -> None:
    comparison = compare(setup(1.0), setup(ratio))
    row = ours(comparison)
    assert row.verdict is verdict
    assert row.change == pytest.approx(ratio - 1)
    assert comparison.exit_code == code


def test_a_small_change_is_none_however_small_the_spread() -> None:
    row = ours(compare(setup(1.0, 0.0), setup(1.049, 0.0)))
    assert (row.verdict, row.noise) == (Verdict.SAME, MINIMUM_EFFECT)
    assert ours(compare(setup(1.0, 0.0), setup(1.051, 0.0))).verdict is Verdict.WORSE


def test_the_spread_of_either_run_is_noise() -> None:
    for before, after in ((0.3, 0.01), (0.01, 0.3), (0.3, 0.3)):
        assert ours(compare(setup(1.0, before), setup(1.2, after))).verdict is Verdict.SAME
    assert ours(compare(setup(1.0), setup(1.2))).verdict is Verdict.WORSE


def test_few_samples_prove_less() -> None:
    verdicts = [ours(compare(setup(1.0, 0.05, n), setup(1.2, 0.05, n))).verdict for n in (2, 3, 5, 15)]
    assert verdicts == [Verdict.SAME, Verdict.SAME, Verdict.SAME, Verdict.WORSE]
    noises = [ours(compare(setup(1.0, 0.05, n), setup(1.2, 0.05, n))).noise for n in (2, 3, 5, 8, 12, 99)]
    assert noises == sorted(noises, reverse=True)
    assert ours(compare(setup(1.0, 0.05, 1), setup(9.0, 0.05, 1))).verdict is Verdict.UNJUDGED


def test_chance_alone_is_hardly_ever_a_regression() -> None:
    dice = random.Random(5)

    def rate(count: int) -> dict[str, Any]:
        samples = summarize([dice.gauss(100, 10) for _ in range(count)])
        names = ("median", "low", "high", "minimum", "maximum", "count")
        return {**{name: getattr(samples, name) for name in names}, "unstable": samples.unstable}

    def run(count: int) -> Results:
        rows = [
            {"kind": "secured", "streams": streams, "gbit_per_second": rate(count)}
            for streams in range(1, 1001)
        ]
        return setup(1.0, traffic={"machine": SAMPLE["traffic"]["machine"], "throughput": rows})

    comparisons = [compare(run(count), run(count)) for count in (3, 4, 5, 6, 7, 9, 10, 14, 21)]
    assert {comparison.judged for comparison in comparisons} == {1001}
    # One in 10,000 is expected: of 9,000, that is one or two.
    assert sum(len(comparison.regressions) for comparison in comparisons) <= 3


def test_more_samples_of_one_sort_prove_more() -> None:
    factors = [_factor(count) for count in (2, 3, 5, 6, 7, 8, 10, 13, 16, 21, 1000)]
    assert factors == sorted((factor for factor in factors if factor), reverse=True)
    assert factors[-1] == 1
    assert _factor(1) is None
    assert _factor(0) is None


def test_a_baseline_that_got_slower_is_no_regression(new: Results, old: Results) -> None:
    for row in new["setup"]["summary"]:
        if row["method"] in ("ctypes_checked", "setsockopt"):
            for name in ("median", "low", "high"):
                row["us"][name] *= 3
    comparison = compare(old, new)
    assert comparison.exit_code == 0
    changed = [row for row in comparison.rows if row.change]
    assert changed
    assert {row.verdict for row in changed} == {Verdict.BASELINE}


def test_a_whole_machine_that_got_slower_is_no_regression() -> None:
    before, after = setup(1.0), setup(1.0)
    for row in after["setup"]["summary"]:
        row["us"] = figure(row["us"]["median"] * 2)
    comparison = compare(before, after)
    assert ours(comparison).verdict is Verdict.SAME
    assert [row.verdict for row in comparison.rows if row.change] == [Verdict.BASELINE]


def test_pairs_are_preferred_where_the_results_have_them() -> None:
    before, after = setup(1.0, 0.4), setup(1.2, 0.4)
    assert ours(compare(before, after)).verdict is Verdict.SAME
    for run, ratio in ((before, 1.0), (after, 1.2)):
        run["setup"]["summary"][1]["ratios"] = {"floor": [ratio * (1 + i / 1000) for i in range(15)]}
    assert ours(compare(before, after)).verdict is Verdict.WORSE


def test_the_c_loop_that_does_the_same_is_the_base() -> None:
    runs = [setup(1.0), setup(1.0)]
    for run, us in zip(runs, (8.0, 12.0), strict=True):
        kind = {"sockets": 1000, "family": "inet", "type": "stream", "group": "create"}
        loop = {**kind, "method": "create_floor", "title": "C", "us": figure(8.0), "ratio": {"floor": 2.0}}
        ratio = {"ctypes_checked": us / 12, "floor": us / 4, "create_floor": us / 8}
        batch = {**kind, "method": "batch", "title": "SocketBatch", "us": figure(us), "ratio": ratio}
        run["setup"]["summary"] += [loop, batch]
    [row] = [row for row in compare(*runs).rows if "SocketBatch" in row.name]
    assert (row.name, row.old, row.new) == ("1,000 TCP, IPv4: SocketBatch / create_floor", 1.0, 1.5)
    assert row.verdict is Verdict.WORSE


def scaled(rows: list[Results], kind: str, field: str, by: float) -> None:
    for row in rows:
        if row["kind"] == kind:
            for name in ("median", "low", "high"):
                row[field][name] *= by
            for name in [name for name in row if name.startswith("ratio_to_")]:
                row[name] = row[name] and row[name] * by


@pytest.mark.parametrize(
    ("rows", "field", "words"),
    [
        (lambda run: run["connect"]["summary"], "per_second", "connections"),
        (lambda run: run["traffic"]["throughput"], "gbit_per_second", "stream"),
        (lambda run: run["traffic"]["latency"], "per_second", "requests"),
        (lambda run: run["traffic"]["datagrams"], "per_second", "datagrams"),
    ],
)
def test_rates_that_fall(
    old: Results, new: Results, rows: Callable[[Results], list[Results]], field: str, words: str
) -> None:
    scaled(rows(new), "secured", field, 0.4)
    comparison = compare(old, new)
    assert comparison.exit_code == 1
    assert all(words in row.name for row in comparison.regressions)
    assert all("secured /" in row.name for row in comparison.regressions)
    better = compare(new, old)
    assert better.exit_code == 0
    assert [row.name for row in better.rows if row.verdict is Verdict.BETTER] == [
        row.name for row in comparison.regressions
    ]


def test_policies_of_sockets_beside_one_for_all(old: Results, new: Results) -> None:
    for row in new["traffic"]["throughput"]:
        if row["ratio_to_policy"]:
            row["ratio_to_policy"] /= 4
    assert {row.name.split("/")[-1] for row in compare(old, new).regressions} == {" one policy for all"}


def test_memory(old: Results, new: Results) -> None:
    new["setup"]["memory"][0]["bytes"] = 40
    comparison = compare(old, new)
    assert [row.name for row in comparison.regressions] == ["user space per secured socket, bytes"]


def test_memory_of_the_kernel_is_judged_by_its_samples(old: Results, new: Results) -> None:
    plain, secured, difference = new["setup"]["memory"][1:]
    for row in (plain, secured, difference):
        row["bytes"] *= 1.2
    for row in (plain, secured):
        row["figure"] = {name: value * 1.2 for name, value in row["figure"].items() if name != "count"}
        row["figure"]["count"] = 4

    def verdicts() -> list[Verdict]:
        return [row.verdict for row in compare(old, new).rows if row.name.startswith("kernel, ")]

    assert verdicts() == [Verdict.BASELINE, Verdict.WORSE, Verdict.UNJUDGED]
    secured["figure"]["count"] = 2
    assert verdicts() == [Verdict.BASELINE, Verdict.SAME, Verdict.UNJUDGED]
    secured["figure"] |= {"count": 4, "high": secured["bytes"] * 1.1}
    assert verdicts() == [Verdict.BASELINE, Verdict.SAME, Verdict.UNJUDGED]


def test_the_engine_beside_iperf3(old: Results, new: Results) -> None:
    for row in new["loopback"]["summary"]:
        if row["kind"] == "plain":
            row["ratio_to_iperf3"] /= 2
    assert [row.name for row in compare(old, new).regressions] == [
        "loopback, 1 stream, 128 KiB: plain / plain, by iperf3",
        "loopback, 16 streams, 128 KiB: plain / plain, by iperf3",
    ]


def test_secured_beside_tls(old: Results, new: Results) -> None:
    for row in (*new["connect"]["summary"], *new["traffic"]["throughput"]):
        row["ratio_to_tls"] = row["ratio_to_tls"] and row["ratio_to_tls"] / 3
    names = [row.name for row in compare(old, new).regressions]
    assert "1,000 connections, connect: secured / TLS 1.3, AES-128" in names
    assert "16 streams, 256 KiB: secured / TLS 1.3, AES-128" in names
    assert all(name.endswith("secured / TLS 1.3, AES-128") for name in names)


def test_what_is_a_baseline_is_told_by_the_results(old: Results, new: Results) -> None:
    for run, us in ((old, 1.0), (new, 2.0)):
        for row in run["setup"]["summary"]:
            if row["method"] == "create_python":
                row["us"] = figure(10 * us)
                row["ratio"]["floor"] = us
    regressions = compare(old, new).regressions
    assert regressions
    assert all("socket.socket, then secure_many / C loop" in row.name for row in regressions)
    for run in (old, new):
        for row in run["setup"]["summary"]:
            row["baseline"] = row["baseline"] or row["method"] == "create_python"
    assert compare(old, new).regressions == ()


def test_a_packet_in_clear_is_a_regression(old: Results, new: Results) -> None:
    proven = next(row for row in new["traffic"]["throughput"] if row["proof"])
    proven["proof"]["clear"] = 1
    [row] = compare(old, new).regressions
    assert (row.name, row.old, row.new) == ("packets in clear", 0, 1)


def test_what_was_not_protected_is_a_regression(old: Results, new: Results) -> None:
    new["leaks"] = ["throughput: 3 packets"]
    comparison = compare(old, new)
    assert comparison.exit_code == 1
    text = printed(comparison, 200)
    assert "Worse: NOT PROTECTED, or not proven to be: throughput: 3 packets" in text
    assert "3 packets: , now" not in text
    # Also where nothing is judged.
    new["effort"] = "quick"
    assert compare(old, new).exit_code == 1


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("machine", "cpu"), "another", "machine, cpu: Intel(R) Xeon(R) Processor @ 2.50GHz, now another"),
        (("machine", "cores"), 4, "machine, cores: 2, now 4"),
        (("connect", "machine", "cores"), 2, "machine of connections, cores: 1, now 2"),
        (("traffic", "machine", "guest"), False, "machine of traffic, guest: True, now False"),
        (("effort",), "quick", "effort: full, now quick"),
        (("machine",), None, "machine: described in one of the two only"),
    ],
)
def test_of_different_machines_nothing_is_judged(
    old: Results, new: Results, place: tuple[str, ...], value: object, words: str
) -> None:
    put(new, place, value)
    scaled(new["connect"]["summary"], "secured", "per_second", 0.3)
    comparison = compare(old, new)
    assert (comparison.differences, comparison.kernels) == ((words,), ())
    assert {row.verdict for row in comparison.rows} == {Verdict.UNJUDGED}
    assert any(row.change and row.change < -0.5 for row in comparison.rows)
    assert (comparison.judged, comparison.exit_code) == (0, 2)
    assert comparison.left_out > 20
    assert all(" / " in row.name for row in comparison.rows)
    assert "so nothing is judged" in printed(comparison, 200)
    assert " ".join(words.split()) in printed(comparison, 200)


def put(run: Results, place: tuple[str, ...], value: object) -> None:
    for name in place[:-1]:
        run = run[name]
    run[place[-1]] = value


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("machine", "kernel"), "machine, kernel: 6.18.44, now 7.0"),
        (("connect", "machine", "kernel"), "machine of connections, kernel: 6.1.0-uml, now 7.0"),
    ],
)
def test_of_different_kernels_only_ratios_are_compared(
    old: Results, new: Results, place: tuple[str, ...], words: str
) -> None:
    put(new, place, "7.0")
    new["setup"]["memory"][0]["bytes"] = 4000
    comparison = compare(old, new)
    assert (comparison.differences, comparison.kernels) == ((), (words,))
    assert comparison.exit_code == 0
    assert comparison.judged > 50
    assert comparison.left_out > 20
    assert all(" / " in row.name for row in comparison.rows)
    assert "only ratios" in printed(comparison)
    assert words in printed(comparison, 200)
    scaled(new["connect"]["summary"], "secured", "per_second", 0.3)
    assert compare(old, new).exit_code == 1


def test_machines_that_nobody_described_are_not_the_same() -> None:
    before, after = setup(1.0, machine=None), setup(1.0, machine=None)
    assert compare(before, after).differences == ("machine: not described",)


def test_what_only_one_of_the_two_has(old: Results, new: Results) -> None:
    del new["connect"]
    del old["traffic"]["datagrams"]
    comparison = compare(old, new)
    assert comparison.exit_code == 0
    gone = [row.name for row in comparison.rows if row.verdict is Verdict.GONE]
    come = [row.name for row in comparison.rows if row.verdict is Verdict.NEW]
    assert gone
    assert come
    assert all("connections" in name for name in gone)
    assert all("datagrams" in name for name in come)


def test_nothing_in_common(old: Results, new: Results) -> None:
    before = {name: old[name] for name in ("format", "machine", "setup")}
    after = {name: new[name] for name in ("format", "machine", "connect")}
    comparison = compare(before, after)
    assert (comparison.judged, comparison.exit_code) == (0, 2)
    assert "Nothing is judged" in printed(comparison)


def test_notes(old: Results, new: Results) -> None:
    new["versions"]["openssl"] = "OpenSSL 4"
    new["targets"][0]["met"] = False
    new["errors"] = {"connect": "no"}
    del new["setup"]["summary"][0]["us"]
    text = printed(compare(old, new), 200)
    for expected in (
        "Note: openssl: OpenSSL 3.0.17 1 Jul 2025, now OpenSSL 4",
        "the target was met, and is not met any more: secure_many / C loop",
        "connect could not be measured in the new run: no",
        "1 rows of the new run could not be read",
    ):
        assert expected in text


def test_the_table() -> None:
    text = printed(compare(setup(1.0), setup(1.5)))
    assert "1,000 TCP, IPv4: secure_many / C loop 1.00 1.50 +50.0 % 5.8 % worse" in text
    assert "1 measures: 1 worse, 0 better, 0 the same within the noise." in text
    assert "Worse: 1,000 TCP, IPv4: secure_many / C loop: 1.00, now 1.50" in text


def test_names_are_not_markup() -> None:
    before, after = setup(1.0), setup(2.0)
    for run in (before, after):
        run["setup"]["summary"][1]["title"] = "[bold]secure_many[/] [/nothing]"
    assert printed(compare(before, after), 200).count("[bold]secure_many[/] [/nothing]") == 2


def test_another_format_is_refused(old: Results) -> None:
    for other in ({**old, "format": "wsasec-bench/1"}, {}, {"format": None}):
        with pytest.raises(FormatError, match="wsasec-bench/2"):
            compare(old, other)
        with pytest.raises(FormatError, match="wsasec-bench/2"):
            compare(other, old)


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], new: Results) -> None:
    assert main([str(FILE), str(FILE)]) == 0
    worse = tmp_path / "new.json"
    scaled(new["connect"]["summary"], "secured", "per_second", 0.3)
    worse.write_text(json.dumps(new))
    assert main([str(FILE), str(worse)]) == 1
    assert "Worse: 1,000 connections" in capsys.readouterr().out
    worse.write_text(json.dumps({**new, "format": "wsasec-bench/1"}))
    assert main([str(FILE), str(worse)]) == 2
    assert f"{worse}: the format is 'wsasec-bench/1'" in capsys.readouterr().err
    for text in ("", "[]", "{", "[" * 100_000, "\xff"):
        worse.write_text(text, encoding="latin-1")
        assert main([str(worse), str(FILE)]) == 2
    assert main([str(tmp_path / "none"), str(FILE)]) == 2


def test_as_a_program() -> None:
    command = [sys.executable, "-m", "wsasec.bench.compare", str(FILE), str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 worse" in done.stdout


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
FIGURES = ("median", "low", "high", "count")


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(FIGURES), anything, st.sampled_from(FIGURES), anything)
def test_whatever_the_figures_are(one: str, value: object, other: str, another: object) -> None:
    before, after = setup(1.0), setup(1.0)
    before["setup"]["summary"][1]["us"][one] = value
    after["setup"]["summary"][0]["us"][other] = another
    after["setup"]["summary"][1]["ratio"]["floor"] = value
    comparison = compare(before, after)
    assert comparison.exit_code in (0, 1, 2)
    assert printed(comparison)
