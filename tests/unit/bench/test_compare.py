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
from wsasec.bench.compare import MINIMUM_EFFECT, Comparison, Row, Verdict, compare, main, render
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
        return {**kind, "group": "checks", "us": figure(us, spread, count), "ratio": {"floor": us / 4}}

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
    assert comparison.absolute
    assert (comparison.differences, comparison.notes, comparison.left_out) == ((), (), 0)
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
    verdicts = [ours(compare(setup(1.0, 0.05, n), setup(1.2, 0.05, n))).verdict for n in (2, 3, 5, 7)]
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
            for streams in range(1, 301)
        ]
        return setup(1.0, traffic={"machine": SAMPLE["traffic"]["machine"], "throughput": rows})

    for count in (3, 5, 7, 9, 15, 31):
        comparison = compare(run(count), run(count))
        assert comparison.judged == 301
        assert len(comparison.regressions) <= 4


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
            if row.get("ratio_to_plain"):
                row["ratio_to_plain"] *= by


@pytest.mark.parametrize(
    ("rows", "field", "words"),
    [
        (lambda run: run["connect"]["summary"], "per_second", "connections"),
        (lambda run: run["traffic"]["throughput"], "gbit_per_second", "streams"),
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
    scaled(new["traffic"]["throughput"], "system_policy", "gbit_per_second", 4)
    assert {row.name.split("/")[-1] for row in compare(old, new).regressions} == {" one policy for all"}


def test_memory(old: Results, new: Results) -> None:
    new["setup"]["memory"][0]["bytes"] = 40
    comparison = compare(old, new)
    assert [row.name for row in comparison.regressions] == ["user space per secured socket, bytes"]


def test_a_packet_in_clear_is_a_regression(old: Results, new: Results) -> None:
    proven = next(row for row in new["traffic"]["throughput"] if row["proof"])
    proven["proof"]["clear"] = 1
    [row] = compare(old, new).regressions
    assert (row.name, row.old, row.new) == ("packets in clear", 0, 1)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("machine", "cpu"), "another", "machine, cpu: Intel(R) Xeon(R) Processor @ 2.50GHz, now another"),
        (("machine", "kernel"), "7.0", "machine, kernel: 6.18.44, now 7.0"),
        (("machine", "cores"), 4, "machine, cores: 2, now 4"),
        (("connect", "machine", "kernel"), "7.0", "machine of connections, kernel: 6.1.0-uml, now 7.0"),
        (("traffic", "machine", "guest"), False, "machine of traffic, guest: True, now False"),
        (("effort",), "quick", "effort: full, now quick"),
        (("machine",), None, "machine: described in one of the two only"),
    ],
)
def test_of_different_machines_only_ratios_are_compared(
    old: Results, new: Results, place: tuple[str, ...], value: object, words: str
) -> None:
    inner = new
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    new["setup"]["memory"][0]["bytes"] = 4000
    comparison = compare(old, new)
    assert comparison.differences == (words,)
    assert not comparison.absolute
    assert comparison.exit_code == 0
    assert comparison.left_out > 20
    assert all(" / " in row.name for row in comparison.rows)
    assert "only ratios" in printed(comparison)
    assert " ".join(words.split()) in printed(comparison, 200)


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
    assert "Nothing to compare" in printed(comparison)


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
    assert "1,000 TCP, IPv4: secure_many / C loop 1.00 1.50 +50.0 % 5.0 % worse" in text
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
